/* SPDX-License-Identifier: MIT */
/*
 * map.h: sheet 1 of the atlas, the regions of an address space, as the kernel tells them.
 *
 * The nouns, and how they contain each other:
 *   map       one process's address space at one moment, with its counters
 *   region    a VMA: a range of equal protection and backing, one line of /proc/PID/maps
 *   page run  equal neighbouring pages of a region (target.h, page.h)
 *   gap       the free range between two regions
 *
 * A map is read once and then immutable. What a region is for, and who owns it, is not known here:
 * that is the atlas (atlas.h).
 */
#ifndef VMATLAS_MAP_H
#define VMATLAS_MAP_H

#include <vmatlas/base.h>
#include <vmatlas/target.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_prot {
	VMAT_PROT_READ = 1,
	VMAT_PROT_WRITE = 2,
	VMAT_PROT_EXEC = 4,
	VMAT_PROT_SHARED = 8, /* MAP_SHARED */
};

/* What lies behind a region. */
enum vmat_backing {
	VMAT_BACKING_ANON,    /* private anonymous memory, [heap] and [stack] among it */
	VMAT_BACKING_FILE,    /* a file with a path */
	VMAT_BACKING_SHMEM,   /* shared anonymous memory, POSIX or System V shared memory, tmpfs */
	VMAT_BACKING_MEMFD,   /* memfd_create */
	VMAT_BACKING_HUGETLB, /* hugetlbfs: the pages are never smaller than page_size */
	VMAT_BACKING_DEVICE,  /* a character device: its pages may be invisible (VM_PFNMAP) */
	VMAT_BACKING_KERNEL,  /* [vdso], [vvar], [vsyscall], [uprobes]: put there by the kernel */
};

/*
 * A region. Facts that were not asked for or cannot be known are VMAT_UNKNOWN.
 * Sizes are bytes. smaps' own names stand in quotes.
 */
struct vmat_region {
	uint64_t start;
	uint64_t end;
	uint64_t offset;    /* maps: offset into the file */
	uint64_t inode;     /* maps: inode; 0 for anonymous memory */
	uint32_t dev_major; /* maps: device of the file system */
	uint32_t dev_minor;
	uint8_t prot;         /* enum vmat_prot */
	uint8_t prot_unknown; /* those bits of it that are not known: a core does not tell all */
	uint8_t backing;      /* enum vmat_backing */
	bool is_deleted; /* the file was unlinked (the kernel's " (deleted)" is cut off from `name`) */
	bool rss_is_upper_bound; /* rss may hold zero pages: pagemap cannot tell them */
	const char *name;   /* maps: path or [name], octal escapes undone; "" when there is none */
	uint64_t page_size; /* of the mapping: hugetlb's, else the base page */

	/* from the page scan (VMAT_WANT_PAGES) */
	uint64_t rss;   /* present minus the zero page: smaps "Rss"; 0 for hugetlb */
	uint64_t swap;  /* in swap, as VmSwap counts: smaps "Swap" less what shared memory that is
			   mapped nowhere has there, for that belongs to no process */
	uint64_t huge;  /* present and mapped by a PMD or PUD; for hugetlb all that is present */
	uint64_t zero;  /* the zero page mapped */
	uint64_t guard; /* guard pages without a VMA */
	uint64_t first_present_addr; /* of the lowest present page that is not the zero page */
	uint64_t copied; /* VMAT_WANT_COPIED: private copies of file pages, present or swapped */

	/* from smaps (VMAT_WANT_SMAPS) */
	uint64_t pss;        /* "Pss" */
	uint64_t uss;        /* "Private_Clean" + "Private_Dirty" */
	uint64_t dirty;      /* "Shared_Dirty" + "Private_Dirty" */
	uint64_t referenced; /* "Referenced" */
	uint64_t anonymous;  /* "Anonymous" */
	uint64_t locked;     /* "Locked" */
	uint64_t thp;        /* "AnonHugePages" + "ShmemPmdMapped" + "FilePmdMapped" */
	uint64_t hugetlb;    /* "Shared_Hugetlb" + "Private_Hugetlb" */
	uint64_t vm_flags;   /* "VmFlags" as bits of vmat_vm_flag(); VMAT_UNKNOWN when not read */
};

static inline uint64_t vmat_region_size(const struct vmat_region *region)
{
	return region->end - region->start;
}

/* The process's own counters. Origin: /proc/PID/status unless said. Bytes unless said. */
struct vmat_counters {
	uint64_t size;         /* VmSize */
	uint64_t peak;         /* VmPeak */
	uint64_t rss;          /* VmRSS */
	uint64_t rss_peak;     /* VmHWM */
	uint64_t rss_anon;     /* RssAnon */
	uint64_t rss_file;     /* RssFile */
	uint64_t rss_shmem;    /* RssShmem */
	uint64_t swap;         /* VmSwap */
	uint64_t page_tables;  /* VmPTE */
	uint64_t locked;       /* VmLck */
	uint64_t pinned;       /* VmPin */
	uint64_t hugetlb;      /* HugetlbPages */
	uint64_t data;         /* VmData */
	uint64_t threads;      /* Threads; a count */
	uint64_t faults_minor; /* stat: minflt; a count */
	uint64_t faults_major; /* stat: majflt; a count */
	uint64_t regions_max;  /* /proc/sys/vm/max_map_count; a count */
};

enum vmat_want {
	VMAT_WANT_REGIONS = 0,     /* maps alone */
	VMAT_WANT_PAGES = 1 << 0,  /* rss, swap, huge, zero, guard: one page scan, no smaps */
	VMAT_WANT_COPIED = 1 << 1, /* copied: a dearer scan of private file mappings */
	VMAT_WANT_SMAPS = 1 << 2,  /* pss, uss, dirty, vm_flags, ...: makes the kernel walk all page
				     tables of the target under its lock; never read by default */
	VMAT_WANT_COUNTERS = 1 << 3,
};

struct vmat_map {
	struct vmat_region *regions; /* ascending, not overlapping */
	size_t count;
	struct vmat_counters counters;
	uint32_t want; /* what was asked for */
	uint64_t base_page_size;
	bool is_partial;       /* something changed or was refused while reading */
	char partial_why[508]; /* why, when it is partial; "" else */
	struct vmat_map_priv *priv;
};

struct vmat_map_options {
	size_t size;
	uint32_t want; /* enum vmat_want */
	/* called now and then with how much of the address space is done; may be NULL */
	void (*progress)(void *context, uint64_t done, uint64_t total);
	void *progress_context;
};

/*
 * Reads the map of the target.
 *
 * Errors: -EACCES/-EPERM the kernel refuses maps (the text says which right is missing); -ESRCH the
 * target ended before anything could be read; -ENOMEM; -EBADMSG a recorded map is malformed. Refused
 * page facts are no error: they are VMAT_UNKNOWN(VMAT_NOT_PERMITTED) and the map is partial.
 * Needs: the right to ptrace-read the target.
 * Cost: about 0.4 us per region; pages: 13 ns per present page, in pieces that hold the target's
 * lock for less than 1 ms; VMAT_WANT_SMAPS: 50 ns per present page and 3 us per region under its
 * lock. The target is never stopped.
 */
int vmat_map_read(struct vmat_map **ret, struct vmat_target *target,
		  const struct vmat_map_options *options, struct vmat_error *err);
struct vmat_map *vmat_map_free(struct vmat_map *map);

/* Reads the counters alone: they can be read even where the map cannot. Unknown ones say why. */
int vmat_counters_read(struct vmat_counters *ret, struct vmat_target *target,
		       struct vmat_error *err);

/* The index of the region that holds addr, or of the first one above it (map->count if none). */
size_t vmat_map_find(const struct vmat_map *map, uint64_t addr);

/* The region that holds addr, or NULL. */
const struct vmat_region *vmat_map_at(const struct vmat_map *map, uint64_t addr);

/* "VmFlags" of smaps: bit number `bit` (0..63). NULL where no flag has that number. */
struct vmat_vm_flag {
	char code[3];        /* as smaps prints it: "rd" */
	const char *meaning; /* "readable" */
};
const struct vmat_vm_flag *vmat_vm_flag(unsigned bit);

/* A free range between regions. */
struct vmat_gap {
	uint64_t start;
	uint64_t end;
	size_t above; /* index of the region above it, map->count if none */
};

/* All free ranges from the lowest region to the end of the user address space. Pure. */
int vmat_map_gaps(const struct vmat_map *map, struct vmat_gap **ret, size_t *ret_count);

/*
 * Where the kernel will put the next anonymous mapping of `size` bytes.
 *
 * The kernel takes the highest gap below mmap_base that is large enough and keeps its guard gap
 * below regions that grow down. The rule is tried in the caller's own address space first
 * (`is_rule_checked`): kernels align large mappings differently (Linux 6.7 and later).
 */
struct vmat_where {
	uint64_t start;
	uint64_t end;
	bool is_rule_checked;
	char why[252];
};

int vmat_map_where(const struct vmat_map *map, struct vmat_target *target, uint64_t size,
		   struct vmat_where *ret, struct vmat_error *err);

#ifdef __cplusplus
}
#endif
#endif
