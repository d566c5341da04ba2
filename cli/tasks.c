/* SPDX-License-Identifier: MIT */
/* FreeRTOS in `stacks` and `heap`: see tasks.h. */
#include "tasks.h"

#include <errno.h>
#include <stdio.h>

#include "report.h"

#define STACKS_SCHEMA "vmatlas/stacks/1"
#define HEAP_SCHEMA   "vmatlas/heap/1"

bool cli_tasks_wanted(const struct cli_args *args)
{
	return args->rtos || args->gdb || args->ram.count;
}

static void write_head(const struct cli_output *output, const struct vmat_rtos *rtos)
{
	cli_line("FreeRTOS %s", cli_escape(output, rtos->version));
	cli_line("%zu tasks on %u core%s; a word of a stack has %s byte%s; TCB %s bytes; tick %s",
		 (size_t)rtos->count - (rtos->count && rtos->tasks[rtos->count - 1].is_main),
		 rtos->cores, rtos->cores == 1 ? "" : "s", cli_count(rtos->word),
		 rtos->word == 1 ? "" : "s", cli_count(rtos->tcb_size),
		 cli_count(rtos->tick_count));
	if (!rtos->is_filled)
		cli_line("stacks are not filled, so what was ever used is not known: build with "
			 "configCHECK_FOR_STACK_OVERFLOW=2");
	if (rtos->grows_up)
		cli_line("stacks grow up");
}

static int write_findings(const struct cli_output *output, const struct vmat_rtos *rtos)
{
	const struct vmat_rows rows = { .list = &vmat_list_rtos_findings,
					.model = rtos,
					.count = rtos->findings_count };

	if (!rows.count)
		return 0;
	cli_line("\n%zu finding%s:", rtos->findings_total, rtos->findings_total == 1 ? "" : "s");
	return cli_output_further(output, &rows, 0);
}

static void json_rtos(struct vmat_json *json, const struct vmat_rtos *rtos)
{
	cli_json_single(json,
			&(struct vmat_rows){ .list = &vmat_list_rtos, .model = rtos, .count = 1 });
}

static void json_findings(struct vmat_json *json, const struct vmat_rtos *rtos)
{
	vmat_json_number(json, "findings_total", rtos->findings_total);
	cli_json_further(json,
			 &(struct vmat_rows){ .list = &vmat_list_rtos_findings,
					      .model = rtos,
					      .count = rtos->findings_count },
			 0);
}

static int write_tasks(const struct cli_subject *subject, const struct cli_output *output,
		       const struct vmat_tasks_view *view)
{
	struct vmat_rows rows = { .list = &vmat_list_tasks,
				  .model = view,
				  .count = view->rtos->count };
	struct vmat_json *json;
	int r, finished;

	if (output->format != CLI_JSON) {
		if (cli_output_has_heads(output)) {
			cli_head_target(subject, output);
			write_head(output, view->rtos);
			cli_line("%s", "");
		}
		r = cli_output_rows(output, &rows);
		return r < 0 || !cli_output_has_heads(output) ? r
							      : write_findings(output, view->rtos);
	}
	json = cli_document_begin(subject, STACKS_SCHEMA);
	if (!json)
		return -ENOMEM;
	json_rtos(json, view->rtos);
	r = cli_output_json(output, json, &rows);
	json_findings(json, view->rtos);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

static int write_heap(const struct cli_subject *subject, const struct cli_output *output,
		      const struct vmat_rtos *rtos)
{
	struct vmat_rows rows = { .list = &vmat_list_rtos_heap, .model = rtos, .count = 1 };
	struct vmat_json *json;
	int r, finished;

	if (output->format != CLI_JSON) {
		if (cli_output_has_heads(output)) {
			cli_head_target(subject, output);
			cli_line("FreeRTOS %s", cli_escape(output, rtos->version));
			cli_line("heap_%u: %s", rtos->heap.scheme, rtos->heap.why);
			if (rtos->heap.why_not[0])
				cli_line("not known: %s", rtos->heap.why_not);
			cli_line("%s", "");
		}
		r = cli_output_rows(output, &rows);
		return r < 0 || !cli_output_has_heads(output) ? r : write_findings(output, rtos);
	}
	json = cli_document_begin(subject, HEAP_SCHEMA);
	if (!json)
		return -ENOMEM;
	json_rtos(json, rtos);
	r = cli_output_json(output, json, &rows);
	json_findings(json, rtos);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

/* The threads of a process, for the tasks that they run. Firmware has none, and without them the tasks are still told. */
static struct vmat_stacks *read_threads(struct cli_subject *subject)
{
	struct vmat_stacks *stacks = NULL;

	if (subject->process->firmware)
		return NULL;
	if (cli_subject_read(subject, 0)) {
		cli_subject_note(subject, "the threads that run the tasks could not be read");
		subject->error.code = 0;
		return NULL;
	}
	if (vmat_stacks_read(&stacks, subject->target, subject->atlas->map, NULL) < 0)
		cli_subject_note(subject, "the threads that run the tasks could not be read");
	return stacks;
}

/* What is said when there are no tasks: a document whose list is null, or who the target is; and the error. */
static int refused(const struct cli_subject *subject, const struct cli_output *output,
		   const char *schema)
{
	struct vmat_json *json;
	int r = 0;

	if (output->format == CLI_JSON) {
		json = cli_document_begin(subject, schema);
		if (json) {
			vmat_json_string(json, output->list->key, NULL);
			r = cli_document_end(json);
		}
	} else if (cli_output_has_heads(output)) {
		cli_head_target(subject, output);
		fflush(stdout);
	}
	return cli_written(r, cli_fail(&subject->error));
}

/* Opens the target, reads FreeRTOS, and writes it as `list`. */
static int run(const struct cli_args *args, const struct vmat_list *list, const char *schema)
{
	struct vmat_tasks_view view = { .rtos = NULL };
	struct vmat_stacks *stacks = NULL;
	struct vmat_rtos *rtos = NULL;
	struct cli_output output;
	struct cli_subject subject;
	int code = cli_output_init(&output, args, list), r;

	if (!code)
		code = cli_subject_open(&subject, args);
	if (code)
		return code;
	output.text.is_exact = true; /* stacks and heaps of some kilobytes */
	r = vmat_rtos_read(&rtos, subject.target, &subject.error);
	if (r < 0) {
		subject.error.code = r;
		code = refused(&subject, &output, schema);
	} else {
		if (rtos->is_partial)
			cli_subject_note(&subject, rtos->partial_why);
		if (list == &vmat_list_tasks)
			stacks = read_threads(&subject);
		view = (struct vmat_tasks_view){ .rtos = rtos, .stacks = stacks };
		cli_subject_check(&subject);
		r = list == &vmat_list_tasks ? write_tasks(&subject, &output, &view)
					     : write_heap(&subject, &output, rtos);
		cli_subject_warn(&subject);
		code = cli_written(r, rtos->is_damaged ? CLI_JUDGED_BAD : CLI_OK);
	}
	vmat_stacks_free(stacks);
	vmat_rtos_free(rtos);
	cli_subject_close(&subject);
	return code;
}

int cli_tasks_run(const struct cli_args *args)
{
	return run(args, &vmat_list_tasks, STACKS_SCHEMA);
}

int cli_rtos_heap_run(const struct cli_args *args)
{
	return run(args, &vmat_list_rtos_heap, HEAP_SCHEMA);
}

struct vmat_rtos *cli_tasks_beside(struct cli_subject *subject)
{
	struct vmat_rtos *rtos = NULL;
	struct vmat_error err = { 0 };

	if (!vmat_rtos_is_there(subject->target))
		return NULL;
	if (vmat_rtos_read(&rtos, subject->target, &err) < 0)
		cli_subject_note(subject, err.text);
	else if (rtos->is_partial)
		cli_subject_note(subject, rtos->partial_why);
	return rtos;
}

int cli_tasks_write_beside(const struct cli_output *output, const struct vmat_rtos *rtos,
			   const struct vmat_stacks *stacks)
{
	const struct vmat_tasks_view view = { .rtos = rtos, .stacks = stacks };
	const struct vmat_rows rows = { .list = &vmat_list_tasks,
					.model = &view,
					.count = rtos->count };
	struct cli_output exact = *output;
	int r;

	exact.text.is_exact = true;
	cli_line("%s", "");
	write_head(output, rtos);
	r = cli_output_further(&exact, &rows, 0);
	return r < 0 ? r : write_findings(output, rtos);
}

void cli_tasks_json_beside(struct vmat_json *json, const struct vmat_rtos *rtos,
			   const struct vmat_stacks *stacks)
{
	const struct vmat_tasks_view view = { .rtos = rtos, .stacks = stacks };

	json_rtos(json, rtos);
	cli_json_further(json,
			 &(struct vmat_rows){
				 .list = &vmat_list_tasks, .model = &view, .count = rtos->count },
			 0);
	json_findings(json, rtos);
}
