/* SPDX-License-Identifier: MIT */
/*
 * The lists pages.runs, cow.regions with its ranges, and pagesize.
 */
#include <string.h>

#include "export/list_field.h"
#include "export/list_region.h"

#define EVERYWHERE    (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)
#define WIDE_AND_JSON (VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

enum run_column {
	START,
	END,
	SIZE,
	PAGES,
	PAGE_SIZE,
	STATE,
	PRESENT,
	SWAPPED,
	FILE_PAGE,
	COPIED,
	EXCLUSIVE,
	HUGE,
	ZERO,
	GUARD,
	DUMPED,
	PFN,
	PFN_RUNS,
	MAPCOUNT,
	FLAGS,
	OWNER,
};

/* The bits of STATE; INVISIBLE stands for what has no bit of its own in the model. */
enum state_bit {
	STATE_PRESENT,
	STATE_SWAPPED,
	STATE_FILE,
	STATE_COPIED,
	STATE_EXCLUSIVE,
	STATE_SHARED,
	STATE_HUGE,
	STATE_ZERO,
	STATE_GUARD,
	STATE_ABSENT,
	STATE_INVISIBLE,
	STATE_DUMPED,
	STATE_LEFT_OUT,
	STATE_PINNED,
};

static const char *state_word(unsigned bit)
{
	static const char *const words[] = {
		[STATE_PRESENT] = "present",     [STATE_SWAPPED] = "swapped",
		[STATE_FILE] = "file",           [STATE_COPIED] = "copied",
		[STATE_EXCLUSIVE] = "exclusive", [STATE_SHARED] = "shared",
		[STATE_HUGE] = "huge",           [STATE_ZERO] = "zero",
		[STATE_GUARD] = "guard",         [STATE_ABSENT] = "absent",
		[STATE_INVISIBLE] = "invisible", [STATE_DUMPED] = "dumped",
		[STATE_LEFT_OUT] = "left_out",   [STATE_PINNED] = "pinned",
	};

	return bit < VMAT_COLUMNS_COUNT(words) ? words[bit] : NULL;
}

static const struct vmat_column columns[] = {
	[START] = { "START", "start", VMAT_TYPE_ADDR, EVERYWHERE, 0, "first address",
		    "PAGEMAP_SCAN" },
	[END] = { "END", "end", VMAT_TYPE_ADDR, EVERYWHERE, 0, "first address behind the run",
		  "PAGEMAP_SCAN" },
	[SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, EVERYWHERE, 0, "END minus START",
		   "PAGEMAP_SCAN" },
	[PAGES] = { "PAGES", "pages", VMAT_TYPE_COUNT, WIDE_AND_JSON, 0,
		    "how many pages of the base page size", "SIZE by the base page size" },
	[PAGE_SIZE] = { "PAGE", "page_size", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			"size of the pages really in use",
			"PAGEMAP_SCAN: HUGE; kpageflags: COMPOUND" },
	[STATE] = { "STATE", "state", VMAT_TYPE_WORDS, VMAT_SHOW_TABLE | VMAT_SHOW_WIDE, 0,
		    "what is known of the pages, in words", "the columns PRESENT to GUARD",
		    .word = state_word, .ample = 2 },
	[PRESENT] = { "PRESENT", "present", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
		      "in memory and mapped by the target", "PAGEMAP_SCAN: PRESENT" },
	[SWAPPED] = { "SWAPPED", "swapped", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
		      "in swap; guards and markers are not", "PAGEMAP_SCAN: SWAPPED" },
	[FILE_PAGE] = { "FILE", "file", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
			"a page of a file or of shared memory", "PAGEMAP_SCAN: FILE" },
	[COPIED] = { "COPIED", "copied", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
		     "a private copy of a page of the file", "pagemap bit 61" },
	[EXCLUSIVE] = { "EXCLUSIVE", "exclusive", VMAT_TYPE_BOOL, VMAT_SHOW_JSON,
			VMAT_NEED_EXCLUSIVE, "mapped by this process only", "pagemap bit 56" },
	[HUGE] = { "HUGE", "huge", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
		   "mapped by one entry of a higher page table", "PAGEMAP_SCAN: HUGE" },
	[ZERO] = { "ZERO", "zero", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
		   "the kernel's zero page, which costs nothing", "PAGEMAP_SCAN: PFNZERO" },
	[GUARD] = { "GUARD", "guard", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
		    "a guard page that maps does not show", "PAGEMAP_SCAN: GUARD" },
	[DUMPED] = { "DUMPED", "dumped", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
		     "the core file holds the page", "PT_LOAD of the core" },
	[PFN] = { "PFN", "pfn", VMAT_TYPE_COUNT, EVERYWHERE, VMAT_NEED_FRAMES,
		  "number of the first page frame; needs CAP_SYS_ADMIN", "pagemap bits 0-54" },
	[PFN_RUNS] = { "PFN_RUNS", "pfn_runs", VMAT_TYPE_COUNT, WIDE_AND_JSON, VMAT_NEED_FRAMES,
		       "physically contiguous pieces in this run", "pagemap bits 0-54" },
	[MAPCOUNT] = { "MAPCOUNT", "mapcount", VMAT_TYPE_COUNT, 0, VMAT_NEED_KPAGEFLAGS,
		       "how often each page is mapped, where it is the same over the run",
		       "/proc/kpagecount" },
	[FLAGS] = { "FLAGS", "flags", VMAT_TYPE_WORDS, 0, VMAT_NEED_KPAGEFLAGS,
		    "the kernel's flags that all pages of the run have", "/proc/kpageflags",
		    .word = vmat_kpageflag_name, .ample = 3 },
	[OWNER] = { "OWNER", "owner", VMAT_TYPE_STRING, 0, VMAT_NEED_OWNERS,
		    "whose region it lies in", "map.regions: OWNER", .ample = 2 },
};

static uint64_t run_state(const struct vmat_pages_run *run)
{
	static const uint8_t bits[][2] = {
		/* log2 of enum vmat_page_flag, its bit of STATE */
		{ 0, STATE_PRESENT },   { 1, STATE_SWAPPED }, { 2, STATE_FILE },
		{ 3, STATE_ZERO },      { 4, STATE_HUGE },    { 5, STATE_GUARD },
		{ 6, STATE_EXCLUSIVE },
	};
	uint32_t flags = run->flags & run->known;
	uint64_t state = 0;

	if (run->is_invisible)
		return UINT64_C(1) << STATE_INVISIBLE;
	if (flags & VMAT_PAGE_LEFT_OUT)
		return UINT64_C(1) << STATE_LEFT_OUT;
	if (flags & VMAT_PAGE_DUMPED && !(run->known & VMAT_PAGE_PRESENT))
		return UINT64_C(1) << STATE_DUMPED;
	for (size_t i = 0; i < VMAT_COLUMNS_COUNT(bits); i++)
		if (flags >> bits[i][0] & 1)
			state |= UINT64_C(1) << bits[i][1];
	if (run->is_copied)
		state |= UINT64_C(1) << STATE_COPIED;
	if (run->is_pinned)
		state |= UINT64_C(1) << STATE_PINNED;
	if ((run->known & VMAT_PAGE_EXCLUSIVE) && (flags & VMAT_PAGE_PRESENT) &&
	    !(flags & (VMAT_PAGE_EXCLUSIVE | VMAT_PAGE_ZERO)))
		state |= UINT64_C(1) << STATE_SHARED;
	return state ? state : UINT64_C(1) << STATE_ABSENT;
}

static uint64_t run_flag(const struct vmat_pages_run *run, uint32_t flag)
{
	if (run->is_invisible)
		return VMAT_UNKNOWN(VMAT_INVISIBLE);
	if (!(run->known & flag)) {
		if (flag == VMAT_PAGE_DUMPED)
			return VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		return VMAT_UNKNOWN(run->known & VMAT_PAGE_DUMPED ? VMAT_NOT_RECORDED
								  : VMAT_KERNEL_LACKS);
	}
	return !!(run->flags & flag);
}

static const uint16_t run_fields[] = {
	[START] = offsetof(struct vmat_pages_run, start),
	[END] = offsetof(struct vmat_pages_run, end),
	[PAGE_SIZE] = offsetof(struct vmat_pages_run, page_size),
	[PFN] = offsetof(struct vmat_pages_run, pfn),
	[PFN_RUNS] = offsetof(struct vmat_pages_run, pfn_runs),
	[MAPCOUNT] = offsetof(struct vmat_pages_run, mapcount),
	[FLAGS] = offsetof(struct vmat_pages_run, kpageflags),
	[OWNER] = 0,
};

static const uint16_t run_flags[] = {
	[PRESENT] = VMAT_PAGE_PRESENT,
	[SWAPPED] = VMAT_PAGE_SWAPPED,
	[FILE_PAGE] = VMAT_PAGE_FILE,
	[ZERO] = VMAT_PAGE_ZERO,
	[EXCLUSIVE] = VMAT_PAGE_EXCLUSIVE,
	[HUGE] = VMAT_PAGE_HUGE,
	[GUARD] = VMAT_PAGE_GUARD,
	[DUMPED] = VMAT_PAGE_DUMPED,
	[OWNER] = 0,
};

static void run_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_runs_view *view = model;
	const struct vmat_pages_run *run = &view->pages->runs[row];

	switch ((enum run_column)column) {
	case SIZE:
		ret->number = run->end - run->start;
		break;
	case PAGES:
		ret->number = (run->end - run->start) / view->atlas->map->base_page_size;
		break;
	case STATE:
		ret->number = run_state(run);
		break;
	case COPIED:
		ret->number = run->is_invisible ? VMAT_UNKNOWN(VMAT_INVISIBLE) : run->is_copied;
		break;
	case OWNER:
		ret->text = vmat_region_label(view->atlas, run->region);
		break;
	default:
		ret->number = run_flags[column] ? run_flag(run, run_flags[column])
						: vmat_field(run, run_fields[column]);
	}
}

const struct vmat_list vmat_list_runs = {
	.name = "pages.runs",
	.key = "runs",
	.columns = columns,
	.columns_count = VMAT_COLUMNS_COUNT(columns),
	.cell = run_cell,
	.meaning = "a run of neighbouring pages that are equal in all that is known of them",
};

enum cow_column {
	COW_START,
	COW_END,
	COW_SIZE,
	COW_PAGES,
	COW_COPIED,
	COW_EXCLUSIVE,
	COW_SHARED,
	COW_PATH,
	COW_OWNER,
	COW_RANGES,
};

static const struct vmat_column cow_columns[] = {
	[COW_START] = { "START", "start", VMAT_TYPE_ADDR, EVERYWHERE, 0, "first address", "maps" },
	[COW_END] = { "END", "end", VMAT_TYPE_ADDR, EVERYWHERE, 0,
		      "first address behind the region", "maps" },
	[COW_SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, 0, 0, "END minus START", "maps" },
	[COW_PAGES] = { "PAGES", "pages", VMAT_TYPE_COUNT, EVERYWHERE, 0, "size in pages", "maps" },
	[COW_COPIED] = { "COPIED", "copied", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			 "pages that are private copies of the file; none where there is no file",
			 "pagemap bit 61" },
	[COW_EXCLUSIVE] = { "EXCLUSIVE", "exclusive", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			    "anonymous or copied pages that only this process maps",
			    "pagemap bit 56" },
	[COW_SHARED] = { "SHARED", "shared", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			 "anonymous or copied pages still shared with another process after a fork",
			 "pagemap bit 56" },
	[COW_PATH] = { "PATH", "path", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		       "the file that is mapped, or empty", "maps", .ample = 2 },
	[COW_OWNER] = { "OWNER", "owner", VMAT_TYPE_STRING, EVERYWHERE, VMAT_NEED_OWNERS,
			"whose it is", "map.regions: OWNER", .ample = 2 },
	[COW_RANGES] = { "RANGES", "ranges", VMAT_TYPE_ROWS, VMAT_SHOW_JSON, 0,
			 "which pages: of a file the copied ones, of anonymous memory the shared "
			 "ones",
			 "pagemap", .ample = 2 },
};

static void cow_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_cow_view *view = model;
	const struct vmat_cow_region *cow = &view->cow->regions[row];
	const struct vmat_region *region = &view->atlas->map->regions[cow->region];

	switch ((enum cow_column)column) {
	case COW_START:
		ret->number = region->start;
		break;
	case COW_END:
		ret->number = region->end;
		break;
	case COW_SIZE:
		ret->number = vmat_region_size(region);
		break;
	case COW_PAGES:
		ret->number = cow->pages;
		break;
	case COW_COPIED:
		ret->number = cow->copied_pages;
		break;
	case COW_EXCLUSIVE:
		ret->number = cow->exclusive_pages;
		break;
	case COW_SHARED:
		ret->number = cow->shared_pages;
		break;
	case COW_PATH:
		ret->text = region->name;
		break;
	case COW_OWNER:
		ret->text = vmat_region_label(view->atlas, cow->region);
		break;
	case COW_RANGES:
		ret->ranges = (struct vmat_ranges_view){
			.runs = cow->ranges,
			.region = region,
			.page_size = view->atlas->map->base_page_size,
		};
		ret->rows = (struct vmat_rows){
			.list = &vmat_list_ranges,
			.model = &ret->ranges,
			.count = cow->ranges_count,
		};
		break;
	}
}

const struct vmat_list vmat_list_cow = {
	.name = "cow.regions",
	.key = "regions",
	.columns = cow_columns,
	.columns_count = VMAT_COLUMNS_COUNT(cow_columns),
	.cell = cow_cell,
	.meaning = "a private region that holds copied, exclusive or shared pages",
	.children = COW_RANGES + 1,
};

enum range_column {
	RANGE_START,
	RANGE_END,
	RANGE_PAGES,
	RANGE_OFFSET,
};

static const struct vmat_column range_columns[] = {
	[RANGE_START] = { "START", "start", VMAT_TYPE_ADDR, EVERYWHERE, 0, "first address",
			  "pagemap" },
	[RANGE_END] = { "END", "end", VMAT_TYPE_ADDR, EVERYWHERE, 0, "first address behind it",
			"pagemap" },
	[RANGE_PAGES] = { "PAGES", "pages", VMAT_TYPE_COUNT, EVERYWHERE, 0, "how many pages",
			  "pagemap" },
	[RANGE_OFFSET] = { "OFFSET", "offset", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			   "where in the file it begins; none where there is no file", "maps" },
};

static void range_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_ranges_view *view = model;
	const struct vmat_page_run *run = &view->runs[row];

	switch ((enum range_column)column) {
	case RANGE_START:
		ret->number = run->start;
		break;
	case RANGE_END:
		ret->number = run->end;
		break;
	case RANGE_PAGES:
		ret->number = (run->end - run->start) / view->page_size;
		break;
	case RANGE_OFFSET:
		ret->number = view->region->backing == VMAT_BACKING_ANON
				      ? VMAT_UNKNOWN(VMAT_NOT_APPLICABLE)
				      : view->region->offset + (run->start - view->region->start);
		break;
	}
}

const struct vmat_list vmat_list_ranges = {
	.name = "cow.ranges",
	.key = "ranges",
	.columns = range_columns,
	.columns_count = VMAT_COLUMNS_COUNT(range_columns),
	.cell = range_cell,
	.meaning = "a range of such pages",
};

enum pagesize_column {
	PAGESIZE_ADDR,
	PAGESIZE_MAPPING,
	PAGESIZE_IN_USE,
	PAGESIZE_MAPPED,
	PAGESIZE_PRESENT,
	PAGESIZE_OWNER,
	PAGESIZE_WHY,
};

static const struct vmat_column pagesize_columns[] = {
	[PAGESIZE_ADDR] = { "ADDR", "addr", VMAT_TYPE_ADDR, EVERYWHERE, 0,
			    "the address that was asked for", "vmatlas" },
	[PAGESIZE_MAPPING] = { "MAPPING", "mapping", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			       "page size of the mapping", "maps; statfs of hugetlbfs" },
	[PAGESIZE_IN_USE] = { "IN_USE", "in_use", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			      "size of the page that is really there",
			      "PAGEMAP_SCAN: HUGE; kpageflags: COMPOUND" },
	[PAGESIZE_MAPPED] = { "MAPPED", "mapped", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
			      "it lies in a region", "maps" },
	[PAGESIZE_PRESENT] = { "PRESENT", "present", VMAT_TYPE_BOOL, EVERYWHERE, 0,
			       "the page is in memory", "PAGEMAP_SCAN: PRESENT" },
	[PAGESIZE_OWNER] = { "OWNER", "owner", VMAT_TYPE_STRING, WIDE_AND_JSON, VMAT_NEED_OWNERS,
			     "whose region it lies in", "map.regions: OWNER", .ample = 2 },
	[PAGESIZE_WHY] = { "WHY", "why", VMAT_TYPE_STRING, EVERYWHERE, 0,
			   "how the size in use was found out", "vmatlas", .ample = 3 },
};

/* Could it be told whether the page is there? If not, the size in use is unknown for the same reason. */
static bool is_told(const struct vmat_pagesize *size)
{
	switch (vmat_reason(size->in_use)) {
	case VMAT_NOT_PERMITTED:
	case VMAT_KERNEL_LACKS:
	case VMAT_CHANGED:
	case VMAT_INVISIBLE:
	case VMAT_NOT_RECORDED:
		return size->is_present;
	default:
		return true;
	}
}

static void pagesize_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_pagesizes_view *view = model;
	const struct vmat_pagesize *size = &view->sizes[row];

	switch ((enum pagesize_column)column) {
	case PAGESIZE_ADDR:
		ret->number = size->addr;
		break;
	case PAGESIZE_MAPPING:
		ret->number = size->mapping;
		break;
	case PAGESIZE_IN_USE:
		ret->number = size->in_use;
		break;
	case PAGESIZE_MAPPED:
		ret->number = size->is_mapped;
		break;
	case PAGESIZE_PRESENT:
		ret->number = is_told(size) ? size->is_present : size->in_use;
		break;
	case PAGESIZE_OWNER:
		ret->text = size->is_mapped ? vmat_region_label(view->atlas, size->region) : "";
		break;
	case PAGESIZE_WHY:
		ret->text = size->why;
		break;
	}
}

const struct vmat_list vmat_list_pagesizes = {
	.name = "pagesize",
	.key = "addresses",
	.columns = pagesize_columns,
	.columns_count = VMAT_COLUMNS_COUNT(pagesize_columns),
	.cell = pagesize_cell,
	.meaning = "one address",
};
