/* SPDX-License-Identifier: MIT */
/*
 * vmatlas pages: runs of equal pages of a range.
 */
#include <errno.h>
#include <inttypes.h>

#include <vmatlas/feature.h>

#include "number.h"
#include "report.h"
#include "subject.h"

#define SCHEMA "vmatlas/pages/1"

struct pages_run {
	const struct cli_args *args;
	struct cli_output output;
	struct cli_subject subject;
	uint64_t start, end; /* end 0: the region that holds start */
};

static int choose_range(struct pages_run *run)
{
	const struct cli_args *args = run->args;
	const char *range = args->operands[1];

	if (args->all + (args->operands_count > 1) != 1)
		return cli_usage_error(
			"pages: give an address, a range (START-END or START+SIZE), or "
			"--all");
	if (args->all || cli_parse_range(range, &run->start, &run->end) ||
	    cli_parse_addr(range, &run->start))
		return CLI_OK;
	return cli_usage_error("pages: '%s' is neither an address nor a range: START-END or "
			       "START+SIZE, addresses in hexadecimal",
			       range);
}

/* Makes whole pages of the range, or finds the region. */
static int settle_range(struct pages_run *run)
{
	const struct vmat_map *map = run->subject.atlas->map;
	const struct vmat_region *region;
	uint64_t mask = map->base_page_size - 1;

	if (run->args->all) {
		size_t count = map->count;

		/* [vsyscall] lies in the kernel's half, where there are no pages of the target */
		while (count && map->regions[count - 1].start > INT64_MAX)
			count--;
		if (!count)
			return cli_usage_error("pages: the target has no memory");
		run->start = map->regions[0].start;
		run->end = map->regions[count - 1].end;
		return CLI_OK;
	}
	if (run->end) {
		run->start &= ~mask;
		run->end = (run->end + mask) & ~mask;
		return CLI_OK;
	}
	region = vmat_map_at(map, run->start);
	if (!region)
		return cli_usage_error("pages: 0x%" PRIx64 " is not mapped", run->start);
	run->start = region->start;
	run->end = region->end;
	return CLI_OK;
}

static uint32_t pages_options(uint32_t needs)
{
	uint32_t options = 0;

	if (needs & VMAT_NEED_EXCLUSIVE)
		options |= VMAT_PAGES_EXCLUSIVE;
	if (needs & VMAT_NEED_FRAMES)
		options |= VMAT_PAGES_FRAMES;
	if (needs & VMAT_NEED_KPAGEFLAGS)
		options |= VMAT_PAGES_KPAGEFLAGS;
	return options;
}

static int write_pages(const struct pages_run *run, const struct vmat_pages *pages)
{
	struct vmat_runs_view view = { .pages = pages, .atlas = run->subject.atlas };
	struct vmat_rows rows = { .list = &vmat_list_runs, .model = &view, .count = pages->count };
	struct vmat_json *json;
	int r, finished;

	if (run->output.format != CLI_JSON) {
		if (cli_output_has_heads(&run->output))
			cli_line("%zu run%s of equal pages in 0x%" PRIx64 "-0x%" PRIx64 "\n",
				 pages->count, pages->count == 1 ? "" : "s", run->start, run->end);
		return cli_output_rows(&run->output, &rows);
	}
	json = cli_document_begin(&run->subject, SCHEMA);
	if (!json)
		return -ENOMEM;
	r = cli_output_json(&run->output, json, &rows);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

static int read_and_write(struct pages_run *run)
{
	struct vmat_error *err = &run->subject.error;
	uint32_t needs = cli_output_needs(&run->output);
	struct vmat_pages *pages;
	int r = vmat_pages_read(&pages, run->subject.target, run->subject.atlas->map, run->start,
				run->end, pages_options(needs | VMAT_NEED_EXCLUSIVE), err);

	if (r < 0) {
		err->code = r;
		return cli_subject_refused(&run->subject, &run->output, SCHEMA);
	}
	if (pages->is_partial)
		cli_subject_note(&run->subject, pages->partial_why);
	cli_subject_check(&run->subject);
	r = write_pages(run, pages);
	cli_subject_warn(&run->subject);
	vmat_pages_free(pages);
	return cli_written(r, CLI_OK);
}

/* --flags: the kernel's own flags. Without the right to see them there is nothing to show. */
static int check_flags(void)
{
	switch (vmat_feature_state(VMAT_FEATURE_KPAGEFLAGS)) {
	case VMAT_FEATURE_YES:
		return CLI_OK;
	case VMAT_FEATURE_NOT_PERMITTED:
		cli_usage_error("pages --flags: cannot read /proc/kpageflags: %s",
				vmat_feature_evidence(VMAT_FEATURE_KPAGEFLAGS));
		return CLI_NOT_PERMITTED;
	default:
		cli_usage_error("pages --flags: no /proc/kpageflags: %s",
				vmat_feature_evidence(VMAT_FEATURE_KPAGEFLAGS));
		return CLI_KERNEL_LACKS;
	}
}

static int choose_flags(struct pages_run *run)
{
	struct vmat_error err = { 0 };
	int code;

	if (!run->args->flags)
		return CLI_OK;
	code = check_flags();
	if (code || run->args->columns || run->args->all_columns)
		return code;
	if (vmat_selection_parse(&run->output.selection, run->output.list,
				 "START,END,SIZE,PAGE,PFN,PFN_RUNS,MAPCOUNT,FLAGS", &err) < 0)
		return cli_fail(&err);
	return CLI_OK;
}

static int pages_run(const struct cli_args *args)
{
	struct pages_run run = { .args = args };
	int code = choose_range(&run);

	if (!code)
		code = cli_output_init(&run.output, args, &vmat_list_runs);
	if (!code)
		code = choose_flags(&run);
	if (!code)
		code = cli_subject_open(&run.subject, args);
	if (code)
		return code;
	if (cli_subject_read(&run.subject, cli_output_needs(&run.output) & VMAT_NEED_OWNERS)) {
		code = cli_subject_refused(&run.subject, &run.output, SCHEMA);
	} else {
		code = settle_range(&run);
		if (!code)
			code = read_and_write(&run);
	}
	cli_subject_close(&run.subject);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 'a', "all", NULL, CLI_NO_VALUE, AT(all), "all memory of the target" },
	{ 'f', "flags", NULL, CLI_NO_VALUE, AT(flags),
	  "the kernel's flags of each page, compound heads and tails, map counts; needs "
	  "CAP_SYS_ADMIN" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "1234 7f2a4c000000", "the region that holds this address" },
	{ "1234 7f2a4c000000+16M", "16 MiB from there" },
	{ "--all -o START,END,STATE,OWNER 1234", "everything, with owners" },
	{ "--flags 1234 7f2a4c000000", "as the kernel sees the pages" },
	{ 0 },
};

static const char *const text[] = {
	"Shows runs of neighbouring pages that are equal: present, swapped, of a file, copied on "
	"write, "
	"shared, huge, zero, guard, the size really in use, and frame numbers where they may be "
	"seen.",
	"RANGE is an address (then its region is shown), START-END or START+SIZE; addresses are "
	"hexadecimal, sizes as in 4096, 64K, 8M, 1G.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_runs, NULL };

const struct cli_command cli_pages_command = {
	.name = "pages",
	.operands = "TARGET [RANGE]",
	.operands_min = 1,
	.operands_max = 2,
	.summary = "runs of pages of a range: present, swapped, shared, huge, frames",
	.text = text,
	.options = options,
	.has_target = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = pages_run,
};
