/* SPDX-License-Identifier: MIT */
/*
 * store_owners.c: which rows of owners are written. Pure.
 *
 * A row holds until the next one of its owner, so only what changed has one, and an owner that has gone has one of zeroes. A program that
 * maps ever new files makes rows at each reading of its map, as long as their names; to keep the promise of a small recording, it
 * has an allowance. What is beyond it is not written, and the sample then says that it has no owners.
 *
 * A transaction that fails takes its rows with it: what was committed is kept apart from what it wrote.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/store_priv.h"

enum {
	AT_ONCE_BYTES = 65536,
	BYTES_PER_S = 10,
	ROW_BYTES = 32, /* about what a row takes without its name: store_test.c measures a day */
};

#define SECOND_NS 1000000000ULL

static const struct vmat_owner_sample *find(const struct vmat_owner_sample *owners, size_t count,
					    const struct vmat_owner_sample *wanted)
{
	for (size_t i = 0; i < count; i++)
		if (owners[i].kind == wanted->kind && !strcmp(owners[i].name, wanted->name))
			return &owners[i];
	return NULL;
}

static bool is_same(const struct vmat_owner_sample *a, const struct vmat_owner_sample *b)
{
	return a->count == b->count && a->size == b->size && a->rss == b->rss;
}

static uint64_t allowance(const struct store_owners *owners, uint64_t now_ns)
{
	return AT_ONCE_BYTES + (now_ns - owners->first_ns) / SECOND_NS * BYTES_PER_S;
}

int store_owners_rows(struct store_process *process, const struct store_sample *waiting,
		      struct vmat_owner_sample **ret, size_t *ret_count)
{
	struct store_owners *owners = &process->owners;
	const struct vmat_owner_sample *old = owners->written ? owners->written : owners->committed;
	size_t old_count = owners->written ? owners->written_count : owners->committed_count;
	vmat_autofree struct vmat_owner_sample *rows = NULL;
	uint64_t cost = 0;
	size_t count = 0;

	if (!waiting->owners)
		return 0;
	rows = calloc(old_count + waiting->owners_count + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < waiting->owners_count; i++) {
		const struct vmat_owner_sample *new = &waiting->owners[i];
		const struct vmat_owner_sample *before = find(old, old_count, new);

		if (process->is_fresh || !before || !is_same(before, new))
			rows[count++] = *new;
	}
	for (size_t i = 0; i < old_count; i++)
		if (!find(waiting->owners, waiting->owners_count, &old[i])) {
			rows[count] = old[i];
			rows[count].count = rows[count].size = rows[count].rss = 0;
			count++;
		}
	for (size_t i = 0; i < count; i++)
		cost += ROW_BYTES + strlen(rows[i].name);
	if (!owners->first_ns)
		owners->first_ns = waiting->sample.mono_ns;
	if (owners->spent + cost > allowance(owners, waiting->sample.mono_ns))
		return 0;
	owners->spent += cost;
	*ret = vmat_take_ptr(&rows);
	*ret_count = count;
	return 1;
}

void store_owners_take(struct store_owners *owners, struct store_sample *waiting)
{
	free(owners->written);
	owners->written = vmat_take_ptr(&waiting->owners);
	owners->written_count = waiting->owners_count;
}

void store_owners_settle(struct store_owners *owners, bool is_committed)
{
	if (!owners->written)
		return;
	if (is_committed) {
		free(owners->committed);
		owners->committed = vmat_take_ptr(&owners->written);
		owners->committed_count = owners->written_count;
	}
	free(owners->written);
	owners->written = NULL;
}
