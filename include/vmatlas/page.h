/* SPDX-License-Identifier: MIT */
/*
 * page.h: sheet 3 of the atlas, runs of equal pages of a range, and what was copied on write.
 *
 * Everything is runs, never arrays of pages: a sparse mapping of 1 TiB costs what its runs cost.
 * Facts come from PAGEMAP_SCAN (Linux 6.7) or /proc/PID/pagemap, frames and their flags from
 * pagemap and /proc/kpageflags, which need CAP_SYS_ADMIN.
 */
#ifndef VMATLAS_PAGE_H
#define VMATLAS_PAGE_H

#include <vmatlas/map.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A run of pages that are equal in all known facts. Not mapped: no run. Never touched: flags 0. */
struct vmat_pages_run {
	uint64_t start;
	uint64_t end;
	uint64_t
		page_size; /* really in use: mapped by a PMD, large folio (with frames), base; or unknown */
	uint32_t flags;    /* enum vmat_page_flag */
	uint32_t known;    /* which of the flags could be told */
	bool is_copied;    /* a private copy of a page of the file that is mapped */
	bool is_invisible; /* VM_PFNMAP: the kernel shows no pages of it */
	bool is_pinned; /* VM_PFNMAP, but the driver in kmod/ tells: in memory, and stays there */
	size_t region;  /* index in the map */
	uint64_t pfn;   /* first frame; VMAT_UNKNOWN without the right to see frames */
	uint64_t pfn_runs;   /* physically contiguous pieces in this run */
	uint64_t kpageflags; /* VMAT_PAGES_KPAGEFLAGS: flags common to the run, else unknown */
	uint64_t mapcount;   /* VMAT_PAGES_KPAGEFLAGS: /proc/kpagecount, when equal over the run */
};

enum vmat_pages_option {
	VMAT_PAGES_EXCLUSIVE = 1,  /* tell exclusive from shared pages: reads pagemap */
	VMAT_PAGES_FRAMES = 2,     /* frame numbers, physical runs, sizes of large folios */
	VMAT_PAGES_KPAGEFLAGS = 4, /* the kernel's flags of each page; they split runs */
};

struct vmat_pages {
	struct vmat_pages_run *runs;
	size_t count;
	bool is_partial;
	char partial_why[508];
};

/*
 * Reads the pages of [start, end) of the target, which `map` describes.
 * Errors: -EACCES/-EPERM; -ESRCH; -EINVAL an unaligned or empty range; -ENOMEM.
 * Needs: the right to open pagemap; CAP_SYS_ADMIN for frames (else they are unknown).
 * Cost: 13 ns per present page, 43 with FILE, 52 with EXCLUSIVE, up to 1 us with FRAMES, where they
 * are scattered; 1 TiB with one page per GiB: 20 ms. The target is never stopped, its lock never held
 * for longer than 1 ms.
 */
int vmat_pages_read(struct vmat_pages **ret, struct vmat_target *target, const struct vmat_map *map,
		    uint64_t start, uint64_t end, uint32_t options, struct vmat_error *err);
struct vmat_pages *vmat_pages_free(struct vmat_pages *pages);

/* "KPF_" flag names of /proc/kpageflags by bit; NULL where none is defined. Lifetime: static. */
const char *vmat_kpageflag_name(unsigned bit);

/* A private region and its copies. Counts are pages of map->base_page_size. */
struct vmat_cow_region {
	size_t region;                /* index in the map */
	uint64_t pages;               /* size in pages */
	uint64_t copied_pages;        /* file mappings: private copies. Anonymous: not applicable */
	uint64_t exclusive_pages;     /* anonymous or copied pages that only this process maps */
	uint64_t shared_pages;        /* anonymous or copied pages still shared after a fork */
	struct vmat_page_run *ranges; /* file: copied ranges; anonymous: shared ranges */
	size_t ranges_count;
};

struct vmat_cow {
	struct vmat_cow_region *regions; /* private regions that hold at least one such page */
	size_t count;
	bool is_partial;
	char partial_why[508];
};

/* Errors, needs: as vmat_pages_read, no root. Cost: 95 ns per present page of private mappings. */
int vmat_cow_read(struct vmat_cow **ret, struct vmat_target *target, const struct vmat_map *map,
		  struct vmat_error *err);
struct vmat_cow *vmat_cow_free(struct vmat_cow *cow);

/* The page size at one address. */
struct vmat_pagesize {
	uint64_t addr;
	uint64_t mapping; /* the page size of the mapping: "KernelPageSize" */
	uint64_t in_use;  /* the size of the page that is there; unknown when none is present */
	bool is_mapped;
	bool is_present;
	size_t region; /* index in the map */
	char why[120]; /* how the size in use was found out */
};

int vmat_pagesize_read(struct vmat_pagesize *ret, struct vmat_target *target,
		       const struct vmat_map *map, uint64_t addr, struct vmat_error *err);

#ifdef __cplusplus
}
#endif
#endif
