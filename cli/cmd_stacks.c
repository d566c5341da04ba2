/* SPDX-License-Identifier: MIT */
/*
 * vmatlas stacks: where the stack of each thread lies, its guard, what it has used, and what lies
 * between it and the next.
 */
#include <errno.h>

#include "report.h"
#include "subject.h"
#include "tasks.h"

#define SCHEMA "vmatlas/stacks/1"

static int write_stacks(const struct cli_subject *subject, const struct cli_output *output,
			const struct vmat_stacks *stacks, const struct vmat_rtos *rtos)
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
		r = cli_output_rows(output, &rows);
		return r < 0 || !rtos || !cli_output_has_heads(output)
			       ? r
			       : cli_tasks_write_beside(output, rtos, stacks);
	}
	json = cli_document_begin(subject, SCHEMA);
	if (!json)
		return -ENOMEM;
	vmat_json_string(json, "method", stacks->method);
	vmat_json_string(json, "verdict", stacks->verdict[0] ? stacks->verdict : NULL);
	r = cli_output_json(output, json, &rows);
	if (rtos)
		cli_tasks_json_beside(json, rtos, stacks);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

/* The map is there, the stacks are read now: they need no more than the regions. */
static int read_and_write(struct cli_subject *subject, const struct cli_output *output)
{
	struct vmat_error *err = &subject->error;
	struct vmat_stacks *stacks;
	struct vmat_rtos *rtos;
	int r = vmat_stacks_read(&stacks, subject->target, subject->atlas->map, err);

	if (r < 0) {
		err->code = r;
		return cli_subject_refused(subject, output, SCHEMA);
	}
	if (stacks->is_partial)
		cli_subject_note(subject, stacks->partial_why);
	rtos = cli_tasks_beside(subject);
	cli_subject_check(subject);
	r = write_stacks(subject, output, stacks, rtos);
	cli_subject_warn(subject);
	vmat_rtos_free(rtos);
	vmat_stacks_free(stacks);
	return cli_written(r, CLI_OK);
}

static int stacks_run(const struct cli_args *args)
{
	struct cli_output output;
	struct cli_subject subject;
	int code;

	if (args->plan)
		return cli_plan_run(args);
	if (args->word || args->tcb || args->heap)
		return cli_usage_error("--word, --tcb and --heap belong to --plan");
	if (!args->operands_count)
		return cli_usage_error(
			"stacks: TARGET is missing\nUsage: vmatlas stacks [options] TARGET");
	if (cli_tasks_wanted(args))
		return cli_tasks_run(args);
	code = cli_output_init(&output, args, &vmat_list_threads);
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

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 0, "rtos", NULL, CLI_NO_VALUE, AT(rtos),
	  "show the tasks of FreeRTOS alone: with -o, --csv and the like" },
	{ 0, "plan", "LIST", CLI_NUMBER, AT(plan),
	  "NAME:DEPTH,...: what these tasks will take of each heap of FreeRTOS; depths in words. TARGET is "
	  "then the ELF file that tells the sizes of a TCB and of a word, or nothing" },
	{ 0, "word", "BYTES", CLI_NUMBER, AT(word), "for --plan: bytes in a word of a stack (4)" },
	{ 0, "tcb", "BYTES", CLI_NUMBER, AT(tcb), "for --plan: sizeof(TCB_t)" },
	{ 0, "heap", "SIZE", CLI_SIZE, AT(heap), "for --plan: configTOTAL_HEAP_SIZE" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "1234", "the stacks of process 1234" },
	{ "-o TID,NAME,BEGIN,END,SIZE,GUARD,GAP -b 1234", "begin, end and size in bytes" },
	{ "-x HIGH 1234", "the thread that went deepest comes last" },
	{ "-J 1234", "for a program" },
	{ "--plan main:1000,idle:128 --word 4 --heap 25k",
	  "what two tasks will take of a heap of FreeRTOS" },
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
	"Of a program that runs FreeRTOS the tasks are shown, too: the stack of each in words and bytes, and how many "
	"words of it were never used.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_threads, &vmat_list_tasks,
						 &vmat_list_rtos,    &vmat_list_rtos_findings,
						 &vmat_list_plan,    NULL };

const struct cli_command cli_stacks_command = {
	.name = "stacks",
	.operands = "TARGET",
	.operands_min = 0, /* --plan needs none */
	.operands_max = 1,
	.summary = "every thread's stack: begin, end, size, guard, gap, used",
	.text = text,
	.options = options,
	.has_target = true,
	.takes_firmware = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = stacks_run,
};
