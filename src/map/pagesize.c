/* SPDX-License-Identifier: MIT */
/*
 * pagesize.c: the page size at one address: of the mapping, and of the page that is really there.
 */
#include <errno.h>
#include <stdio.h>

#include "map/map_priv.h"
#include "map/page_flags.h"

enum { PAGE_SIZE = 4096 };

static void set_why(struct vmat_pagesize *ret, const char *why)
{
	snprintf(ret->why, sizeof(ret->why), "%s", why);
}

/* The page itself: PMD-mapped, part of a large folio, or a base page. */
static int read_in_use(struct vmat_pagesize *ret, struct vmat_target *target,
		       const struct vmat_map *map, struct vmat_error *err)
{
	uint64_t page = ret->addr & ~(uint64_t)(PAGE_SIZE - 1);
	struct vmat_pages *pages = NULL;
	const struct vmat_pages_run *run;
	int code = vmat_pages_read(&pages, target, map, page, page + PAGE_SIZE, VMAT_PAGES_FRAMES,
				   err);

	if (code)
		return code;
	run = &pages->runs[0];
	ret->is_present = pages->count && run->flags & VMAT_PAGE_PRESENT;
	if (!pages->count || run->is_invisible) {
		ret->in_use = VMAT_UNKNOWN(VMAT_INVISIBLE);
		set_why(ret, "device memory: the kernel shows none of its pages");
	} else if (run->is_pinned) {
		ret->in_use = run->page_size;
		set_why(ret, "its driver tells where the pages lie, and not of what size they are");
	} else if (run->flags & VMAT_PAGE_LEFT_OUT) {
		ret->in_use = VMAT_UNKNOWN(VMAT_NOT_RECORDED);
		set_why(ret, "the core has left this page out");
	} else if (!ret->is_present) {
		ret->in_use = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		set_why(ret, "no page is there");
	} else if (run->flags & VMAT_PAGE_HUGE || run->page_size > PAGE_SIZE) {
		ret->in_use = run->page_size;
		set_why(ret, run->flags & VMAT_PAGE_HUGE
				     ? "PAGEMAP_SCAN: mapped by one entry of a higher table"
				     : "kpageflags: head and tails of its folio");
	} else if (vmat_is_known(run->pfn)) {
		ret->in_use = run->page_size;
		set_why(ret, "kpageflags: no part of a larger folio");
	} else if (run->known & VMAT_PAGE_HUGE) {
		ret->in_use = run->page_size;
		set_why(ret,
			"PAGEMAP_SCAN: not mapped huge; a large folio needs frame numbers to be seen");
	} else if (vmat_target_process(target)->core) {
		ret->in_use = VMAT_UNKNOWN(VMAT_NOT_RECORDED);
		set_why(ret, "the core does not tell the sizes of its pages");
	} else {
		ret->in_use = VMAT_UNKNOWN(VMAT_KERNEL_LACKS);
		set_why(ret, "neither PAGEMAP_SCAN nor frame numbers to tell huge pages by");
	}
	vmat_pages_free(pages);
	return 0;
}

int vmat_pagesize_read(struct vmat_pagesize *ret, struct vmat_target *target,
		       const struct vmat_map *map, uint64_t addr, struct vmat_error *err)
{
	const struct vmat_region *region = vmat_map_at(map, addr);
	struct vmat_pagesize pagesize = {
		.addr = addr,
		.mapping = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
		.in_use = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
		.region = map->count,
	};
	int64_t asked;
	int code = 0;

	if (!region) {
		set_why(&pagesize, "nothing is mapped there");
		*ret = pagesize;
		return 0;
	}
	pagesize.is_mapped = true;
	pagesize.region = (size_t)(region - map->regions);
	asked = vmat_source_mapping_page_size(target, addr);
	pagesize.mapping = asked > 0 ? (uint64_t)asked : region->page_size;
	code = read_in_use(&pagesize, target, map, err);
	if (code == -ENOMEM || code == -ESRCH)
		return code;
	if (code) {
		pagesize.in_use = VMAT_UNKNOWN(vmat_reason_of_errno(code));
		set_why(&pagesize, vmat_reason_text(vmat_reason_of_errno(code)));
	}
	*ret = pagesize;
	return 0;
}
