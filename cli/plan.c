/* SPDX-License-Identifier: MIT */
/*
 * vmatlas stacks --plan: what tasks of FreeRTOS will cost, before anything is built: see tasks.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "number.h"
#include "report.h"
#include "tasks.h"

#define SCHEMA "vmatlas/plan/1"

/* One "name:depth" of the list. */
static int take_task(struct vmat_plan *plan, const char *text, size_t size)
{
	struct vmat_plan_task *task = &plan->tasks[plan->count];
	const char *colon = memchr(text, ':', size);
	size_t name_size = colon ? (size_t)(colon - text) : 0;
	char depth[24], *end = depth;

	if (colon && size - name_size - 1 < sizeof(depth)) {
		memcpy(depth, colon + 1, size - name_size - 1);
		depth[size - name_size - 1] = '\0';
		errno = 0;
		if (depth[0] >= '0' && depth[0] <= '9')
			task->depth = strtoull(depth, &end, 10);
	}
	if (end == depth || *end || errno || name_size >= sizeof(task->name))
		return cli_usage_error(
			"--plan: '%.*s' is no NAME:DEPTH\nThe depth is in words, as for "
			"xTaskCreate(): --plan main:1000,net:512",
			(int)(size < 64 ? size : 64), text);
	memcpy(task->name, text, name_size);
	plan->count++;
	return CLI_OK;
}

static int take_tasks(struct vmat_plan *plan, const char *text)
{
	for (;; text++) {
		size_t size = strcspn(text, ",");

		if (plan->count == VMAT_PLAN_TASKS_MAX)
			return cli_usage_error("--plan: too many tasks, the most is %d",
					       VMAT_PLAN_TASKS_MAX);
		if (take_task(plan, text, size))
			return CLI_USAGE;
		text += size;
		if (!*text)
			return CLI_OK;
	}
}

/* Words and TCB from the ELF file, when there is one; what is given on the command line counts more. */
static int take_sizes(struct vmat_plan *plan, const struct cli_args *args, bool *is_usual)
{
	struct vmat_error err = { 0 };
	int fd, r;

	plan->word = 4;
	if (args->operands_count) {
		fd = open(args->operands[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		r = fd < 0 ? vmat_error_set(&err, -errno, "%s: %s", args->operands[0],
					    strerror(errno))
			   : vmat_plan_program(fd, &plan->tcb_size, &plan->word, &err);
		if (fd >= 0)
			close(fd);
		if (r < 0)
			return cli_fail(&err);
	}
	if (args->word && !cli_parse_size(args->word, &plan->word))
		return cli_usage_error("--word '%.64s' is no number of bytes", args->word);
	if (args->tcb && !cli_parse_size(args->tcb, &plan->tcb_size))
		return cli_usage_error("--tcb '%.64s' is no size", args->tcb);
	plan->heap_size = VMAT_UNKNOWN(VMAT_NOT_ASKED);
	if (args->heap && !cli_parse_size(args->heap, &plan->heap_size))
		return cli_usage_error("--heap '%.64s' is no size", args->heap);
	*is_usual = !plan->tcb_size;
	if (*is_usual)
		plan->tcb_size = vmat_plan_usual_tcb(plan->word);
	return CLI_OK;
}

static void json_costs(struct vmat_json *json, const char *key,
		       const uint64_t costs[VMAT_RTOS_SCHEMES])
{
	char name[16];

	vmat_json_begin(json, key);
	for (unsigned i = 0; i < VMAT_RTOS_SCHEMES; i++) {
		snprintf(name, sizeof(name), "heap_%u", i + 1);
		vmat_json_number(json, name, costs[i]);
	}
	vmat_json_end(json);
}

static int write_json(const struct cli_output *output, const struct vmat_plan *plan, bool is_usual)
{
	const struct vmat_rows rows = { .list = &vmat_list_plan,
					.model = plan,
					.count = plan->count };
	struct vmat_json *json;
	int r, finished;

	if (vmat_json_new(&json, stdout) < 0)
		return -ENOMEM;
	vmat_json_begin(json, NULL);
	vmat_json_string(json, "schema", SCHEMA);
	vmat_json_number(json, "word", plan->word);
	vmat_json_number(json, "tcb_size", plan->tcb_size);
	vmat_json_bool(json, "tcb_usual", is_usual);
	vmat_json_number(json, "header", plan->header);
	vmat_json_number(json, "alignment", plan->alignment);
	vmat_json_number(json, "heap_size", plan->heap_size);
	r = cli_output_json(output, json, &rows);
	json_costs(json, "sum", plan->sum.cost);
	json_costs(json, "left", plan->left);
	vmat_json_end(json);
	finished = vmat_json_finish(json);
	return r < 0 ? r : finished;
}

static int write_table(const struct cli_output *output, const struct vmat_plan *plan, bool is_usual)
{
	bool has_heads = cli_output_has_heads(output);
	const struct vmat_rows rows = {
		.list = &vmat_list_plan,
		.model = plan,
		.count = plan->count + has_heads + (has_heads && vmat_is_known(plan->heap_size)),
	};
	int r;

	if (has_heads) {
		cli_line(
			"a word of a stack has %s byte%s; TCB %s bytes%s; header %s, rounded up to %s",
			cli_count(plan->word), plan->word == 1 ? "" : "s",
			cli_count(plan->tcb_size),
			is_usual ? " (usual: give the ELF file or --tcb)" : "",
			cli_count(plan->header), cli_count(plan->alignment));
		if (vmat_is_known(plan->heap_size))
			cli_line("heap of %s bytes", cli_count(plan->heap_size));
		cli_line("%s", "");
	}
	r = cli_output_rows(output, &rows);
	if (r == 0 && has_heads)
		cli_line(
			"\nThe scheduler creates the idle task, and the timer task where there are timers: "
			"plan them, too.");
	for (unsigned i = 0; r == 0 && has_heads && i < VMAT_RTOS_SCHEMES; i++) {
		if (!plan->fits[i])
			cli_line("Does not fit into heap_%u.", i + 1);
	}
	return r;
}

int cli_plan_run(const struct cli_args *args)
{
	struct vmat_plan *plan;
	struct cli_output output;
	struct vmat_error err = { 0 };
	bool is_usual = false, fits = false;
	int code = cli_output_init(&output, args, &vmat_list_plan), r;

	if (code)
		return code;
	plan = calloc(1, sizeof(*plan));
	if (!plan)
		return cli_written(-ENOMEM, CLI_OK);
	/* Sizes here are exact: they are to be compared with a datasheet. */
	output.text.is_exact = true;
	code = take_tasks(plan, args->plan);
	if (!code)
		code = take_sizes(plan, args, &is_usual);
	if (!code && vmat_plan_compute(plan, &err) < 0)
		code = cli_usage_error("--plan: %s", err.text);
	if (!code) {
		r = output.format == CLI_JSON ? write_json(&output, plan, is_usual)
					      : write_table(&output, plan, is_usual);
		for (unsigned i = 0; i < VMAT_RTOS_SCHEMES; i++)
			fits |= plan->fits[i];
		code = cli_written(r, fits ? CLI_OK : CLI_JUDGED_BAD);
	}
	free(plan);
	return code;
}
