/* SPDX-License-Identifier: MIT */
/*
 * vmatlas sizes: what malloc makes of a request: of a process's malloc, or of the one that runs in vmatlas itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vmatlas/prim/goodsize.h>
#include <vmatlas/sizes.h>

#include "number.h"
#include "report.h"
#include "subject.h"

#define SCHEMA "vmatlas/sizes/1"

enum { MAX_USUAL = 1 << 20 };

#define MAX_MOST ((uint64_t)1 << 40)

static int write_sizes(const struct cli_subject *subject, const struct cli_output *output,
		       const struct vmat_sizes *sizes)
{
	struct vmat_rows rows = { .list = &vmat_list_sizes, .model = sizes, .count = sizes->count };
	struct vmat_json *json;
	int r, finished;

	if (output->format != CLI_JSON) {
		if (cli_output_has_heads(output)) {
			cli_line("allocator: %s\n  %s",
				 sizes->allocator[0] ? sizes->allocator : "-", sizes->why);
			if (vmat_is_known(sizes->mmap_threshold))
				cli_line("M_MMAP_THRESHOLD %s", cli_count(sizes->mmap_threshold));
			if (sizes->why_not[0])
				cli_line("no grid: %s", sizes->why_not);
		}
		return sizes->why_not[0] ? 0 : cli_output_rows(output, &rows);
	}
	json = cli_document_begin(subject, SCHEMA);
	if (!json)
		return -ENOMEM;
	vmat_json_string(json, "allocator", sizes->allocator[0] ? sizes->allocator : NULL);
	vmat_json_string(json, "allocator_why", sizes->why);
	vmat_json_string(json, "why_not", sizes->why_not[0] ? sizes->why_not : NULL);
	vmat_json_number(json, "mmap_threshold", sizes->mmap_threshold);
	r = cli_output_json(output, json, &rows);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

static uint64_t own_usable(uint64_t size, void *context)
{
	ssize_t good = vmat_good_size(size);

	(void)context;
	return good < 0 ? VMAT_UNKNOWN(VMAT_NOT_FOUND) : (uint64_t)good;
}

/* The malloc that runs here, which may have been preloaded. */
static int own_sizes(struct vmat_sizes **ret, uint64_t max, bool has_classes)
{
	const char *name = vmat_allocator();
	int r = vmat_sizes_build(ret, own_usable, NULL, max, has_classes);

	if (r)
		return r;
	/* As it is called of other processes. */
	if (name && !strcmp(name, "glibc"))
		name = "glibc malloc";
	snprintf((*ret)->allocator, sizeof((*ret)->allocator), "%s", name ? name : "");
	snprintf((*ret)->why, sizeof((*ret)->why), "asked in vmatlas itself: vmat_good_size(3)");
	if (!vmat_is_known((*ret)->rows[0].usable_from))
		snprintf((*ret)->why_not, sizeof((*ret)->why_not),
			 "what this malloc makes of a request is not known: see vmat_goodsize(3)");
	return 0;
}

static int read_and_write(struct cli_subject *subject, const struct cli_output *output,
			  uint64_t max, bool is_own)
{
	struct vmat_error *err = &subject->error;
	struct vmat_sizes *sizes = NULL;
	int r;

	if (is_own)
		r = own_sizes(&sizes, max, output->args->all);
	else
		r = vmat_sizes_read(&sizes, subject->target, subject->atlas->map, max,
				    output->args->all, err);
	if (r < 0) {
		err->code = r;
		return cli_subject_refused(subject, output, SCHEMA);
	}
	if (!is_own)
		cli_subject_check(subject);
	r = write_sizes(subject, output, sizes);
	cli_subject_warn(subject);
	vmat_sizes_free(sizes);
	return cli_written(r, CLI_OK);
}

static int sizes_run(const struct cli_args *args)
{
	struct cli_args own = *args;
	struct cli_output output;
	struct cli_subject subject;
	uint64_t max = MAX_USUAL;
	char pid[24];
	int code;

	if (args->max_size && (!cli_parse_size(args->max_size, &max) || max > MAX_MOST))
		return cli_usage_error("--max '%.64s' is no size up to 1T", args->max_size);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (!args->operands_count)
		own.operands[0] = pid;
	code = cli_output_init(&output, args, &vmat_list_sizes);
	if (!code)
		code = cli_subject_open(&subject, &own);
	if (code)
		return code;
	if (args->operands_count && cli_subject_read(&subject, VMAT_NEED_PAGES))
		code = cli_subject_refused(&subject, &output, SCHEMA);
	else
		code = read_and_write(&subject, &output, max, !args->operands_count);
	cli_subject_close(&subject);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 'a', "all", NULL, CLI_NO_VALUE, AT(all),
	  "a row for each usable size, not for each run of equal steps" },
	{ 'm', "max", "SIZE", CLI_SIZE, AT(max_size), "requests up to this size (1M)" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "", "the grid of libc's malloc" },
	{ "1234", "of process 1234, with its thresholds" },
	{ "--all --csv --max 4K", "each class up to 4 KiB" },
	{ 0 },
};

static const char *const text[] = {
	"Shows what malloc makes of a request: the requests from ASKED_FROM to ASKED_TO can use USABLE_FROM to USABLE_TO bytes, "
	"in steps of STEP.",
	"Of a process by the rule of its allocator, for glibc with the thresholds of that process; it is never stopped. "
	"Without TARGET of the malloc that runs in vmatlas itself, which LD_PRELOAD may choose.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_sizes, NULL };

const struct cli_command cli_sizes_command = {
	.name = "sizes",
	.operands = "[TARGET]",
	.operands_min = 0,
	.operands_max = 1,
	.summary = "what malloc makes of a request: the size grid, and its waste",
	.text = text,
	.options = options,
	.has_target = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = sizes_run,
};
