/* SPDX-License-Identifier: MIT */
/*
 * recorder.h: several processes, measured at the same ticks and written into one recording.
 */
#ifndef CLI_RECORDER_H
#define CLI_RECORDER_H

#include <vmatlas/sample.h>
#include <vmatlas/store.h>

struct cli_recorded {
	struct vmat_sampler *sampler; /* NULL: it has ended */
	uint32_t number;              /* in the store */
	pid_t pid;
	char name[64];
	struct vmat_keeper keeper; /* for the judgement at the end */
	uint64_t samples;
	bool has_ended, is_end_written;
	uint64_t wait_status;
};

struct cli_recorder {
	struct vmat_store *store;
	uint64_t interval_ns;
	double budget; /* of one processor, for all of them together; 0: no limit */
	bool is_verbose, with_children;
	bool is_called; /* some descriptor ended the last wait: a process may have ended */
	struct cli_recorded *processes;
	size_t count;
	pid_t *pids; /* all there were when children were looked for last */
	size_t pids_count;
	uint64_t samples; /* acknowledged */
	uint64_t lost;    /* ticks that could not be written */
};

/* Follows one more process. 0 or a negative errno. */
int cli_recorder_add(struct cli_recorder *recorder, const char *spec, struct vmat_error *err);
/* One that ended before it could be measured, or may not be. */
int cli_recorder_add_ended(struct cli_recorder *recorder, pid_t pid, const char *name,
			   struct vmat_error *err);

/* Measures whoever is due, writes, and looks for new children. How many processes still live. */
size_t cli_recorder_tick(struct cli_recorder *recorder);

/* Waits for the next tick, the end of a process, `fd`, or the time. */
void cli_recorder_wait(struct cli_recorder *recorder, uint64_t until_ns, int fd);

/* The wait status of a process, which only its parent knows. */
void cli_recorder_status(struct cli_recorder *recorder, pid_t pid, int wait_status);

/* Judges each process, and ends the recording. 0 or a negative errno. */
int cli_recorder_end(struct cli_recorder *recorder, struct vmat_error *err);

/* After the end, or without a recording. */
void cli_recorder_free(struct cli_recorder *recorder);

/* CLOCK_MONOTONIC. */
uint64_t cli_recorder_now(void);

#endif
