/* SPDX-License-Identifier: MIT */
/*
 * fault_advice.c: see fault_advice.h.
 *
 * glibc's two thresholds are advised together or not at all: setting any one parameter of malloc switches the adjustment of
 * both off (mallopt(3): "dynamic mmap threshold"), and what was 4.8 faults per request by default became 6 with
 * trim_threshold alone, 1 with mmap_threshold alone and 0 with both (docs/cases/fault-storm.md). MAP_POPULATE and
 * MADV_POPULATE spare the program the traps, but the kernel still counts each page as a minor fault.
 */
#include "analyze/fault_advice.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* malloc/malloc.c: HEAP_MAX_SIZE / 2 of 64-bit programs, above which a threshold is refused. */
static const uint64_t MMAP_THRESHOLD_MAX = 32 << 20, TRIM_MIN = 128 << 20;

static bool is_glibc(const struct vmat_fault_profile *profile)
{
	return strncmp(profile->heap.allocator, "glibc", 5) == 0;
}

/* Four times what came and went, as a power of two. */
static uint64_t trim_for(const struct vmat_fault_place *place)
{
	uint64_t wanted = 4 * place->mapped.max, size = TRIM_MIN;

	while (size < wanted && size < (uint64_t)1 << 40)
		size *= 2;
	return size;
}

/* Does a block of this place fit under the highest threshold that malloc takes? */
static bool fits_threshold(const struct vmat_fault_profile *profile,
			   const struct vmat_fault_place *place)
{
	uint64_t size = place->mapped.max ? place->mapped.max : place->end - place->start;

	return place->kind == VMAT_KIND_HEAP || place->kind == VMAT_KIND_ARENA ||
	       (size <= MMAP_THRESHOLD_MAX && (!vmat_is_known(profile->heap.mmap_threshold) ||
					       profile->heap.mmap_threshold < MMAP_THRESHOLD_MAX));
}

static void advise_malloc(struct vmat_fault_finding *finding,
			  const struct vmat_fault_profile *profile)
{
	const struct vmat_fault_place *place = &profile->places[finding->place];
	uint64_t trim = trim_for(place);

	if (fits_threshold(profile, place))
		snprintf(finding->setting, sizeof(finding->setting),
			 "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=%" PRIu64
			 ":glibc.malloc.trim_threshold=%" PRIu64,
			 MMAP_THRESHOLD_MAX, trim);
	else
		snprintf(
			finding->setting, sizeof(finding->setting),
			"GLIBC_TUNABLES=glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=%" PRIu64,
			trim);
	snprintf(
		finding->advice, sizeof(finding->advice),
		"start it with %s, always both: one alone stops glibc from adjusting the other and can make it "
		"worse. Freed blocks are then kept and used again, so these faults go to about none. It costs up "
		"to %" PRIu64 " MiB that free does not give back%s",
		finding->setting, trim >> 20,
		profile->heap.has_fixed_thresholds
			? ". A parameter is set already: by mallopt in the program, which comes after the "
			  "environment, or by GLIBC_TUNABLES"
			: "");
}

static void advise_mmap(struct vmat_fault_finding *finding,
			const struct vmat_fault_profile *profile)
{
	const struct vmat_fault_place *place = &profile->places[finding->place];
	/* What no look found, or could read, may have been either. */
	bool is_malloc = place->kind == VMAT_KIND_MALLOC_MMAP || !place->was_seen ||
			 (place->kind == VMAT_KIND_ANON && !place->was_read);

	if (is_malloc && is_glibc(profile)) {
		advise_malloc(finding, profile);
		if (place->kind != VMAT_KIND_MALLOC_MMAP)
			snprintf(finding->advice + strlen(finding->advice),
				 sizeof(finding->advice) - strlen(finding->advice),
				 ". If the program maps them itself, it must keep them instead");
		return;
	}
	snprintf(
		finding->advice, sizeof(finding->advice),
		"keep the mapping and use it again instead of munmap and mmap: one fault a page in all "
		"instead of one each time. It costs the memory of the kept mapping. MAP_POPULATE spares only the "
		"traps: the kernel still counts and fills each page");
}

static void advise_dontneed(struct vmat_fault_finding *finding,
			    const struct vmat_fault_profile *profile)
{
	if (strncmp(profile->heap.allocator, "jemalloc", 8) == 0) {
		snprintf(finding->setting, sizeof(finding->setting),
			 "MALLOC_CONF=dirty_decay_ms:60000,muzzy_decay_ms:60000");
		snprintf(
			finding->advice, sizeof(finding->advice),
			"start it with %s: pages that are free for less than a minute are kept. It costs the "
			"memory that was free in the last minute",
			finding->setting);
		return;
	}
	snprintf(
		finding->advice, sizeof(finding->advice),
		"keep what is soon used again; or give it back with MADV_FREE instead of MADV_DONTNEED: the "
		"pages stay until the kernel needs memory, and no fault is taken before. It costs that resident "
		"memory looks larger. Where malloc_trim is called, call it less often");
}

static const char *plain_advice(enum vmat_fault_cause cause)
{
	switch (cause) {
	case VMAT_FAULT_FIRST_TOUCH:
		return "none is needed where it comes to an end. Where latency matters, fill the memory before "
		       "(MAP_POPULATE, MADV_POPULATE_WRITE: no traps later, the same count); transparent huge "
		       "pages (madvise MADV_HUGEPAGE) take one fault for 512 pages, and cost memory that is "
		       "never used";
	case VMAT_FAULT_FORK_COPY:
		return "fork less often, or take what the child does not need out of the fork: madvise(MADV_DONTFORK) "
		       "on large buffers leaves them unshared, so none of their pages is copied (the child cannot "
		       "see them). To start a program, posix_spawn or vfork share everything without copying";
	case VMAT_FAULT_FILE_READ:
		return "keep the file mapped instead of mapping it anew: each page then faults once. For reading "
		       "once through, read(2) into one buffer takes no faults. Major faults: MADV_WILLNEED or "
		       "readahead before; it costs page cache";
	case VMAT_FAULT_STACK_GROWTH:
		return "where threads come and go, keep them (a thread pool): a new thread's stack is empty again. "
		       "Where a stack grows once, none is needed";
	case VMAT_FAULT_HUGE_SPLIT:
		return "give memory back in whole huge pages (2 MiB, aligned): a part breaks the page up, and comes "
		       "back in up to 512 small faults instead of one. Or take such memory out of huge pages with "
		       "MADV_NOHUGEPAGE, which costs TLB misses and not faults";
	case VMAT_FAULT_SWAP_IN:
		return "it needs more memory than it has: give it more (memory.high or memory.max of its group, less "
		       "beside it), or lock what must not wait (mlock), which costs others their memory";
	default:
		return "";
	}
}

void vmat_fault_advise(struct vmat_fault_finding *finding, const struct vmat_fault_profile *profile)
{
	switch (finding->cause) {
	case VMAT_FAULT_TRIM_CHURN:
		if (is_glibc(profile))
			advise_malloc(finding, profile);
		return;
	case VMAT_FAULT_MMAP_CHURN:
		advise_mmap(finding, profile);
		return;
	case VMAT_FAULT_DONTNEED:
		advise_dontneed(finding, profile);
		return;
	default:
		snprintf(finding->advice, sizeof(finding->advice), "%s",
			 plain_advice(finding->cause));
	}
}
