/* SPDX-License-Identifier: MIT */
/*
 * The lists leaks.groups, leaks.leaks and leaks.totals.
 */
#include <vmatlas/reach.h>

#include "export/list_field.h"

#define EVERYWHERE (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

#define TYPE_MEANING                                                                         \
	"what it holds: the name of its C++ class (`[]`: an array of them), text, pointers " \
	"into the heap, zeroes, other data, or which object of a file it points to first"
#define TYPE_ORIGIN "the first 64 bytes; type_info in memory; symbols"

enum leak_column { ADDR, SIZE, INDIRECT_COUNT, INDIRECT_BYTES, TYPE, PREVIEW, SITE };

static const struct vmat_column leak_columns[] = {
	[ADDR] = { "BLOCK", "addr", VMAT_TYPE_ADDR, EVERYWHERE, 0, "what malloc returned",
		   "the walk of the heap" },
	[SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, EVERYWHERE, 0, "bytes that can be used",
		   "the walk of the heap" },
	[INDIRECT_COUNT] = { "HELD", "indirect_count", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			     "further leaked blocks that only this one leads to",
			     "references between blocks" },
	[INDIRECT_BYTES] = { "HELD_BYTES", "indirect_bytes", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			     "their bytes", "references between blocks" },
	[TYPE] = { "TYPE", "type", VMAT_TYPE_STRING, EVERYWHERE, 0, TYPE_MEANING, TYPE_ORIGIN,
		   .ample = 2 },
	[PREVIEW] = { "PREVIEW", "preview", VMAT_TYPE_STRING, EVERYWHERE, 0,
		      "of a text its beginning, of others the first words in hexadecimal",
		      "the first bytes", .ample = 3 },
	[SITE] = { "SITE", "site", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		   "where it was allocated: unknown without a tracer", "vmatlas" },
};

static void leak_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_leak *leak = &((const struct vmat_leaks *)model)->leaks[row];

	switch ((enum leak_column)column) {
	case ADDR:
		ret->number = leak->addr;
		break;
	case SIZE:
		ret->number = leak->size;
		break;
	case INDIRECT_COUNT:
		ret->number = leak->indirect_count;
		break;
	case INDIRECT_BYTES:
		ret->number = leak->indirect_bytes;
		break;
	case TYPE:
	case PREVIEW: /* its page may be absent */
		if (!leak->type[0])
			ret->number = VMAT_UNKNOWN(VMAT_NOT_FOUND);
		ret->text = column == TYPE ? leak->type : leak->preview;
		break;
	case SITE:
		ret->number = VMAT_UNKNOWN(VMAT_NOT_RECORDED);
		break;
	}
}

const struct vmat_list vmat_list_leaks = {
	.name = "leaks.leaks",
	.key = "leaks",
	.columns = leak_columns,
	.columns_count = VMAT_COLUMNS_COUNT(leak_columns),
	.cell = leak_cell,
	.meaning = "a leaked block that nothing refers to; of a ring of blocks, one",
};

enum group_column { COUNT, EACH, BYTES, GROUP_HELD, GROUP_HELD_BYTES, GROUP_TYPE, EXAMPLE };

static const struct vmat_column group_columns[] = {
	[COUNT] = { "COUNT", "count", VMAT_TYPE_COUNT, EVERYWHERE, 0,
		    "leaked blocks of this size and type that nothing refers to", "leaks.leaks" },
	[EACH] = { "SIZE", "size", VMAT_TYPE_BYTES, EVERYWHERE, 0, "bytes of each", "leaks.leaks" },
	[BYTES] = { "BYTES", "bytes", VMAT_TYPE_BYTES, EVERYWHERE, 0, "bytes of all",
		    "leaks.leaks" },
	[GROUP_HELD] = { "HELD", "indirect_count", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			 "further leaked blocks that only these lead to", "leaks.leaks" },
	[GROUP_HELD_BYTES] = { "HELD_BYTES", "indirect_bytes", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			       "their bytes", "leaks.leaks" },
	[GROUP_TYPE] = { "TYPE", "type", VMAT_TYPE_STRING, EVERYWHERE, 0, TYPE_MEANING, TYPE_ORIGIN,
			 .ample = 2 },
	[EXAMPLE] = { "EXAMPLE", "addr", VMAT_TYPE_ADDR, EVERYWHERE, 0,
		      "the one with the lowest address", "leaks.leaks" },
};

static void group_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_leak_group *group = &((const struct vmat_leaks *)model)->groups[row];

	switch ((enum group_column)column) {
	case COUNT:
		ret->number = group->count;
		break;
	case EACH:
		ret->number = group->size;
		break;
	case BYTES:
		ret->number = group->bytes;
		break;
	case GROUP_HELD:
		ret->number = group->indirect_count;
		break;
	case GROUP_HELD_BYTES:
		ret->number = group->indirect_bytes;
		break;
	case GROUP_TYPE:
		if (!group->type[0])
			ret->number = VMAT_UNKNOWN(VMAT_NOT_FOUND);
		ret->text = group->type;
		break;
	case EXAMPLE:
		ret->number = group->addr;
		break;
	}
}

const struct vmat_list vmat_list_leak_groups = {
	.name = "leaks.groups",
	.key = "groups",
	.columns = group_columns,
	.columns_count = VMAT_COLUMNS_COUNT(group_columns),
	.cell = group_cell,
	.meaning = "leaks of one size and type",
};

static const struct vmat_column total_columns[] = {
	{ "DIRECT", "direct_count", VMAT_TYPE_COUNT, EVERYWHERE, 0, "blocks that nothing refers to",
	  "leaks.leaks" },
	{ "DIRECT_BYTES", "direct_bytes", VMAT_TYPE_BYTES, EVERYWHERE, 0, "their bytes",
	  "leaks.leaks" },
	{ "INDIRECT", "indirect_count", VMAT_TYPE_COUNT, EVERYWHERE, 0,
	  "blocks that only leaked blocks refer to", "leaks.leaks" },
	{ "INDIRECT_BYTES", "indirect_bytes", VMAT_TYPE_BYTES, EVERYWHERE, 0, "their bytes",
	  "leaks.leaks" },
	{ "INTERIOR", "interior_count", VMAT_TYPE_COUNT, EVERYWHERE, 0,
	  "blocks reached only by addresses into them, perhaps stale: not counted as leaked",
	  "references between blocks" },
	{ "INTERIOR_BYTES", "interior_bytes", VMAT_TYPE_BYTES, EVERYWHERE, 0, "their bytes",
	  "references between blocks" },
	{ "BLOCKS", "blocks", VMAT_TYPE_COUNT, EVERYWHERE, 0, "all blocks in use",
	  "the walk of the heap" },
};

static void total_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	static const uint16_t fields[] = {
		offsetof(struct vmat_leaks, direct_count),
		offsetof(struct vmat_leaks, direct_bytes),
		offsetof(struct vmat_leaks, indirect_count),
		offsetof(struct vmat_leaks, indirect_bytes),
		offsetof(struct vmat_leaks, interior_count),
		offsetof(struct vmat_leaks, interior_bytes),
		offsetof(struct vmat_leaks, blocks),
	};

	(void)row;
	ret->number = vmat_field(model, fields[column]);
}

const struct vmat_list vmat_list_leak_totals = {
	.name = "leaks.totals",
	.key = "totals",
	.columns = total_columns,
	.columns_count = VMAT_COLUMNS_COUNT(total_columns),
	.cell = total_cell,
	.meaning = "the sums over all leaks",
};
