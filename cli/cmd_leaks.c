/* SPDX-License-Identifier: MIT */
/*
 * vmatlas leaks: blocks that nothing in the process refers to any more.
 */
#include <errno.h>

#include <vmatlas/reach.h>

#include "excluded.h"
#include "limit.h"
#include "number.h"
#include "report.h"
#include "subject.h"

#define SCHEMA "vmatlas/leaks/1"

enum { SHOWN = 20 };

/* What the command line asks for. */
struct leaks_run {
	struct vmat_leaks_options options;
	struct cli_excluded excluded;
	uint64_t fail_over;
};

static void write_head(const struct cli_subject *subject, const struct cli_output *output,
		       const struct vmat_leaks *leaks)
{
	cli_head_target(subject, output);
	cli_head_stop(leaks->heap);
	cli_line("%s blocks judged, %s searched for what refers to them", cli_count(leaks->blocks),
		 cli_size(output, leaks->root_bytes));
	cli_line("leaked: %s blocks, %s; held only by these: %s more, %s",
		 cli_count(leaks->direct_count), cli_size(output, leaks->direct_bytes),
		 cli_count(leaks->indirect_count), cli_size(output, leaks->indirect_bytes));
	if (leaks->interior_count)
		cli_line("not counted: %s blocks, %s, reached only by addresses into them",
			 cli_count(leaks->interior_count), cli_size(output, leaks->interior_bytes));
	cli_line("%s", "");
}

/* Do the options speak of single leaks? Else groups of them are shown. */
static bool wants_single(const struct cli_output *output)
{
	const struct cli_args *args = output->args;

	return args->all || args->columns || args->all_columns || args->sort ||
	       !cli_output_has_heads(output);
}

static int write_tables(const struct cli_subject *subject, const struct cli_output *output,
			const struct vmat_leaks *leaks)
{
	struct vmat_rows rows = { .list = &vmat_list_leaks, .model = leaks, .count = leaks->count };
	struct vmat_rows groups = { .list = &vmat_list_leak_groups,
				    .model = leaks,
				    .count = leaks->groups_count };
	int r = 0;

	if (cli_output_has_heads(output)) {
		write_head(subject, output, leaks);
		if (!output->args->all && groups.count > SHOWN)
			groups.count = SHOWN;
		if (groups.count && !output->args->columns && !output->args->all_columns)
			r = cli_output_further(output, &groups, 0);
		if (r == 0 && groups.count < leaks->groups_count)
			cli_line("... and %zu more groups: --all shows them",
				 leaks->groups_count - groups.count);
		if (r == 0 && leaks->count && !wants_single(output))
			cli_line("\n--all shows each of the blocks; vmatlas explain, what one is");
		else if (r == 0 && leaks->count)
			cli_line("%s", "");
	}
	if (r < 0 || !wants_single(output))
		return r;
	return rows.count || !cli_output_has_heads(output) ? cli_output_rows(output, &rows) : 0;
}

static int write_json(const struct cli_subject *subject, const struct cli_output *output,
		      const struct vmat_leaks *leaks)
{
	struct vmat_rows rows = { .list = &vmat_list_leaks, .model = leaks, .count = leaks->count };
	struct vmat_rows totals = { .list = &vmat_list_leak_totals, .model = leaks, .count = 1 };
	struct vmat_rows groups = { .list = &vmat_list_leak_groups,
				    .model = leaks,
				    .count = leaks->groups_count };
	struct vmat_json *json = cli_document_begin(subject, SCHEMA);
	int r, finished;

	if (!json)
		return -ENOMEM;
	cli_json_stop(json, leaks->heap);
	vmat_json_number(json, "stopped_ms",
			 vmat_is_known(leaks->heap->stopped_ns) ? leaks->heap->stopped_ns / 1000000
								: leaks->heap->stopped_ns);
	cli_json_single(json, &totals);
	cli_json_further(json, &groups, 0);
	r = cli_output_json(output, json, &rows);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

static int read_and_write(struct cli_subject *subject, const struct cli_output *output,
			  const struct leaks_run *run)
{
	struct vmat_error *err = &subject->error;
	struct vmat_leaks *leaks;
	bool is_bad;
	int r;

	cli_subject_restart(subject);
	r = vmat_leaks_read(&leaks, subject->target, subject->atlas->map, &run->options, err);

	if (r < 0) {
		err->code = r;
		return cli_subject_refused(subject, output, SCHEMA);
	}
	if (leaks->is_partial)
		cli_subject_note(subject, leaks->partial_why);
	cli_subject_check(subject);
	is_bad = leaks->direct_bytes + leaks->indirect_bytes > run->fail_over;
	r = output->format == CLI_JSON ? write_json(subject, output, leaks)
				       : write_tables(subject, output, leaks);
	cli_subject_warn(subject);
	vmat_leaks_free(leaks);
	return cli_written(r, is_bad ? CLI_JUDGED_BAD : CLI_OK);
}

/* Reads the map, and finds in it what is to be left out. */
static int prepare_and_read(struct cli_subject *subject, const struct cli_output *output,
			    struct leaks_run *run)
{
	const struct cli_values *values = &output->args->exclude_roots;
	int code;

	if (cli_subject_read(subject, VMAT_NEED_PAGES | (values->count ? VMAT_NEED_OWNERS : 0)))
		return cli_subject_refused(subject, output, SCHEMA);
	code = values->count ? cli_excluded_read(&run->excluded, values, subject->atlas) : CLI_OK;
	run->options.excluded = run->excluded.ranges;
	run->options.excluded_count = run->excluded.count;
	if (!code)
		code = read_and_write(subject, output, run);
	cli_excluded_free(&run->excluded);
	return code;
}

static int leaks_run(const struct cli_args *args)
{
	struct leaks_run run = { .options = { .size = sizeof(run.options),
					      .heap = { .size = sizeof(run.options.heap),
							.allocator = args->allocator,
							.is_snapshot_wanted = args->snapshot,
							.expect = cli_expect_stop } } };
	struct cli_output output;
	struct cli_subject subject;
	int code = cli_output_init(&output, args, &vmat_list_leaks);

	if (!code && args->fail_over && !cli_parse_size(args->fail_over, &run.fail_over))
		return cli_usage_error("--fail-over '%.64s' is no size", args->fail_over);
	if (!code)
		code = cli_parse_max_stop(args->max_stop, &run.options.heap.max_stop_ns);
	if (!code)
		code = cli_subject_open(&subject, args);
	if (code)
		return code;
	code = prepare_and_read(&subject, &output, &run);
	cli_subject_close(&subject);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 'a', "all", NULL, CLI_NO_VALUE, AT(all),
	  "all groups, not only the 20 largest, and each leaked block below them" },
	{ 0, "allocator", "NAME", CLI_ALLOCATOR, AT(allocator),
	  "the blocks of this one (glibc, musl, mimalloc), whichever owns malloc" },
	{ 0, "exclude-root", "WHAT", CLI_TEXTS, AT(exclude_roots),
	  "what is referred to from there only has leaked: a mapped file by its path or name (with its "
	  "bss), a range START-END, or the region that holds an address; can be given several times" },
	{ 0, "fail-over", "SIZE", CLI_SIZE, AT(fail_over),
	  "exit with 1 only when more than this has leaked (0)" },
	{ 0, "max-stop", "MS", CLI_NUMBER, AT(max_stop),
	  "do not stop the process for more milliseconds than this (2000)" },
	{ 0, "snapshot", NULL, CLI_NO_VALUE, AT(snapshot),
	  "fork the process and read the copy, also when its heap is small" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "1234", "the leaks of process 1234, by size and type" },
	{ "--all 1234", "each of them" },
	{ "--exclude-root libc.so.6 1234", "what libc keeps for itself has leaked, too" },
	{ "--fail-over 1M 1234", "for a script: exit status 1 when more than 1 MiB has leaked" },
	{ "-J 1234", "all of them, for a program" },
	{ 0 },
};

static const char *const text[] = {
	"Finds the blocks of glibc's, musl's or mimalloc's malloc that no register, no stack, no writable memory and no "
	"block in use refers to. Nothing is needed in the program: no restart, no preload.",
	"All threads of the process stand still while its memory is read. Where that would take longer than 0.1 s, "
	"the process is forked and runs on while the copy is read. How long it stood is printed, and "
	"before, how long that is expected to be. Blocks that only leaked ones refer to are counted with the one that leads "
	"to them; of a ring of blocks, one is shown.",
	"A number that looks like an address keeps a block alive, so some leaks stay unseen; a program "
	"that keeps its addresses encoded shows leaks that are none.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_leaks, &vmat_list_leak_groups,
						 &vmat_list_leak_totals, NULL };

const struct cli_command cli_leaks_command = {
	.name = "leaks",
	.operands = "TARGET",
	.operands_min = 1,
	.operands_max = 1,
	.summary = "blocks that nothing refers to any more, by size and type",
	.text = text,
	.options = options,
	.has_target = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = leaks_run,
};
