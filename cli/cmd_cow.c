/* SPDX-License-Identifier: MIT */
/*
 * vmatlas cow: which pages of private mappings are copies, and which are still shared after a fork.
 */
#include <errno.h>

#include "report.h"
#include "subject.h"

#define SCHEMA "vmatlas/cow/1"

/* Ranges shown below each region of a table, unless --ranges asks for all. */
#define RANGES_SHOWN 8

static int write_cow(const struct cli_subject *subject, const struct cli_output *output,
		     const struct vmat_cow *cow)
{
	struct vmat_cow_view view = { .cow = cow, .atlas = subject->atlas };
	struct vmat_rows rows = { .list = &vmat_list_cow, .model = &view, .count = cow->count };
	struct vmat_json *json;
	int r, finished;

	if (output->format != CLI_JSON) {
		if (cli_output_has_heads(output)) {
			cli_head_target(subject, output);
			cli_line("%zu private regions hold copied, exclusive or shared pages of %s "
				 "bytes\n",
				 cow->count, cli_count(subject->atlas->map->base_page_size));
		}
		return cli_output_rows(output, &rows);
	}
	json = cli_document_begin(subject, SCHEMA);
	if (!json)
		return -ENOMEM;
	vmat_json_number(json, "base_page_size", subject->atlas->map->base_page_size);
	r = cli_output_json(output, json, &rows);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

static int read_and_write(struct cli_subject *subject, const struct cli_output *output)
{
	struct vmat_error *err = &subject->error;
	struct vmat_cow *cow;
	int r = vmat_cow_read(&cow, subject->target, subject->atlas->map, err);

	if (r < 0) {
		err->code = r;
		return cli_subject_refused(subject, output, SCHEMA);
	}
	if (cow->is_partial)
		cli_subject_note(subject, cow->partial_why);
	cli_subject_check(subject);
	r = write_cow(subject, output, cow);
	cli_subject_warn(subject);
	vmat_cow_free(cow);
	return cli_written(r, CLI_OK);
}

static int cow_run(const struct cli_args *args)
{
	struct cli_output output;
	struct cli_subject subject;
	int code = cli_output_init(&output, args, &vmat_list_cow);

	if (!code)
		code = cli_subject_open(&subject, args);
	if (code)
		return code;
	output.text.children_max = args->ranges ? 0 : RANGES_SHOWN;
	if (cli_subject_read(&subject, cli_output_needs(&output)))
		code = cli_subject_refused(&subject, &output, SCHEMA);
	else
		code = read_and_write(&subject, &output);
	cli_subject_close(&subject);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 'a', "ranges", NULL, CLI_NO_VALUE, AT(ranges),
	  "list every range of pages below its region, not only the first 8" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "1234", "the copied pages of process 1234" },
	{ "--ranges -x COPIED 1234", "every range, the region with most copies last" },
	{ "-J 1234", "for a program" },
	{ 0 },
};

static const char *const text[] = {
	"Shows which pages of private mappings have been copied on write. Of a mapped file: the "
	"pages that "
	"are private copies, and which. Of anonymous memory: how many pages belong to this process "
	"alone, "
	"and which are still shared with a parent or child after a fork.",
	"Needs no root. The target is never stopped.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_cow, &vmat_list_ranges, NULL };

const struct cli_command cli_cow_command = {
	.name = "cow",
	.operands = "TARGET",
	.operands_min = 1,
	.operands_max = 1,
	.summary = "which pages of private mappings have been copied on write",
	.text = text,
	.options = options,
	.has_target = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = cow_run,
};
