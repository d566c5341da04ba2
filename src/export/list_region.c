/* SPDX-License-Identifier: MIT */
/*
 * The list map.regions and the parts of a region.
 */
#include "export/list_region.h"

#include <stdio.h>

#include "export/list_field.h"

enum region_column {
	AT,
	START,
	END,
	SIZE,
	RSS,
	COPIED,
	SWAP,
	PROT,
	KIND,
	OWNER,
	WHY,
	PATH,
	OFFSET,
	PAGE_SIZE,
	HUGE,
	ZERO,
	GUARD,
	FIRST_PRESENT,
	BACKING,
	DELETED,
	DEV,
	INODE,
	PSS,
	USS,
	DIRTY,
	REFERENCED,
	ANONYMOUS,
	LOCKED,
	THP,
	HUGETLB,
	VMFLAGS,
	PARTS,
};

static const char *vm_flag_word(unsigned bit)
{
	const struct vmat_vm_flag *flag = vmat_vm_flag(bit);

	return flag ? flag->meaning : NULL;
}

#define TABLE_AND_JSON (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)
#define WIDE_AND_JSON  (VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

static const struct vmat_column columns[] = {
	[AT] = { "AT", "at", VMAT_TYPE_STRING, 0, 0,
		 "`>` at the region that holds the address that was asked for", "maps" },
	[START] = { "START", "start", VMAT_TYPE_ADDR, TABLE_AND_JSON, 0, "first address", "maps" },
	[END] = { "END", "end", VMAT_TYPE_ADDR, WIDE_AND_JSON, 0, "first address behind the region",
		  "maps" },
	[SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, TABLE_AND_JSON, 0, "END minus START", "maps" },
	[RSS] = { "RSS", "rss", VMAT_TYPE_BYTES, TABLE_AND_JSON, VMAT_NEED_PAGES,
		  "resident: pages in memory that this process maps; 0 for hugetlb, as the kernel "
		  "counts",
		  "PAGEMAP_SCAN: PRESENT minus PFNZERO; equals smaps: Rss" },
	[COPIED] = { "COPIED", "copied", VMAT_TYPE_BYTES, TABLE_AND_JSON, VMAT_NEED_COPIED,
		     "private copies of pages of the file, made on write, in memory or in swap",
		     "PAGEMAP_SCAN: PRESENT or SWAPPED, not FILE, in a private file mapping" },
	[SWAP] = { "SWAP", "swap", VMAT_TYPE_BYTES, TABLE_AND_JSON, VMAT_NEED_PAGES, "in swap",
		   "PAGEMAP_SCAN: SWAPPED without guards and markers; equals smaps: Swap" },
	[PROT] = { "PROT", "prot", VMAT_TYPE_STRING, TABLE_AND_JSON, 0,
		   "rights: r read, w write, x execute; s shared or p private", "maps" },
	[KIND] = { "KIND", "kind", VMAT_TYPE_STRING, TABLE_AND_JSON, VMAT_NEED_OWNERS,
		   "what the region is: one of the KINDS", "see WHY", .is_tinted = true },
	[OWNER] = { "OWNER", "owner", VMAT_TYPE_STRING, TABLE_AND_JSON, VMAT_NEED_OWNERS,
		    "whose it is: a file, a thread, an arena, or the name the program gave it",
		    "see WHY", .ample = 2 },
	[WHY] = { "WHY", "why", VMAT_TYPE_STRING, WIDE_AND_JSON, VMAT_NEED_OWNERS,
		  "the evidence for KIND and OWNER", "vmatlas", .ample = 3 },
	[PATH] = { "PATH", "path", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		   "the name in maps: a path, [heap], or empty", "maps", .ample = 2 },
	[OFFSET] = { "OFFSET", "offset", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
		     "where in the file the region begins", "maps" },
	[PAGE_SIZE] = { "PAGE_SIZE", "page_size", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
			"page size of the mapping: that of hugetlb, else the base page",
			"maps; statfs of hugetlbfs" },
	[HUGE] = { "HUGE", "huge", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, VMAT_NEED_PAGES,
		   "resident in huge pages: mapped by one entry of a higher page table",
		   "PAGEMAP_SCAN: HUGE" },
	[ZERO] = { "ZERO", "zero", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, VMAT_NEED_PAGES,
		   "read but never written: the kernel's one zero page, which costs nothing",
		   "PAGEMAP_SCAN: PFNZERO" },
	[GUARD] = { "GUARD", "guard", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, VMAT_NEED_PAGES,
		    "guard pages inside the region that maps does not show",
		    "PAGEMAP_SCAN: GUARD (MADV_GUARD_INSTALL)" },
	[FIRST_PRESENT] = { "FIRST_PRESENT", "first_present", VMAT_TYPE_ADDR, 0, VMAT_NEED_PAGES,
			    "the lowest page that is resident", "PAGEMAP_SCAN: PRESENT" },
	[BACKING] = { "BACKING", "backing", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		      "what lies behind: anon file shmem memfd hugetlb device kernel", "maps" },
	[DELETED] = { "DELETED", "deleted", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
		      "the file has been deleted", "maps: (deleted)" },
	[DEV] = { "DEV", "dev", VMAT_TYPE_STRING, 0, 0, "device of the file system", "maps" },
	[INODE] = { "INODE", "inode", VMAT_TYPE_COUNT, 0, 0, "inode of the file; 0: none", "maps" },
	[PSS] = { "PSS", "pss", VMAT_TYPE_BYTES, 0, VMAT_NEED_SMAPS,
		  "proportional: each resident page divided by how many processes map it",
		  "smaps: Pss" },
	[USS] = { "USS", "uss", VMAT_TYPE_BYTES, 0, VMAT_NEED_SMAPS,
		  "private: resident pages that no other process maps",
		  "smaps: Private_Clean + Private_Dirty" },
	[DIRTY] = { "DIRTY", "dirty", VMAT_TYPE_BYTES, 0, VMAT_NEED_SMAPS,
		    "written since it was read from its file",
		    "smaps: Shared_Dirty + Private_Dirty" },
	[REFERENCED] = { "REFERENCED", "referenced", VMAT_TYPE_BYTES, 0, VMAT_NEED_SMAPS,
			 "marked as used since the kernel last cleared the mark",
			 "smaps: Referenced" },
	[ANONYMOUS] = { "ANONYMOUS", "anonymous", VMAT_TYPE_BYTES, 0, VMAT_NEED_SMAPS,
			"resident without a file behind it", "smaps: Anonymous" },
	[LOCKED] = { "LOCKED", "locked", VMAT_TYPE_BYTES, 0, VMAT_NEED_SMAPS,
		     "resident and locked into memory", "smaps: Locked" },
	[THP] = { "THP", "thp", VMAT_TYPE_BYTES, 0, VMAT_NEED_SMAPS,
		  "resident in transparent huge pages",
		  "smaps: AnonHugePages + ShmemPmdMapped + FilePmdMapped" },
	[HUGETLB] = { "HUGETLB", "hugetlb", VMAT_TYPE_BYTES, 0, VMAT_NEED_SMAPS,
		      "resident in hugetlb pages", "smaps: Shared_Hugetlb + Private_Hugetlb" },
	[VMFLAGS] = { "VMFLAGS", "vmflags", VMAT_TYPE_WORDS, 0, VMAT_NEED_SMAPS,
		      "the kernel's flags of the region, in words", "smaps: VmFlags",
		      .word = vm_flag_word, .ample = 3 },
	[PARTS] = { "PARTS", "parts", VMAT_TYPE_ROWS, VMAT_SHOW_JSON, VMAT_NEED_OWNERS,
		    "what the region consists of, where it holds several things", "see WHY",
		    .ample = 2, .is_optional = true },
};

const char *vmat_prot_text(uint8_t prot)
{
	static const char *const texts[] = {
		"---p", "r--p", "-w-p", "rw-p", "--xp", "r-xp", "-wxp", "rwxp",
		"---s", "r--s", "-w-s", "rw-s", "--xs", "r-xs", "-wxs", "rwxs",
	};

	return texts[prot & 15];
}

const char *vmat_backing_text(uint8_t backing)
{
	static const char *const texts[] = {
		[VMAT_BACKING_ANON] = "anon",       [VMAT_BACKING_FILE] = "file",
		[VMAT_BACKING_SHMEM] = "shmem",     [VMAT_BACKING_MEMFD] = "memfd",
		[VMAT_BACKING_HUGETLB] = "hugetlb", [VMAT_BACKING_DEVICE] = "device",
		[VMAT_BACKING_KERNEL] = "kernel",
	};

	return backing < sizeof(texts) / sizeof(texts[0]) ? texts[backing] : "anon";
}

const char *vmat_region_label(const struct vmat_atlas *atlas, size_t region)
{
	const char *name;

	if (region >= atlas->map->count)
		return "";
	if (atlas->owners && atlas->owners[region].owner[0])
		return atlas->owners[region].owner;
	name = atlas->map->regions[region].name;
	if (!name[0] && atlas->owners)
		return vmat_kind_name(atlas->owners[region].kind);
	return name;
}

enum vmat_tint vmat_kind_tint(enum vmat_kind kind)
{
	switch (kind) {
	case VMAT_KIND_TEXT:
	case VMAT_KIND_JIT:
		return VMAT_TINT_CODE;
	case VMAT_KIND_RODATA:
	case VMAT_KIND_RELRO:
	case VMAT_KIND_DATA:
	case VMAT_KIND_BSS:
	case VMAT_KIND_FILE:
		return VMAT_TINT_FILE;
	case VMAT_KIND_HEAP:
	case VMAT_KIND_ARENA:
	case VMAT_KIND_MALLOC_MMAP:
		return VMAT_TINT_HEAP;
	case VMAT_KIND_STACK:
	case VMAT_KIND_TLS:
		return VMAT_TINT_STACK;
	case VMAT_KIND_SHM:
	case VMAT_KIND_MEMFD:
	case VMAT_KIND_HUGETLB:
		return VMAT_TINT_SHARED;
	case VMAT_KIND_VDSO:
	case VMAT_KIND_KERNEL:
		return VMAT_TINT_KERNEL;
	case VMAT_KIND_GUARD:
	case VMAT_KIND_RESERVED:
		return VMAT_TINT_IDLE;
	default:
		return VMAT_TINT_NONE;
	}
}

static void set_text(struct vmat_value *ret, const char *text)
{
	ret->text = text;
}

/* KIND, OWNER, WHY and PARTS. */
static void owner_cell(const struct vmat_owner *owner, size_t column, struct vmat_value *ret)
{
	if (!owner) {
		ret->number = VMAT_UNKNOWN(VMAT_NOT_ASKED);
		ret->rows = (struct vmat_rows){ .list = &vmat_list_parts };
		return;
	}
	switch ((enum region_column)column) {
	case KIND:
		set_text(ret, vmat_kind_name(owner->kind));
		break;
	case OWNER:
		set_text(ret, owner->owner);
		break;
	case WHY:
		set_text(ret, owner->why);
		break;
	default:
		ret->rows = (struct vmat_rows){
			.list = &vmat_list_parts,
			.model = owner->parts,
			.count = owner->parts_count,
		};
	}
}

/* Where the columns lie that are a field of the region. */
static const uint16_t fields[] = {
	[START] = offsetof(struct vmat_region, start),
	[END] = offsetof(struct vmat_region, end),
	[RSS] = offsetof(struct vmat_region, rss),
	[COPIED] = offsetof(struct vmat_region, copied),
	[SWAP] = offsetof(struct vmat_region, swap),
	[OFFSET] = offsetof(struct vmat_region, offset),
	[PAGE_SIZE] = offsetof(struct vmat_region, page_size),
	[HUGE] = offsetof(struct vmat_region, huge),
	[ZERO] = offsetof(struct vmat_region, zero),
	[GUARD] = offsetof(struct vmat_region, guard),
	[FIRST_PRESENT] = offsetof(struct vmat_region, first_present_addr),
	[INODE] = offsetof(struct vmat_region, inode),
	[PSS] = offsetof(struct vmat_region, pss),
	[USS] = offsetof(struct vmat_region, uss),
	[DIRTY] = offsetof(struct vmat_region, dirty),
	[REFERENCED] = offsetof(struct vmat_region, referenced),
	[ANONYMOUS] = offsetof(struct vmat_region, anonymous),
	[LOCKED] = offsetof(struct vmat_region, locked),
	[THP] = offsetof(struct vmat_region, thp),
	[HUGETLB] = offsetof(struct vmat_region, hugetlb),
	[VMFLAGS] = offsetof(struct vmat_region, vm_flags),
	[PARTS] = 0,
};

static void file_cell(const struct vmat_region *region, size_t column, struct vmat_value *ret)
{
	switch ((enum region_column)column) {
	case PATH:
		set_text(ret, region->name);
		break;
	case BACKING:
		set_text(ret, vmat_backing_text(region->backing));
		break;
	case DELETED:
		ret->number = region->is_deleted;
		break;
	default:
		if (!vmat_is_known(region->inode)) { /* a core knows neither */
			ret->number = region->inode;
			break;
		}
		snprintf(ret->room, sizeof(ret->room), "%u:%u", region->dev_major,
			 region->dev_minor);
		set_text(ret, ret->room);
	}
}

/* "rw-?": what is not known of the rights is a question mark. */
static void prot_cell(const struct vmat_region *region, struct vmat_value *ret)
{
	static const uint8_t bits[4] = { VMAT_PROT_READ, VMAT_PROT_WRITE, VMAT_PROT_EXEC,
					 VMAT_PROT_SHARED };

	snprintf(ret->room, sizeof(ret->room), "%s", vmat_prot_text(region->prot));
	for (size_t i = 0; i < 4; i++) {
		if (region->prot_unknown & bits[i])
			ret->room[i] = '?';
	}
	set_text(ret, ret->room);
}

static void region_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_regions_view *view = model;
	const struct vmat_region *region = &view->atlas->map->regions[row];
	const struct vmat_owner *owners = view->atlas->owners;

	switch ((enum region_column)column) {
	case AT:
		set_text(ret, view->has_mark && view->mark_addr >= region->start &&
					      view->mark_addr < region->end
				      ? ">"
				      : "");
		break;
	case SIZE:
		ret->number = vmat_region_size(region);
		break;
	case PROT:
		prot_cell(region, ret);
		break;
	case KIND:
	case OWNER:
	case WHY:
	case PARTS:
		owner_cell(owners ? &owners[row] : NULL, column, ret);
		break;
	case PATH:
	case BACKING:
	case DELETED:
	case DEV:
		file_cell(region, column, ret);
		break;
	default:
		ret->number = vmat_field(region, fields[column]);
		ret->is_upper_bound = column == RSS && region->rss_is_upper_bound && region->rss &&
				      vmat_is_known(region->rss);
	}
}

static enum vmat_tint region_tint(const void *model, size_t row)
{
	const struct vmat_regions_view *view = model;

	return view->atlas->owners ? vmat_kind_tint(view->atlas->owners[row].kind) : VMAT_TINT_NONE;
}

const struct vmat_list vmat_list_regions = {
	.name = "map.regions",
	.key = "regions",
	.columns = columns,
	.columns_count = VMAT_COLUMNS_COUNT(columns),
	.cell = region_cell,
	.tint = region_tint,
	.meaning = "a region (VMA): a range of equal rights and backing",
	.children = PARTS + 1,
};

enum part_column {
	PART_START,
	PART_END,
	PART_SIZE,
	PART_KIND,
	PART_OWNER,
	PART_WHY,
	PART_TID,
};

static const struct vmat_column part_columns[] = {
	[PART_START] = { "START", "start", VMAT_TYPE_ADDR, TABLE_AND_JSON, 0, "first address",
			 "see WHY" },
	[PART_END] = { "END", "end", VMAT_TYPE_ADDR, TABLE_AND_JSON, 0,
		       "first address behind the part", "see WHY" },
	[PART_SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, TABLE_AND_JSON, 0, "END minus START",
			"see WHY" },
	[PART_KIND] = { "KIND", "kind", VMAT_TYPE_STRING, TABLE_AND_JSON, 0,
			"what the part is: one of the KINDS", "see WHY", .is_tinted = true },
	[PART_OWNER] = { "OWNER", "owner", VMAT_TYPE_STRING, TABLE_AND_JSON, 0, "whose it is",
			 "see WHY" },
	[PART_WHY] = { "WHY", "why", VMAT_TYPE_STRING, TABLE_AND_JSON, 0,
		       "the evidence for KIND and OWNER", "vmatlas" },
	[PART_TID] = { "TID", "tid", VMAT_TYPE_COUNT, TABLE_AND_JSON, 0, "the thread that owns it",
		       "see WHY" },
};

static void part_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_part *part = (const struct vmat_part *)model + row;

	switch ((enum part_column)column) {
	case PART_START:
		ret->number = part->start;
		break;
	case PART_END:
		ret->number = part->end;
		break;
	case PART_SIZE:
		ret->number = part->end - part->start;
		break;
	case PART_KIND:
		set_text(ret, vmat_kind_name(part->kind));
		break;
	case PART_OWNER:
		set_text(ret, part->owner);
		break;
	case PART_WHY:
		set_text(ret, part->why);
		break;
	case PART_TID:
		ret->number = part->tid;
		break;
	}
}

static enum vmat_tint part_tint(const void *model, size_t row)
{
	return vmat_kind_tint(((const struct vmat_part *)model)[row].kind);
}

const struct vmat_list vmat_list_parts = {
	.name = "map.parts",
	.key = "parts",
	.columns = part_columns,
	.columns_count = VMAT_COLUMNS_COUNT(part_columns),
	.cell = part_cell,
	.tint = part_tint,
	.meaning = "a part of a region that holds several things",
};
