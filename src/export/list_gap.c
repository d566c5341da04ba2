/* SPDX-License-Identifier: MIT */
/*
 * The lists map.gaps and map.where: what is not mapped.
 */
#include "export/list_field.h"
#include "export/list_region.h"

#define EVERYWHERE (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

enum gap_column {
	START,
	END,
	SIZE,
	LARGEST,
	BELOW,
	ABOVE,
};

static const struct vmat_column columns[] = {
	[START] = { "START", "start", VMAT_TYPE_ADDR, EVERYWHERE, 0, "first free address", "maps" },
	[END] = { "END", "end", VMAT_TYPE_ADDR, EVERYWHERE, 0, "first address behind it", "maps" },
	[SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, EVERYWHERE, 0, "END minus START", "maps" },
	[LARGEST] = { "LARGEST", "largest", VMAT_TYPE_BOOL, EVERYWHERE, 0,
		      "no other free range is larger", "maps" },
	[BELOW] = { "BELOW", "below", VMAT_TYPE_STRING, EVERYWHERE, VMAT_NEED_OWNERS,
		    "what lies below it", "map.regions: OWNER", .ample = 2 },
	[ABOVE] = { "ABOVE", "above", VMAT_TYPE_STRING, EVERYWHERE, VMAT_NEED_OWNERS,
		    "what lies above it", "map.regions: OWNER", .ample = 2 },
};

void vmat_gaps_view_init(struct vmat_gaps_view *ret, const struct vmat_atlas *atlas,
			 const struct vmat_gap *gaps, size_t count)
{
	*ret = (struct vmat_gaps_view){ .atlas = atlas, .gaps = gaps, .count = count };
	for (size_t i = 0; i < count; i++) {
		uint64_t size = gaps[i].end - gaps[i].start;

		ret->free += size;
		if (size > gaps[ret->largest].end - gaps[ret->largest].start)
			ret->largest = i;
	}
}

static void gap_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_gaps_view *view = model;
	const struct vmat_gap *gap = &view->gaps[row];

	switch ((enum gap_column)column) {
	case START:
		ret->number = gap->start;
		break;
	case END:
		ret->number = gap->end;
		break;
	case SIZE:
		ret->number = gap->end - gap->start;
		break;
	case LARGEST:
		ret->number = row == view->largest;
		break;
	case BELOW:
		ret->text = gap->above ? vmat_region_label(view->atlas, gap->above - 1) : "";
		break;
	case ABOVE:
		ret->text = vmat_region_label(view->atlas, gap->above);
		break;
	}
}

const struct vmat_list vmat_list_gaps = {
	.name = "map.gaps",
	.key = "gaps",
	.columns = columns,
	.columns_count = VMAT_COLUMNS_COUNT(columns),
	.cell = gap_cell,
	.meaning = "a free range of the address space",
};

enum where_column {
	WHERE_START,
	WHERE_END,
	WHERE_SIZE,
	WHERE_CHECKED,
	WHERE_WHY,
};

static const struct vmat_column where_columns[] = {
	[WHERE_START] = { "START", "start", VMAT_TYPE_ADDR, EVERYWHERE, 0,
			  "where the kernel will put the next mapping of that size",
			  "the kernel's rule over the free ranges" },
	[WHERE_END] = { "END", "end", VMAT_TYPE_ADDR, EVERYWHERE, 0, "first address behind it",
			"START plus SIZE" },
	[WHERE_SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			 "the size asked for, in whole pages", "vmatlas" },
	[WHERE_CHECKED] = { "CHECKED", "rule_checked", VMAT_TYPE_BOOL, EVERYWHERE, 0,
			    "this kernel follows the rule: tried with a mapping of our own",
			    "mmap" },
	[WHERE_WHY] = { "WHY", "why", VMAT_TYPE_STRING, EVERYWHERE, 0, "why there", "vmatlas",
			.ample = 3 },
};

static void where_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_where *where = (const struct vmat_where *)model + row;

	switch ((enum where_column)column) {
	case WHERE_START:
		ret->number = where->start;
		break;
	case WHERE_END:
		ret->number = where->end;
		break;
	case WHERE_SIZE:
		ret->number = where->end - where->start;
		break;
	case WHERE_CHECKED:
		ret->number = where->is_rule_checked;
		break;
	case WHERE_WHY:
		ret->text = where->why;
		break;
	}
}

const struct vmat_list vmat_list_where = {
	.name = "map.where",
	.key = "where",
	.columns = where_columns,
	.columns_count = VMAT_COLUMNS_COUNT(where_columns),
	.cell = where_cell,
	.meaning = "the place of a mapping that does not exist yet",
};
