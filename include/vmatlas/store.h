/* SPDX-License-Identifier: MIT */
/*
 * store.h: recordings: series of processes in a SQLite file, with what happened, what was found, and where it was recorded.
 *
 * The nouns:
 *   store      a recording that is being written; one writer, any number of readers meanwhile
 *   recording  one that is read
 *   tick       what is written in one transaction: a commit of the store. A tick is *acknowledged* when its commit has
 *              returned 0: from then on it survives the death of the writer. It survives power loss, too, when the store is
 *              durable, else at the latest 5 s of samples later.
 *
 * The tables are documented in vmatlas-recording(5), to be queried with sqlite3. A recording may be a stranger's: reading is
 * bounded in time and memory, believes nothing, and never writes to it.
 */
#ifndef VMATLAS_STORE_H
#define VMATLAS_STORE_H

#include <vmatlas/analyze.h>
#include <vmatlas/sample.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A fact of the host or of the recording: "kernel" = "6.1.0", "boot_id", "page_size", "vmatlas". */
struct vmat_fact {
	const char *name;
	const char *value;
};

/* Writing. */

struct vmat_store;

struct vmat_store_options {
	size_t size;     /* sizeof(struct vmat_store_options) */
	bool is_durable; /* each tick is on the disk when it is acknowledged: one fsync each */
	const char *vfs; /* SQLite's way to the disk; NULL: the usual one. For tests */
};

/*
 * Creates a recording at `path`, mode 0600. Nothing is ever replaced.
 *
 * Errors: -EEXIST something of that name is there (the text says what: a recording, one that is being written, something
 * else), or what SQLite would take for a part of it (path-wal, -shm, -journal); -ENOSPC, -EACCES, ...: what was begun is removed.
 */
int vmat_store_create(struct vmat_store **ret, const char *path,
		      const struct vmat_store_options *options, struct vmat_error *err);

/* Adds a fact, or gives it another value. The name is one of the recording's own choice. */
int vmat_store_fact(struct vmat_store *store, const char *name, const char *value,
		    struct vmat_error *err);

/* Adds a process: who it is, without its samples and events. *ret is its number in the store, from 1. */
int vmat_store_process(struct vmat_store *store, const struct vmat_series *who, uint32_t *ret,
		       struct vmat_error *err);

/*
 * Add to the tick that is not committed yet. Of one process samples ascend by mono_ns (-EINVAL). A number above INT64_MAX is
 * kept as unknown (VMAT_NOT_RECORDED).
 */
int vmat_store_sample(struct vmat_store *store, uint32_t process, const struct vmat_sample *sample,
		      struct vmat_error *err);
/*
 * The owners of the sample that was added last, which is of this process (else -EINVAL). To keep a recording small, those of a
 * sample are passed over when owners have come and gone too fast: 64 KiB of rows at once, and 10 bytes a second on average.
 */
int vmat_store_owners(struct vmat_store *store, uint32_t process,
		      const struct vmat_owner_sample *owners, size_t count, struct vmat_error *err);
int vmat_store_event(struct vmat_store *store, uint32_t process, const struct vmat_event *event,
		     struct vmat_error *err);
/* What was judged of a process, in place of what was judged before. */
int vmat_store_judgement(struct vmat_store *store, uint32_t process,
			 const struct vmat_judgement *judgement, struct vmat_error *err);

/*
 * Acknowledges all that was added since the last commit, or, when it or one of the calls above failed, drops it.
 *
 * Errors: -ENOSPC, -EIO, ...: this tick is lost and those before are kept; the store may be used further, and has room again
 * when the disk has.
 */
int vmat_store_commit(struct vmat_store *store, struct vmat_error *err);

/*
 * Commits, and ends the recording: then it is one file, whole and on the disk. NULL is fine. Whatever is returned, the store is
 * gone; on failure the recording is as a killed writer leaves it: readable, with path-wal beside it.
 */
int vmat_store_close(struct vmat_store *store, struct vmat_error *err);

/* Reading. */

/* Is this a regular file that begins as a recording does? Opens it, and closes it again. */
bool vmat_recording_is(const char *path);

struct vmat_recording;

struct vmat_recording_options {
	size_t size;          /* sizeof(struct vmat_recording_options) */
	uint64_t samples_max; /* of one series; 0: 100,000. Of more only every n-th is read */
	uint64_t work_max;    /* steps of SQLite's machine for one call; 0: 300,000,000 */
};

/* A process of a recording. Lifetime: the recording's. */
struct vmat_recorded {
	struct vmat_series who; /* samples and events are not read: NULL, 0 */
	uint64_t samples_count; /* that the recording holds */
	bool has_ended;         /* its exit was seen */
	uint64_t wait_status;   /* as of wait(2); unknown when it has not ended, or nobody told */
};

/*
 * Opens a recording for reading, also one that is being written: then it holds what was acknowledged until now.
 *
 * Errors: -ENOENT, -EACCES; -EBADMSG it is no recording, is damaged, or lies; -EPROTO of a schema that a newer vmatlas wrote; -EFBIG
 * it holds more than is read (65,536 processes, `work_max`); -ENOMEM.
 */
int vmat_recording_open(struct vmat_recording **ret, const char *path,
			const struct vmat_recording_options *options, struct vmat_error *err);
struct vmat_recording *vmat_recording_close(struct vmat_recording *recording);

/* Does its writer still live? Asked when it was opened. */
bool vmat_recording_is_growing(const struct vmat_recording *recording);
/* Did the writer end the recording (else it was killed, or still writes)? */
bool vmat_recording_is_whole(const struct vmat_recording *recording);

size_t vmat_recording_facts(const struct vmat_recording *recording, const struct vmat_fact **ret);
size_t vmat_recording_processes(const struct vmat_recording *recording,
				const struct vmat_recorded **ret);

/*
 * Reads the series of the process with this index: its samples, and the newest 100,000 events. The caller frees it with vmat_recording_series_free.
 * *ret_stride: every how many-th sample is in it; 1: all. May be NULL.
 *
 * Errors: those of vmat_recording_open.
 */
int vmat_recording_series(struct vmat_recording *recording, size_t index, struct vmat_series *ret,
			  uint64_t *ret_stride, struct vmat_error *err);
/*
 * The owners of regions of the process with this index, as they were at a time of CLOCK_MONOTONIC: that of a sample that is marked
 * with VMAT_SAMPLE_OWNERS. *ret is freed with free().
 * Errors: -ENODATA the recording is of a schema that had no owners yet; those of vmat_recording_open.
 */
int vmat_recording_owners(struct vmat_recording *recording, size_t index, uint64_t mono_ns,
			  struct vmat_owner_sample **ret, size_t *ret_count,
			  struct vmat_error *err);
/* Frees what a series holds. */
void vmat_recording_series_free(struct vmat_series *series);

/*
 * What the recorder judged of the process with this index. Lifetime of the findings' ids: the recording's.
 * Errors: -ENODATA it judged nothing; those of vmat_recording_open.
 */
int vmat_recording_judgement(struct vmat_recording *recording, size_t index,
			     struct vmat_judgement *ret, struct vmat_error *err);

#ifdef __cplusplus
}
#endif
#endif
