/* SPDX-License-Identifier: MIT */
/*
 * store.c: writing a recording.
 *
 * What is added waits in memory until vmat_store_commit writes all of it in one transaction, so a disk can refuse in one place
 * only. When it does, the samples of that tick are dropped, and all else (who the processes are, events, facts, judgements)
 * waits for the next commit.
 *
 * Durability. The journal is a write-ahead log: what has been committed is in the page cache and survives our death. With
 * synchronous=NORMAL nothing of it is synced until the log is merged into the file, which at one tick a second is minutes. So the
 * first commit 5 s after the last synced one is made with synchronous=FULL, which syncs the log up to and with that commit: no
 * oftener than ext4 writes its own journal. A durable store makes each commit so.
 *
 * The claim (sys_claim.h) is held on a descriptor of its own, by flock(2): closing it while SQLite has the file open would
 * take SQLite's own locks away, which belong to the process (fcntl(2)), so it is closed last.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/store_priv.h"
#include "sys/sys_claim.h"
#include "sys/sys_event.h"
#include "sys/sys_file.h"

enum { SYNC_AFTER_S = 5, NAME_MAX_SIZE = 4096 };

/* What SQLite would take for a part of the new recording, and would remove or believe. */
static const char *const sibling_ends[] = { "-wal", "-shm", "-journal" };

static int refuse_sibling(const char *path, struct vmat_error *err)
{
	char name[NAME_MAX_SIZE];

	for (size_t i = 0; i < sizeof(sibling_ends) / sizeof(sibling_ends[0]); i++) {
		if ((size_t)snprintf(name, sizeof(name), "%s%s", path, sibling_ends[i]) >=
		    sizeof(name))
			return vmat_error_set(err, -ENAMETOOLONG, "%.200s...: name too long", path);
		if (vmat_sys_is_file(name) != 0)
			return vmat_error_set(
				err, -EEXIST,
				"%.200s is there already: what is left of another recording\n"
				"Put it away, or choose another name with -o",
				name);
	}
	return 0;
}

static int explain_existing(const char *path, struct vmat_error *err)
{
	const char *what = "something that is no recording";

	if (vmat_recording_is(path)) {
		vmat_autoclose int fd = vmat_sys_open_at(AT_FDCWD, path, 0);

		what = fd >= 0 && vmat_sys_is_claimed(fd) ? "a recording that is being written"
							  : "a recording";
	}
	return vmat_error_set(err, -EEXIST,
			      "%.200s is there already: %s\nNothing is ever overwritten: choose "
			      "another name with -o",
			      path, what);
}

static int begin_database(struct vmat_store *store, const char *path, const char *vfs)
{
	char set[64];
	int r;

	r = store_errno(store->db, sqlite3_open_v2(path, &store->db,
						   SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
							   SQLITE_OPEN_PRIVATECACHE,
						   vfs));
	if (r < 0)
		return r;
	sqlite3_extended_result_codes(store->db, 1);
	/* A reader holds the log only for moments; one that sleeps in the middle of a query must not stop us. */
	sqlite3_busy_timeout(store->db, 1000);
	snprintf(set, sizeof(set), "PRAGMA application_id=%d; PRAGMA user_version=%d",
		 STORE_APPLICATION_ID, STORE_VERSION);
	/* The schema is in the file itself, synced, before there is a log. */
	r = store_exec(store->db, "PRAGMA synchronous=FULL; BEGIN IMMEDIATE");
	for (size_t i = 0; i < store_objects_count && !r; i++)
		r = store_exec(store->db, store_objects[i].sql);
	if (!r)
		r = store_exec(store->db, set);
	if (!r)
		r = store_exec(store->db, "COMMIT; PRAGMA journal_mode=WAL");
	return r < 0 ? r : store_prepare(store);
}

int vmat_store_create(struct vmat_store **ret, const char *path,
		      const struct vmat_store_options *options, struct vmat_error *err)
{
	struct vmat_store *store;
	int r;

	if (vmat_sys_is_file(path) == 1 || vmat_sys_is_file(path) == -EINVAL)
		return explain_existing(path, err);
	r = refuse_sibling(path, err);
	if (r < 0)
		return r;
	store = calloc(1, sizeof(*store));
	if (!store)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	store->is_durable = options && options->is_durable;
	store->claim = r = vmat_sys_claim(path);
	if (r == -EEXIST) {
		free(store);
		return explain_existing(path, err);
	}
	if (r >= 0)
		r = begin_database(store, path, options ? options->vfs : NULL);
	if (r >= 0)
		r = vmat_store_fact(store, "vmatlas", vmat_version(), err);
	if (r >= 0)
		r = vmat_store_fact(store, "state", "recording", err);
	if (r >= 0)
		r = vmat_store_commit(store, err);
	if (r < 0) {
		bool was_made = store->claim >= 0;

		store_free(store);
		if (was_made) {
			char name[NAME_MAX_SIZE];

			for (size_t i = 0; i < sizeof(sibling_ends) / sizeof(sibling_ends[0]);
			     i++) {
				snprintf(name, sizeof(name), "%s%s", path, sibling_ends[i]);
				vmat_sys_remove(name);
			}
			vmat_sys_remove(path);
		}
		return vmat_error_set(err, r, "%.200s cannot be created: %s", path,
				      strerrordesc_np(-r));
	}
	*ret = store;
	return 0;
}

/* Makes room for one more. NULL: no memory. */
static void *one_more(void *pointer_to_array, size_t count, size_t size)
{
	void *array, *more;

	memcpy(&array, pointer_to_array, sizeof(array));
	/* A power of two, or nothing: it is full. */
	if (!(count & (count - 1))) {
		more = realloc(array, (count ? 2 * count : 1) * size);
		if (!more)
			return NULL;
		array = more;
		memcpy(pointer_to_array, &array, sizeof(array));
	}
	return memset((char *)array + count * size, 0, size);
}

static int no_memory(struct vmat_error *err)
{
	return vmat_error_set(err, -ENOMEM, "out of memory");
}

static int check_process(const struct vmat_store *store, uint32_t process, struct vmat_error *err)
{
	if (process && process <= store->processes_count)
		return 0;
	return vmat_error_set(err, -EINVAL, "the recording has no process number %u", process);
}

int vmat_store_fact(struct vmat_store *store, const char *name, const char *value,
		    struct vmat_error *err)
{
	struct store_fact *fact = one_more(&store->facts, store->facts_count, sizeof(*fact));

	if (!fact)
		return no_memory(err);
	fact->name = strdup(name);
	fact->value = strdup(value);
	if (!fact->name || !fact->value) {
		free(fact->name);
		free(fact->value);
		return no_memory(err);
	}
	store->facts_count++;
	return 0;
}

int vmat_store_process(struct vmat_store *store, const struct vmat_series *who, uint32_t *ret,
		       struct vmat_error *err)
{
	struct store_process *process =
		one_more(&store->processes, store->processes_count, sizeof(*process));

	if (!process)
		return no_memory(err);
	process->who = *who;
	process->who.samples = NULL;
	process->who.events = NULL;
	process->is_fresh = true;
	process->last_tick = -1;
	*ret = (uint32_t)++store->processes_count;
	return 0;
}

int vmat_store_sample(struct vmat_store *store, uint32_t process, const struct vmat_sample *sample,
		      struct vmat_error *err)
{
	struct store_sample *waiting;
	int r = check_process(store, process, err);

	if (r < 0)
		return r;
	if (sample->mono_ns > INT64_MAX || sample->boot_ns > INT64_MAX ||
	    sample->wall_ns > INT64_MAX)
		return vmat_error_set(err, -EINVAL, "a sample without its time");
	if (store->processes[process - 1].has_samples &&
	    sample->mono_ns <= store->processes[process - 1].last_ns)
		return vmat_error_set(err, -EINVAL, "a sample older than the one before it");
	waiting = one_more(&store->samples, store->samples_count, sizeof(*waiting));
	if (!waiting)
		return no_memory(err);
	waiting->process = process;
	waiting->sample = *sample;
	store->samples_count++;
	store->processes[process - 1].has_samples = true;
	store->processes[process - 1].last_ns = sample->mono_ns;
	return 0;
}

int vmat_store_owners(struct vmat_store *store, uint32_t process,
		      const struct vmat_owner_sample *owners, size_t count, struct vmat_error *err)
{
	struct store_sample *waiting =
		store->samples_count ? &store->samples[store->samples_count - 1] : NULL;

	if (!waiting || waiting->process != process || waiting->owners || count > VMAT_OWNERS_MAX)
		return vmat_error_set(err, -EINVAL, "owners without their sample");
	waiting->owners = calloc(count + 1, sizeof(*owners));
	if (!waiting->owners)
		return no_memory(err);
	if (count)
		memcpy(waiting->owners, owners, count * sizeof(*owners));
	waiting->owners_count = count;
	return 0;
}

int vmat_store_event(struct vmat_store *store, uint32_t process, const struct vmat_event *event,
		     struct vmat_error *err)
{
	struct store_event *waiting;
	int r = check_process(store, process, err);

	if (r < 0)
		return r;
	waiting = one_more(&store->events, store->events_count, sizeof(*waiting));
	if (!waiting)
		return no_memory(err);
	waiting->process = process;
	waiting->event = *event;
	store->events_count++;
	return 0;
}

int vmat_store_judgement(struct vmat_store *store, uint32_t process,
			 const struct vmat_judgement *judgement, struct vmat_error *err)
{
	struct vmat_judgement *copy;
	int r = check_process(store, process, err);

	if (r < 0)
		return r;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return no_memory(err);
	*copy = *judgement;
	free(store->processes[process - 1].judgement);
	store->processes[process - 1].judgement = copy;
	return 0;
}

/* After a commit: nothing waits. After one that failed: no samples wait, and no row is known to be there. */
static void settle(struct vmat_store *store, bool is_committed)
{
	for (size_t i = 0; i < store->samples_count; i++)
		free(store->samples[i].owners);
	store->samples_count = 0;
	free(store->samples);
	store->samples = NULL;
	for (size_t i = 0; i < store->processes_count; i++) {
		struct store_process *process = &store->processes[i];

		process->is_fresh |= !is_committed;
		process->is_stored |= is_committed;
		store_owners_settle(&process->owners, is_committed);
		if (is_committed) {
			free(process->judgement);
			process->judgement = NULL;
		}
	}
	if (!is_committed)
		return;
	for (size_t i = 0; i < store->facts_count; i++) {
		free(store->facts[i].name);
		free(store->facts[i].value);
	}
	free(store->facts);
	free(store->events);
	store->facts = NULL;
	store->events = NULL;
	store->facts_count = store->events_count = 0;
}

/* The clock of the newest that waits; 0 when nothing has a time. */
static uint64_t newest_ns(const struct vmat_store *store)
{
	uint64_t newest = 0;

	for (size_t i = 0; i < store->samples_count; i++)
		if (store->samples[i].sample.mono_ns > newest)
			newest = store->samples[i].sample.mono_ns;
	return newest;
}

int vmat_store_commit(struct vmat_store *store, struct vmat_error *err)
{
	const uint64_t now = newest_ns(store);
	const bool is_synced =
		store->is_durable || !now || now - store->synced_ns >= SYNC_AFTER_S * 1000000000ULL;
	const int64_t tick = store->tick;
	int r;

	r = store_exec(store->db, is_synced ? "PRAGMA synchronous=FULL; BEGIN IMMEDIATE"
					    : "PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE");
	if (!r)
		r = store_write_all(store);
	if (!r)
		r = store_exec(store->db, "COMMIT");
	if (r < 0) {
		if (!sqlite3_get_autocommit(store->db))
			store_exec(store->db, "ROLLBACK");
		store->tick = tick;
	} else if (is_synced && now) {
		store->synced_ns = now;
	}
	settle(store, !r);
	if (r < 0)
		return vmat_error_set(err, r,
				      "the recording cannot be written: %s; this tick is lost, "
				      "those before it are kept",
				      strerrordesc_np(-r));
	return 0;
}

void store_free(struct vmat_store *store)
{
	settle(store, true);
	for (size_t i = 0; i < store->processes_count; i++)
		free(store->processes[i].owners.committed);
	for (size_t i = 0; i < STORE_STATEMENTS; i++)
		sqlite3_finalize(store->statements[i]);
	sqlite3_close(store->db);
	vmat_sys_close(store->claim);
	free(store->processes);
	free(store);
}

int vmat_store_close(struct vmat_store *store, struct vmat_error *err)
{
	int r;

	if (!store)
		return 0;
	r = vmat_store_fact(store, "state", "ended", err);
	if (!r)
		r = vmat_store_commit(store, err);
	for (size_t i = 0; i < STORE_STATEMENTS && !r; i++) {
		sqlite3_finalize(store->statements[i]);
		store->statements[i] = NULL;
	}
	/* One file, without a log. While somebody reads, it stays as it is, which is as good. */
	if (!r)
		r = store_exec(store->db, "PRAGMA synchronous=FULL; PRAGMA journal_mode=DELETE");
	if (r == -EBUSY)
		r = 0;
	else if (r < 0)
		vmat_error_set(err, r,
			       "the recording cannot be ended: %s; what was written is kept",
			       strerrordesc_np(-r));
	store_free(store);
	return r;
}
