/* SPDX-License-Identifier: MIT */
/*
 * vmatlas leaks: blocks that nothing in the process refers to any more.
 */
#include <errno.h>

#include <vmatlas/reach.h>

#include "limit.h"
#include "number.h"
#include "report.h"
#include "subject.h"

#define SCHEMA "vmatlas/leaks/1"

enum { SHOWN = 20 };

static void write_head(const struct cli_subject *subject, const struct cli_output *output,
		       const struct vmat_leaks *leaks)
{
	cli_head_target(subject, output);
	if (vmat_is_known(leaks->heap->stopped_ns))
		cli_line("the process stood still for %.1f ms",
			 (double)leaks->heap->stopped_ns / 1e6);
	cli_line("%s blocks, %s searched for what refers to them", cli_count(leaks->blocks),
		 cli_size(output, leaks->root_bytes));
	cli_line("leaked: %s blocks, %s, that nothing refers to; %s more, %s, that only these hold",
		 cli_count(leaks->direct_count), cli_size(output, leaks->direct_bytes),
		 cli_count(leaks->indirect_count), cli_size(output, leaks->indirect_bytes));
	if (leaks->interior_count)
		cli_line("not counted: %s blocks, %s, reached only by addresses into them",
			 cli_count(leaks->interior_count), cli_size(output, leaks->interior_bytes));
	cli_line("%s", "");
}

static int write_leaks(const struct cli_subject *subject, const struct cli_output *output,
		       const struct vmat_leaks *leaks)
{
	struct vmat_rows rows = { .list = &vmat_list_leaks, .model = leaks, .count = leaks->count };
	struct vmat_rows totals = { .list = &vmat_list_leak_totals, .model = leaks, .count = 1 };
	bool has_heads = cli_output_has_heads(output);
	struct vmat_json *json;
	int r, finished;

	if (output->format != CLI_JSON) {
		if (has_heads) {
			write_head(subject, output, leaks);
			if (!output->args->all && rows.count > SHOWN)
				rows.count = SHOWN;
		}
		r = rows.count || !has_heads ? cli_output_rows(output, &rows) : 0;
		if (r == 0 && rows.count < leaks->count)
			cli_line("... and %zu more: --all shows them", leaks->count - rows.count);
		return r;
	}
	json = cli_document_begin(subject, SCHEMA);
	if (!json)
		return -ENOMEM;
	vmat_json_number(json, "stopped_ns", leaks->heap->stopped_ns);
	vmat_json_number(json, "stopped_ms",
			 vmat_is_known(leaks->heap->stopped_ns) ? leaks->heap->stopped_ns / 1000000
								: leaks->heap->stopped_ns);
	cli_json_single(json, &totals);
	r = cli_output_json(output, json, &rows);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

static int read_and_write(struct cli_subject *subject, const struct cli_output *output,
			  const struct vmat_heap_options *options, uint64_t fail_over)
{
	struct vmat_error *err = &subject->error;
	struct vmat_leaks *leaks;
	bool is_bad;
	int r;

	cli_subject_restart(subject);
	r = vmat_leaks_read(&leaks, subject->target, subject->atlas->map, options, err);

	if (r < 0) {
		err->code = r;
		return cli_subject_refused(subject, output, SCHEMA);
	}
	if (leaks->is_partial)
		cli_subject_note(subject, leaks->partial_why);
	cli_subject_check(subject);
	is_bad = leaks->direct_bytes + leaks->indirect_bytes > fail_over;
	r = write_leaks(subject, output, leaks);
	cli_subject_warn(subject);
	vmat_leaks_free(leaks);
	return cli_written(r, is_bad ? CLI_JUDGED_BAD : CLI_OK);
}

static int leaks_run(const struct cli_args *args)
{
	struct vmat_heap_options options = { .size = sizeof(options) };
	struct cli_output output;
	struct cli_subject subject;
	uint64_t fail_over = 0;
	int code = cli_output_init(&output, args, &vmat_list_leaks);

	if (!code && args->fail_over && !cli_parse_size(args->fail_over, &fail_over))
		return cli_usage_error("--fail-over '%.64s' is no size", args->fail_over);
	if (!code)
		code = cli_parse_max_stop(args->max_stop, &options.max_stop_ns);
	if (!code)
		code = cli_subject_open(&subject, args);
	if (code)
		return code;
	if (cli_subject_read(&subject, VMAT_NEED_PAGES))
		code = cli_subject_refused(&subject, &output, SCHEMA);
	else
		code = read_and_write(&subject, &output, &options, fail_over);
	cli_subject_close(&subject);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 'a', "all", NULL, CLI_NO_VALUE, AT(all), "all leaks, not only the 20 largest" },
	{ 0, "fail-over", "SIZE", CLI_SIZE, AT(fail_over),
	  "exit with 1 only when more than this has leaked (0)" },
	{ 0, "max-stop", "MS", CLI_NUMBER, AT(max_stop),
	  "give up, and let the process go, after this many milliseconds (2000)" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "1234", "the largest leaks of process 1234" },
	{ "--fail-over 1M 1234", "for a script: exit status 1 when more than 1 MiB has leaked" },
	{ "-J 1234", "all of them, for a program" },
	{ 0 },
};

static const char *const text[] = {
	"Finds the blocks of glibc's malloc that no register, no stack, no writable memory and no "
	"block in use refers to. Nothing is needed in the program: no restart, no preload.",
	"All threads of the process stand still meanwhile, for about 0.6 s per GiB of heap, and how "
	"long is printed. Blocks that only leaked ones refer to are counted with the one that leads "
	"to them; of a ring of blocks, one is shown.",
	"A number that looks like an address keeps a block alive, so some leaks stay unseen; a program "
	"that keeps its addresses encoded shows leaks that are none.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_leaks, &vmat_list_leak_totals, NULL };

const struct cli_command cli_leaks_command = {
	.name = "leaks",
	.operands = "TARGET",
	.operands_min = 1,
	.operands_max = 1,
	.summary = "blocks that nothing refers to any more, largest first",
	.text = text,
	.options = options,
	.has_target = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = leaks_run,
};
