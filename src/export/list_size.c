/* SPDX-License-Identifier: MIT */
/*
 * The list sizes: the size grid of an allocator.
 */
#include <vmatlas/sizes.h>

#include "export/list_field.h"

#define EVERYWHERE    (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)
#define FIELD(member) offsetof(struct vmat_size_row, member)

static const struct vmat_column columns[] = {
	{ "ASKED_FROM", "asked_from", VMAT_TYPE_COUNT, EVERYWHERE, 0,
	  "bytes of the smallest request of the row", "the allocator's rule" },
	{ "ASKED_TO", "asked_to", VMAT_TYPE_COUNT, EVERYWHERE, 0,
	  "bytes of the largest request of the row", "the allocator's rule" },
	{ "USABLE_FROM", "usable_from", VMAT_TYPE_COUNT, EVERYWHERE, 0,
	  "bytes that the smallest request can use, as malloc_usable_size tells",
	  "the allocator's rule" },
	{ "USABLE_TO", "usable_to", VMAT_TYPE_COUNT, EVERYWHERE, 0,
	  "bytes that the largest request can use", "the allocator's rule" },
	{ "STEP", "step", VMAT_TYPE_COUNT, EVERYWHERE, 0,
	  "bytes from one usable size of the row to the next; 0 when there is one",
	  "USABLE_TO minus USABLE_FROM" },
	{ "SPARE", "spare", VMAT_TYPE_COUNT, EVERYWHERE, 0,
	  "the last bytes of a block, which may be used, but whoever asks for them gets the next size",
	  "usable minus the largest request that gets it" },
	{ "WASTE", "waste", VMAT_TYPE_COUNT, EVERYWHERE, 0,
	  "the most bytes that a request of the row gets without having asked",
	  "usable minus asked" },
	{ "WASTE_PERCENT", "waste_percent", VMAT_TYPE_COUNT, EVERYWHERE, 0,
	  "the largest share of a block that is such bytes, in percent, rounded up",
	  "usable minus asked" },
};

static const size_t offsets[VMAT_COLUMNS_COUNT(columns)] = {
	FIELD(asked_from), FIELD(asked_to), FIELD(usable_from), FIELD(usable_to),
	FIELD(step),       FIELD(spare),    FIELD(waste),       FIELD(waste_percent),
};

static void cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_sizes *sizes = model;

	ret->number = vmat_field(&sizes->rows[row], offsets[column]);
}

const struct vmat_list vmat_list_sizes = {
	.name = "sizes",
	.key = "sizes",
	.columns = columns,
	.columns_count = VMAT_COLUMNS_COUNT(columns),
	.cell = cell,
	.meaning = "requests that are rounded up in equal steps",
};
