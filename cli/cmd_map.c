/* SPDX-License-Identifier: MIT */
/*
 * vmatlas map: every region, what it is, whose, and how much of it is really there.
 *
 * Only what the chosen columns and totals need is read: see struct vmat_column, `need`.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "number.h"
#include "report.h"
#include "subject.h"

#define SCHEMA "vmatlas/map/1"

/* Regions shown below and above the one that holds the address asked for. */
#define NEIGHBOURS 3

/* What is shown of the map. */
enum part {
	SHOW_REGIONS,
	SHOW_ADDR,
	SHOW_SUMMARY,
	SHOW_TREE,
	SHOW_GAPS,
	SHOW_WHERE,
};

struct map_run {
	const struct cli_args *args;
	enum part part;
	uint64_t number; /* the address, or the size for --where */
	struct cli_output output;
	struct cli_subject subject;
	int code; /* what the command ends with when the answer could be written */
};

static const struct vmat_list *const part_lists[] = {
	[SHOW_REGIONS] = &vmat_list_regions, [SHOW_ADDR] = &vmat_list_regions,
	[SHOW_SUMMARY] = &vmat_list_totals,  [SHOW_TREE] = &vmat_list_owners,
	[SHOW_GAPS] = &vmat_list_gaps,       [SHOW_WHERE] = &vmat_list_where,
};

static int choose_part(struct map_run *run)
{
	const struct cli_args *args = run->args;

	if (args->summary + args->tree + args->gaps + (args->where != NULL) +
		    (args->operands_count > 1) >
	    1)
		return cli_usage_error(
			"map: choose one of --summary, --tree, --gaps, --where and ADDR");
	if (args->operands_count > 1) {
		run->part = SHOW_ADDR;
		if (!cli_parse_addr(args->operands[1], &run->number))
			return cli_usage_error("map: '%s' is no address: give it in hexadecimal",
					       args->operands[1]);
	} else if (args->where) {
		run->part = SHOW_WHERE;
		if (!cli_parse_size(args->where, &run->number) || !run->number)
			return cli_usage_error("map: --where: '%s' is no size: 4096, 64K, 8M, 1G",
					       args->where);
	} else {
		run->part = args->summary ? SHOW_SUMMARY
			    : args->tree  ? SHOW_TREE
			    : args->gaps  ? SHOW_GAPS
					  : SHOW_REGIONS;
	}
	return CLI_OK;
}

/* Are totals shown below the regions or before them? Those that cost nothing more always are. */
static bool shows_totals(const struct map_run *run)
{
	return run->part == SHOW_REGIONS && (run->subject.read & VMAT_NEED_OWNERS) &&
	       (run->output.format == CLI_JSON || cli_output_has_heads(&run->output));
}

static int write_totals(struct map_run *run, struct vmat_json *json)
{
	struct vmat_totals_view view;
	struct vmat_rows rows = { .list = &vmat_list_totals, .model = &view };

	vmat_totals_view_init(&view, run->subject.atlas, !json);
	rows.count = view.count;
	if (json) {
		cli_json_further(json, &rows, run->subject.read);
		return 0;
	}
	putchar('\n');
	return cli_output_further(&run->output, &rows, run->subject.read);
}

static int write_rows(struct map_run *run, struct vmat_json *json, const struct vmat_rows *rows)
{
	if (json)
		return cli_output_json(&run->output, json, rows);
	return cli_output_rows(&run->output, rows);
}

static int write_regions(struct map_run *run, struct vmat_json *json)
{
	struct vmat_regions_view view = { .atlas = run->subject.atlas };
	struct vmat_rows rows = { .list = &vmat_list_regions,
				  .model = &view,
				  .count = view.atlas->map->count };
	int r = write_rows(run, json, &rows);

	return r >= 0 && shows_totals(run) ? write_totals(run, json) : r;
}

/* Says where the address lies, in words. */
static void say_where(const struct map_run *run, size_t found)
{
	const struct vmat_map *map = run->subject.atlas->map;
	const struct vmat_region *region = found < map->count ? &map->regions[found] : NULL;
	uint64_t addr = run->number;

	if (!region) {
		cli_line("0x%" PRIx64 " is not mapped: it lies above the last region", addr);
	} else if (addr < region->start) {
		cli_line("0x%" PRIx64 " is not mapped: the next region begins 0x%" PRIx64 " above",
			 addr, region->start - addr);
	} else {
		cli_line("0x%" PRIx64 " lies 0x%" PRIx64
			 " behind the start of its region, 0x%" PRIx64 " before its end",
			 addr, addr - region->start, region->end - addr);
		if (region->backing == VMAT_BACKING_FILE)
			cli_line("at 0x%" PRIx64 " of the file %s",
				 region->offset + (addr - region->start),
				 cli_escape(&run->output, region->name));
	}
}

static int write_addr(struct map_run *run, struct vmat_json *json)
{
	const struct vmat_map *map = run->subject.atlas->map;
	size_t found = vmat_map_find(map, run->number);
	size_t first = found > NEIGHBOURS ? found - NEIGHBOURS : 0;
	size_t order[2 * NEIGHBOURS + 1], count = 0;
	struct vmat_regions_view view = { .atlas = run->subject.atlas,
					  .has_mark = true,
					  .mark_addr = run->number };
	struct vmat_rows rows = { .list = &vmat_list_regions, .model = &view, .order = order };

	for (size_t i = first; i < map->count && i <= found + NEIGHBOURS; i++)
		order[count++] = i;
	rows.count = count;
	if (cli_output_has_heads(&run->output))
		say_where(run, found);
	return write_rows(run, json, &rows);
}

static int write_summary(struct map_run *run, struct vmat_json *json)
{
	struct vmat_totals_view view;
	struct vmat_rows rows = { .list = &vmat_list_totals, .model = &view };

	vmat_totals_view_init(&view, run->subject.atlas, cli_output_has_heads(&run->output));
	rows.count = view.count;
	return write_rows(run, json, &rows);
}

static int write_tree(struct map_run *run, struct vmat_json *json)
{
	struct vmat_regions_view view = { .atlas = run->subject.atlas };
	struct vmat_owner_groups *groups;
	struct vmat_rows rows = { .list = &vmat_list_owners };
	int r = vmat_owner_groups_new(&groups, &view);

	if (r < 0)
		return r;
	rows.model = groups;
	rows.count = groups->count;
	r = write_rows(run, json, &rows);
	vmat_owner_groups_free(groups);
	return r;
}

static int write_gaps(struct map_run *run, struct vmat_json *json)
{
	struct vmat_gaps_view view;
	struct vmat_rows rows = { .list = &vmat_list_gaps, .model = &view };
	struct vmat_gap *gaps;
	size_t count;
	int r = vmat_map_gaps(run->subject.atlas->map, &gaps, &count);

	if (r < 0)
		return r;
	vmat_gaps_view_init(&view, run->subject.atlas, gaps, count);
	rows.count = count;
	if (cli_output_has_heads(&run->output) && count)
		cli_line("%zu free ranges, %s in all; the largest: %s from 0x%" PRIx64, count,
			 cli_size(&run->output, view.free),
			 cli_size(&run->output, gaps[view.largest].end - gaps[view.largest].start),
			 gaps[view.largest].start);
	r = write_rows(run, json, &rows);
	free(gaps);
	return r;
}

static int write_where(struct map_run *run, struct vmat_json *json)
{
	struct vmat_where where;
	struct vmat_rows rows = { .list = &vmat_list_where, .model = &where, .count = 1 };
	struct vmat_error err = { 0 };
	int r = vmat_map_where(run->subject.atlas->map, run->subject.target, run->number, &where,
			       &err);

	if (r < 0) {
		err.code = r;
		run->code = cli_fail(&err);
		rows.count = 0;
		return json ? write_rows(run, json, &rows) : 0;
	}
	return write_rows(run, json, &rows);
}

static int write_part(struct map_run *run, struct vmat_json *json)
{
	switch (run->part) {
	case SHOW_ADDR:
		return write_addr(run, json);
	case SHOW_SUMMARY:
		return write_summary(run, json);
	case SHOW_TREE:
		return write_tree(run, json);
	case SHOW_GAPS:
		return write_gaps(run, json);
	case SHOW_WHERE:
		return write_where(run, json);
	default:
		return write_regions(run, json);
	}
}

static int write_map(struct map_run *run)
{
	struct vmat_json *json;
	int r, finished;

	if (run->output.format != CLI_JSON) {
		if (cli_output_has_heads(&run->output)) {
			cli_head_target(&run->subject, &run->output);
			cli_head_counters(&run->subject, &run->output);
			putchar('\n');
		}
		return write_part(run, NULL);
	}
	json = cli_document_begin(&run->subject, SCHEMA);
	if (!json)
		return -ENOMEM;
	cli_json_counters(json, &run->subject);
	r = write_part(run, json);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

/* What must be read for what is shown. */
static uint32_t needs_of(const struct map_run *run)
{
	uint32_t needs = cli_output_needs(&run->output);

	/* the tree is in the order of what is resident */
	if (run->part == SHOW_TREE)
		needs |= VMAT_NEED_OWNERS | VMAT_NEED_PAGES;
	if (run->part == SHOW_SUMMARY)
		needs |= VMAT_NEED_OWNERS;
	return needs;
}

/* A summary shows proportional sizes only when they are asked for: they need smaps. */
static void drop_dear_defaults(struct map_run *run)
{
	if (run->part == SHOW_SUMMARY && !run->args->columns && !run->args->all_columns)
		vmat_selection_limit(&run->output.selection, run->output.list,
				     VMAT_NEED_OWNERS | VMAT_NEED_PAGES | VMAT_NEED_COPIED);
	/* the mark has a column of its own where an address is asked for */
	if (run->part == SHOW_ADDR && !run->args->columns && !run->args->all_columns) {
		struct vmat_selection *s = &run->output.selection;

		for (size_t i = s->count++; i > 0; i--)
			s->columns[i] = s->columns[i - 1];
		s->columns[0] = 0;
	}
}

static int map_run(const struct cli_args *args)
{
	struct map_run run = { .args = args };
	int code = choose_part(&run), r;

	if (!code)
		code = cli_output_init(&run.output, args, part_lists[run.part]);
	if (code)
		return code;
	drop_dear_defaults(&run);
	code = cli_subject_open(&run.subject, args);
	if (code)
		return code;
	if (cli_subject_read(&run.subject, needs_of(&run))) {
		code = cli_subject_refused(&run.subject, &run.output, SCHEMA);
	} else {
		cli_subject_check(&run.subject);
		r = write_map(&run);
		code = cli_written(r, run.code);
		cli_subject_warn(&run.subject);
	}
	cli_subject_close(&run.subject);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 's', "summary", NULL, CLI_NO_VALUE, AT(summary),
	  "only the counters and the totals per kind" },
	{ 't', "tree", NULL, CLI_NO_VALUE, AT(tree),
	  "the regions by owner, the one with most resident memory first" },
	{ 'g', "gaps", NULL, CLI_NO_VALUE, AT(gaps), "the free ranges between the regions" },
	{ 0, "where", "SIZE", CLI_SIZE, AT(where),
	  "where the kernel will put the next mapping of SIZE bytes (4096, 64K, 8M, 1G)" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "1234", "every region of process 1234" },
	{ "-o +PSS,USS -x PSS @redis-server", "with proportional and private size, sorted" },
	{ "--summary 1234", "how much of what there is" },
	{ "1234 7f2a4c021a10", "what lies at an address" },
	{ "-J -o start,end,kind,rss 1234", "for a program" },
	{ 0 },
};

static const char *const text[] = {
	"Shows every region of the target's memory: what it is (KIND), whose (OWNER), how much of "
	"it is "
	"resident, copied on write or swapped, and the evidence (WHY).",
	"With ADDR: the region that holds it, and its neighbours.",
	"The usual columns need no smaps, so the target is never held up. PSS, USS, DIRTY and the "
	"other "
	"columns from smaps do, and are read only when they are asked for.",
	NULL,
};

static const struct vmat_list *const lists[] = {
	&vmat_list_regions, &vmat_list_totals, &vmat_list_owners,
	&vmat_list_gaps,    &vmat_list_where,  NULL,
};

const struct cli_command cli_map_command = {
	.name = "map",
	.operands = "TARGET [ADDR]",
	.operands_min = 1,
	.operands_max = 2,
	.summary = "every region: kind, owner, size, resident, copied, swapped",
	.text = text,
	.options = options,
	.has_target = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = map_run,
};
