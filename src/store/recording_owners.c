/* SPDX-License-Identifier: MIT */
/*
 * recording_owners.c: who owned the regions of a process at a time.
 *
 * The rows are read in the order of time, each in the place of the one before of its owner. Of what a recorder writes no more than
 * VMAT_OWNERS_MAX are there at once, twice as many in the middle of a tick, in which new ones may come before the rows of those
 * that have gone; a file that says otherwise lies.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/recording_priv.h"

enum { COL_KIND, COL_OWNER, COL_COUNT, COL_SIZE, COL_RSS };

enum { PRESENT_MAX = 2 * VMAT_OWNERS_MAX };

struct present {
	struct vmat_owner_sample *owners;
	size_t count;
};

static size_t find(const struct present *present, enum vmat_kind kind, const char *name)
{
	size_t i = 0;

	while (i < present->count &&
	       (present->owners[i].kind != kind || strcmp(present->owners[i].name, name) != 0))
		i++;
	return i;
}

static int take_row(struct vmat_recording *recording, sqlite3_stmt *statement,
		    struct present *present, struct vmat_error *err)
{
	struct store_row row = { .statement = statement };
	struct vmat_owner_sample owner = {
		.count = store_number_or_null(&row, COL_COUNT),
		.size = store_number_or_null(&row, COL_SIZE),
		.rss = store_number_or_null(&row, COL_RSS),
	};
	size_t kind = recording_find_kind(store_text(&row, COL_KIND)), at;

	store_text_copy(&row, COL_OWNER, owner.name, sizeof(owner.name));
	if (row.is_bad || !owner.name[0])
		return recording_lies(recording, "an owner of regions is not described as one",
				      err);
	if (kind == VMAT_KIND_COUNT)
		return 0;
	owner.kind = (enum vmat_kind)kind;
	at = find(present, owner.kind, owner.name);
	if (!owner.count) {
		if (at < present->count)
			present->owners[at] = present->owners[--present->count];
		return 0;
	}
	if (at == PRESENT_MAX)
		return recording_lies(recording, "it holds too many owners at once", err);
	present->owners[at] = owner;
	present->count += at == present->count;
	return 0;
}

static sqlite3_stmt *query(struct vmat_recording *recording, struct vmat_error *err)
{
	return recording_query(
		recording,
		"SELECT o.kind, o.owner, o.count, o.size, o.rss FROM region_owner AS o "
		"CROSS JOIN tick ON tick.id = o.tick "
		"CROSS JOIN sample ON sample.tick = o.tick AND sample.process = ?1 "
		"WHERE o.process = ?1 AND tick.mono_ns + sample.after_ns <= ?2 ORDER BY o.tick",
		err);
}

int vmat_recording_owners(struct vmat_recording *recording, size_t index, uint64_t mono_ns,
			  struct vmat_owner_sample **ret, size_t *ret_count, struct vmat_error *err)
{
	struct vmat_error own = { .code = 0 };
	recording_autofinalize sqlite3_stmt *statement = NULL;
	vmat_autofree struct vmat_owner_sample *owners = calloc(PRESENT_MAX, sizeof(*owners));
	struct present present = { .owners = owners };
	int r;

	err = err ? err : &own;
	if (!owners)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	if (index >= recording->processes_count)
		return vmat_error_set(err, -EINVAL, "the recording has no process %zu", index);
	if (recording->version < STORE_VERSION_OWNERS)
		return vmat_error_set(err, -ENODATA,
				      "%.200s holds no owners: an older vmatlas recorded it",
				      recording->path);
	recording_begin(recording);
	statement = query(recording, err);
	if (!statement)
		return err->code;
	sqlite3_bind_int64(statement, 1, (int64_t)recording->spans[index].number);
	sqlite3_bind_int64(statement, 2, mono_ns > INT64_MAX ? INT64_MAX : (int64_t)mono_ns);
	while ((r = recording_step(recording, statement, err)) > 0) {
		r = take_row(recording, statement, &present, err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	if (present.count > VMAT_OWNERS_MAX)
		return recording_lies(recording, "it holds too many owners at once", err);
	*ret = vmat_take_ptr(&owners);
	*ret_count = present.count;
	return 0;
}
