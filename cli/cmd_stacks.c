/* SPDX-License-Identifier: MIT */
/*
 * vmatlas stacks: where the stack of each thread lies, its guard, what it has used, and what lies
 * between it and the next.
 */
#include <errno.h>

#include "report.h"
#include "subject.h"

#define SCHEMA "vmatlas/stacks/1"

static int write_stacks(const struct cli_subject *subject, const struct cli_output *output,
			const struct vmat_stacks *stacks)
{
	struct vmat_rows rows = { .list = &vmat_list_threads,
				  .model = stacks,
				  .count = stacks->count };
	struct vmat_json *json;
	int r, finished;

	if (output->format != CLI_JSON) {
		if (cli_output_has_heads(output)) {
			cli_head_target(subject, output);
			cli_line("stacks: %zu, of living threads: %zu; %s%s", stacks->count,
				 stacks->threads, stacks->method ? stacks->method : "-",
				 stacks->verdict[0] ? "" : "\n");
			if (stacks->verdict[0])
				cli_line("%s\n", stacks->verdict);
		}
		return cli_output_rows(output, &rows);
	}
	json = cli_document_begin(subject, SCHEMA);
	if (!json)
		return -ENOMEM;
	vmat_json_string(json, "method", stacks->method);
	vmat_json_string(json, "verdict", stacks->verdict[0] ? stacks->verdict : NULL);
	r = cli_output_json(output, json, &rows);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

/* The map is there, the stacks are read now: they need no more than the regions. */
static int read_and_write(struct cli_subject *subject, const struct cli_output *output)
{
	struct vmat_error *err = &subject->error;
	struct vmat_stacks *stacks;
	int r = vmat_stacks_read(&stacks, subject->target, subject->atlas->map, err);

	if (r < 0) {
		err->code = r;
		return cli_subject_refused(subject, output, SCHEMA);
	}
	if (stacks->is_partial)
		cli_subject_note(subject, stacks->partial_why);
	cli_subject_check(subject);
	r = write_stacks(subject, output, stacks);
	cli_subject_warn(subject);
	vmat_stacks_free(stacks);
	return cli_written(r, CLI_OK);
}

static int stacks_run(const struct cli_args *args)
{
	struct cli_output output;
	struct cli_subject subject;
	int code = cli_output_init(&output, args, &vmat_list_threads);

	if (!code)
		code = cli_subject_open(&subject, args);
	if (code)
		return code;
	if (cli_subject_read(&subject, 0))
		code = cli_subject_refused(&subject, &output, SCHEMA);
	else
		code = read_and_write(&subject, &output);
	cli_subject_close(&subject);
	return code;
}

static const struct cli_example examples[] = {
	{ "1234", "the stacks of process 1234" },
	{ "-o TID,NAME,BEGIN,END,SIZE,GUARD,GAP -b 1234", "begin, end and size in bytes" },
	{ "-x HIGH 1234", "the thread that went deepest comes last" },
	{ "-J 1234", "for a program" },
	{ 0 },
};

static const char *const text[] = {
	"Shows the stack of each thread: begin, end, size, guard, how much of it is used now and "
	"was used "
	"at most, and the gap to the next stack with what lies in it.",
	"Stacks are taken from glibc's own lists in the target's memory, so two that share a "
	"region are "
	"told apart, and those of exited threads that glibc keeps are shown too. The target is "
	"never "
	"stopped. A stack pointer is known only while its thread is blocked.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_threads, NULL };

const struct cli_command cli_stacks_command = {
	.name = "stacks",
	.operands = "TARGET",
	.operands_min = 1,
	.operands_max = 1,
	.summary = "every thread's stack: begin, end, size, guard, gap, used",
	.text = text,
	.has_target = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = stacks_run,
};
