/* SPDX-License-Identifier: MIT */
/*
 * subject.h: what a command speaks of: the target, its atlas, and how much of it could be read.
 */
#ifndef CLI_SUBJECT_H
#define CLI_SUBJECT_H

#include "output.h"

struct cli_subject {
	struct vmat_target *target;
	const struct vmat_process *process;
	struct vmat_atlas *atlas; /* NULL when it could not be read */
	struct vmat_counters counters;
	uint32_t read; /* enum vmat_need: what has been read */
	bool is_partial;
	char partial_why[1024];
	struct vmat_error error; /* its code is not 0 when the command could not be answered */
};

/* Opens the target of the command line. 0, or an exit code after it has said why. */
int cli_subject_open(struct cli_subject *ret, const struct cli_args *args);
/* A recording was named where a process is needed: says so, returns the exit code. */
int cli_needs_process(const struct cli_args *args, const char *name);
void cli_subject_close(struct cli_subject *subject);

/*
 * Reads the atlas with what `needs` (enum vmat_need) asks for, and the counters. 0 or an exit code; the
 * error is kept in subject->error and not printed yet: the counters can often be told all the same.
 */
int cli_subject_read(struct cli_subject *subject, uint32_t needs);

/* Is the target still what was read? Notes what a further reader found: "" is nothing. */
void cli_subject_check(struct cli_subject *subject);
void cli_subject_note(struct cli_subject *subject, const char *partial_why);

/* What was read so far only prepared what is read now, while the target stands: it is whole again. */
void cli_subject_restart(struct cli_subject *subject);

/* On stderr: that the answer is partial. */
void cli_subject_warn(const struct cli_subject *subject);

/* Begins a document: schema, target, partial. NULL when there is no memory. */
struct vmat_json *cli_document_begin(const struct cli_subject *subject, const char *schema);
/* Ends it; 0 or a negative errno. */
int cli_document_end(struct vmat_json *json);

/*
 * What is told when the map may not be read: the counters; as JSON a document whose list is null.
 * Returns the exit code of subject->error, which it prints.
 */
int cli_subject_refused(const struct cli_subject *subject, const struct cli_output *output,
			const char *schema);

/* The lines above a table: who the target is, and its counters. */
void cli_head_target(const struct cli_subject *subject, const struct cli_output *output);
void cli_head_counters(const struct cli_subject *subject, const struct cli_output *output);

void cli_json_counters(struct vmat_json *json, const struct cli_subject *subject);

#endif
