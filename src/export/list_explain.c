/* SPDX-License-Identifier: MIT */
/*
 * The lists explain.places and explain.references: what is known of addresses.
 */
#include <vmatlas/explanation.h>

#include "export/list_field.h"
#include "export/list_region.h"

#define EVERYWHERE    (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)
#define WIDE_AND_JSON (VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

enum reference_column { AT, WHAT, BY, BY_SIZE, BY_OFFSET, BY_TYPE, TO, TO_SIZE, INTO };

static const struct vmat_column reference_columns[] = {
	[AT] = { "AT", "addr", VMAT_TYPE_ADDR, EVERYWHERE, 0,
		 "where the word lies that refers; unknown for a register", "the scan of memory" },
	[WHAT] = { "ROOT", "root", VMAT_TYPE_STRING, EVERYWHERE, 0,
		   "what a root is: a global, a thread's stack or storage, a register; empty for a block",
		   "symbols, DWARF, stacks", .ample = 2 },
	[BY] = { "BY", "block", VMAT_TYPE_ADDR, EVERYWHERE, 0,
		 "the block that holds the word; unknown for a root", "the walk of the heap" },
	[BY_SIZE] = { "BY_SIZE", "block_size", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
		      "bytes of that block that can be used", "the walk of the heap" },
	[BY_OFFSET] = { "OFFSET", "block_offset", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			"how many bytes into that block the word lies", "the walk of the heap" },
	[BY_TYPE] = { "TYPE", "block_type", VMAT_TYPE_STRING, EVERYWHERE, 0,
		      "what that block holds, as in leaks", "its first 64 bytes", .ample = 2 },
	[TO] = { "TO", "to", VMAT_TYPE_ADDR, EVERYWHERE, 0, "the block that it refers to",
		 "the walk of the heap" },
	[TO_SIZE] = { "TO_SIZE", "to_size", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
		      "bytes of that block that can be used", "the walk of the heap" },
	[INTO] = { "INTO", "into", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
		   "it holds an address into that block, not its beginning", "the scan of memory" },
};

static void reference_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_reference *reference = &((const struct vmat_reference *)model)[row];

	switch ((enum reference_column)column) {
	case AT:
		ret->number = reference->addr;
		break;
	case WHAT:
		ret->text = reference->what;
		break;
	case BY:
		ret->number = reference->block_addr;
		break;
	case BY_SIZE:
		ret->number = reference->block_size;
		break;
	case BY_OFFSET:
		ret->number = reference->block_offset;
		break;
	case BY_TYPE:
		ret->text = reference->type;
		break;
	case TO:
		ret->number = reference->to_addr;
		break;
	case TO_SIZE:
		ret->number = reference->to_size;
		break;
	case INTO:
		ret->number = reference->is_into;
		break;
	}
}

const struct vmat_list vmat_list_references = {
	.name = "explain.references",
	.key = "references",
	.columns = reference_columns,
	.columns_count = VMAT_COLUMNS_COUNT(reference_columns),
	.cell = reference_cell,
	.meaning = "a word that refers to a block",
};

enum place_column {
	ADDR,
	STATE,
	START,
	END,
	PROT,
	KIND,
	OWNER,
	WHY,
	PATH,
	NAME,
	PAGE,
	PAGE_SIZE,
	BLOCK,
	BLOCK_SIZE,
	OFFSET,
	BLOCK_STATE,
	NO_BLOCK,
	TYPE,
	PREVIEW,
	REACH,
	CHAIN_LENGTH,
	CHAIN,
	REFERRERS_COUNT,
	REFERRERS,
	SITE,
};

/* Bits of struct vmat_explanation: page_flags, and one more. */
#define COPIED_BIT 31

static const char *page_word(unsigned bit)
{
	static const char *const words[] = { "present", "swapped", "file",      "zero",
					     "huge",    "guard",   "exclusive", "soft_dirty" };

	if (bit == COPIED_BIT)
		return "copied";
	return bit < VMAT_COLUMNS_COUNT(words) ? words[bit] : NULL;
}

static const struct vmat_column place_columns[] = {
	[ADDR] = { "ADDR", "addr", VMAT_TYPE_ADDR, EVERYWHERE, 0, "the address asked for",
		   "the command line" },
	[STATE] = { "STATE", "state", VMAT_TYPE_STRING, EVERYWHERE, 0,
		    "mapped; free: in no region; not canonical: no address; kernel: in its half",
		    "maps" },
	[START] = { "START", "start", VMAT_TYPE_ADDR, WIDE_AND_JSON, 0,
		    "first address of its region, or of the free range", "maps" },
	[END] = { "END", "end", VMAT_TYPE_ADDR, WIDE_AND_JSON, 0, "first address behind it",
		  "maps" },
	[PROT] = { "PROT", "prot", VMAT_TYPE_STRING, WIDE_AND_JSON, 0, "rights of the region",
		   "maps" },
	[KIND] = { "KIND", "kind", VMAT_TYPE_STRING, EVERYWHERE, 0, "as in map", "see WHY" },
	[OWNER] = { "OWNER", "owner", VMAT_TYPE_STRING, EVERYWHERE, 0, "as in map", "see WHY",
		    .ample = 2 },
	[WHY] = { "WHY", "why", VMAT_TYPE_STRING, WIDE_AND_JSON, 0,
		  "evidence for the kind; of a free range what lies around it", "vmatlas",
		  .ample = 3 },
	[PATH] = { "PATH", "path", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0, "file of the region",
		   "maps" },
	[NAME] = { "NAME", "name", VMAT_TYPE_STRING, EVERYWHERE, 0,
		   "the symbol there, or the place in a thread's stack or storage",
		   "symbols, DWARF, stacks", .ample = 2 },
	[PAGE] = { "PAGE", "page", VMAT_TYPE_WORDS, WIDE_AND_JSON, 0, "what is known of its page",
		   "PAGEMAP_SCAN or pagemap", .word = page_word, .ample = 3 },
	[PAGE_SIZE] = { "PAGE_SIZE", "page_size", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
			"size of the page really in use", "PAGEMAP_SCAN or pagemap" },
	[BLOCK] = { "BLOCK", "block", VMAT_TYPE_ADDR, EVERYWHERE, 0,
		    "the block of malloc that holds it", "the walk of the heap" },
	[BLOCK_SIZE] = { "SIZE", "block_size", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			 "bytes of it that can be used; of a free one all",
			 "the walk of the heap" },
	[OFFSET] = { "OFFSET", "block_offset", VMAT_TYPE_COUNT, WIDE_AND_JSON, 0,
		     "how many bytes into the block; unknown in its header",
		     "the walk of the heap" },
	[BLOCK_STATE] = { "BLOCK_STATE", "block_state", VMAT_TYPE_STRING, WIDE_AND_JSON, 0,
			  "as in heap --chunks", "the walk of the heap" },
	[NO_BLOCK] = { "NO_BLOCK", "no_block", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		       "why no block is known; empty when one is", "vmatlas" },
	[TYPE] = { "TYPE", "type", VMAT_TYPE_STRING, EVERYWHERE, 0,
		   "what the block holds, as in leaks", "its first 64 bytes; type_info; symbols",
		   .ample = 2 },
	[PREVIEW] = { "PREVIEW", "preview", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		      "how the block begins, as in leaks", "its first bytes" },
	[REACH] = { "REACH", "reach", VMAT_TYPE_STRING, EVERYWHERE, 0,
		    "reached; interior only: by addresses into blocks; leaked; leaked, held by "
		    "leaked blocks",
		    "references between blocks" },
	[CHAIN_LENGTH] = { "DEPTH", "chain_length", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
			   "references from a root to the block", "references between blocks" },
	[CHAIN] = { "CHAIN", "chain", VMAT_TYPE_ROWS, VMAT_SHOW_JSON, 0,
		    "a way from a root to the block, at most 16 references: the first and the last",
		    "references between blocks" },
	[REFERRERS_COUNT] = { "REFERRERS", "referrers_count", VMAT_TYPE_COUNT, WIDE_AND_JSON, 0,
			      "words that refer to the block or into it, its own left out",
			      "references between blocks" },
	[REFERRERS] = { "REFERRED", "referrers", VMAT_TYPE_ROWS, VMAT_SHOW_JSON, 0,
			"the first 16 of these words, roots first", "references between blocks" },
	[SITE] = { "SITE", "site", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		   "where it was allocated: unknown without a tracer", "vmatlas" },
};

static void block_cell(const struct vmat_explanation *it, enum place_column column,
		       struct vmat_value *ret)
{
	const bool is_judged = it->reach != VMAT_REACH_UNKNOWN;

	ret->number = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	if (it->why_no_block[0])
		return;
	switch (column) {
	case BLOCK:
		ret->number = it->block.block_addr;
		break;
	case BLOCK_SIZE:
		ret->number = is_judged ? it->block.block_size : it->block.size;
		break;
	case OFFSET:
		ret->number = it->block_offset;
		break;
	case BLOCK_STATE:
		ret->number = 0;
		ret->text = vmat_chunk_state_name(it->block.state);
		break;
	case TYPE:
	case PREVIEW:
		if (is_judged && it->type[0]) {
			ret->number = 0;
			ret->text = column == TYPE ? it->type : it->preview;
		}
		break;
	case REACH:
		if (is_judged) {
			ret->number = 0;
			ret->text = vmat_reach_state_name(it->reach);
		}
		break;
	case CHAIN_LENGTH:
		if (is_judged)
			ret->number = it->chain_total;
		break;
	default:
		ret->number = it->referrers_total;
	}
}

static void region_cell(const struct vmat_explanation *it, const struct vmat_atlas *atlas,
			enum place_column column, struct vmat_value *ret)
{
	const struct vmat_region *region =
		it->region < atlas->map->count ? &atlas->map->regions[it->region] : NULL;

	if (!region) {
		ret->number = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		return;
	}
	switch (column) {
	case PROT:
		ret->text = vmat_prot_text(region->prot);
		break;
	case KIND:
		ret->text = it->kind;
		break;
	case OWNER:
		ret->text = it->owner;
		break;
	case PATH:
		ret->text = region->name;
		break;
	case PAGE:
		ret->number = it->is_page_known
				      ? it->page_flags | (uint64_t)it->is_page_copied << COPIED_BIT
				      : VMAT_UNKNOWN(VMAT_NOT_FOUND);
		break;
	default:
		ret->number = it->page_size;
	}
}

static void place_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_explanations_view *view = model;
	const struct vmat_explanation *it = &view->explanations->list[row];

	switch ((enum place_column)column) {
	case ADDR:
		ret->number = it->addr;
		break;
	case STATE:
		ret->text = vmat_place_state_name(it->state);
		break;
	case START:
		ret->number = it->start;
		break;
	case END:
		ret->number = it->end;
		break;
	case WHY:
		ret->text = it->why;
		break;
	case NAME:
		ret->text = it->name;
		break;
	case NO_BLOCK:
		ret->text = it->why_no_block;
		break;
	case CHAIN:
		ret->rows = (struct vmat_rows){ .list = &vmat_list_references,
						.model = it->chain,
						.count = it->chain_count };
		break;
	case REFERRERS:
		ret->rows = (struct vmat_rows){ .list = &vmat_list_references,
						.model = it->referrers,
						.count = it->referrers_count };
		break;
	case SITE:
		ret->number = VMAT_UNKNOWN(VMAT_NOT_RECORDED);
		break;
	case PROT:
	case KIND:
	case OWNER:
	case PATH:
	case PAGE:
	case PAGE_SIZE:
		region_cell(it, view->atlas, (enum place_column)column, ret);
		break;
	default:
		block_cell(it, (enum place_column)column, ret);
	}
}

const struct vmat_list vmat_list_places = {
	.name = "explain.places",
	.key = "places",
	.columns = place_columns,
	.columns_count = VMAT_COLUMNS_COUNT(place_columns),
	.cell = place_cell,
	.meaning = "an address, and what lies there",
};
