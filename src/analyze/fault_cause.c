/* SPDX-License-Identifier: MIT */
/*
 * fault_cause.c: from what was seen of the places of page faults to their cause (vmatlas/fault_cause.h). What is then advised
 * stands in fault_advice.c.
 *
 * The one question that tells most: did the same pages fault again? Memory that is touched for the first time faults once a
 * page. What faults again was taken away in between, and the looks at the map say how: the address was not mapped (a mapping
 * came and went; the heap was trimmed), it was mapped and the page was absent (MADV_DONTNEED), or the page was there all the
 * time (copied after a fork, at most once a fork).
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "analyze/fault_advice.h"

/*
 * SURE_SAMPLES: from so many samples on a place is judged without a doubt for their number. AGAIN: so large a share of the
 * samples on pages that were met before is no accident; first touches have none at all.
 */
enum { SURE_SAMPLES = 32, AGAIN_MIN = 4, HUGE_BYTES = 2 << 20 };

static const double AGAIN = 0.15;

const char *vmat_fault_cause_name(enum vmat_fault_cause cause)
{
	static const char *const names[VMAT_FAULT_CAUSE_COUNT] = {
		[VMAT_FAULT_FIRST_TOUCH] = "first_touch",
		[VMAT_FAULT_MMAP_CHURN] = "mmap_churn",
		[VMAT_FAULT_TRIM_CHURN] = "trim_churn",
		[VMAT_FAULT_FORK_COPY] = "fork_copy",
		[VMAT_FAULT_FILE_READ] = "file_read",
		[VMAT_FAULT_STACK_GROWTH] = "stack_growth",
		[VMAT_FAULT_HUGE_SPLIT] = "huge_split",
		[VMAT_FAULT_DONTNEED] = "dontneed",
		[VMAT_FAULT_SWAP_IN] = "swap_in",
		[VMAT_FAULT_UNKNOWN] = "unknown",
	};

	return (unsigned)cause < VMAT_FAULT_CAUSE_COUNT ? names[cause] : "";
}

const char *vmat_fault_cause_meaning(enum vmat_fault_cause cause)
{
	static const char *const meanings[VMAT_FAULT_CAUSE_COUNT] = {
		[VMAT_FAULT_FIRST_TOUCH] = "memory is used for the first time",
		[VMAT_FAULT_MMAP_CHURN] = "mappings come and go, and each new one begins empty",
		[VMAT_FAULT_TRIM_CHURN] =
			"malloc gives the end of its heap back and takes it again",
		[VMAT_FAULT_FORK_COPY] =
			"pages that a fork has shared are copied when they are written",
		[VMAT_FAULT_FILE_READ] = "pages of mapped files are read or mapped in",
		[VMAT_FAULT_STACK_GROWTH] = "stacks grow, or belong to new threads",
		[VMAT_FAULT_HUGE_SPLIT] = "huge pages are broken up and come back in small ones",
		[VMAT_FAULT_DONTNEED] = "pages are given back (MADV_DONTNEED) and used again",
		[VMAT_FAULT_SWAP_IN] = "pages come back from swap",
		[VMAT_FAULT_UNKNOWN] = "nothing that was seen tells",
	};

	return (unsigned)cause < VMAT_FAULT_CAUSE_COUNT ? meanings[cause] : "";
}

static uint64_t samples_of(const struct vmat_fault_place *place)
{
	return place->minor + place->major;
}

static bool is_again(const struct vmat_fault_place *place)
{
	uint64_t all = samples_of(place), again = all > place->pages ? all - place->pages : 0;

	return again >= AGAIN_MIN && (double)again >= AGAIN * (double)all;
}

static double share(uint64_t part, uint64_t all)
{
	return all ? (double)part / (double)all : 0;
}

/* The bounds moved between looks, or the looks found nothing where faults had been. */
static bool is_moving(const struct vmat_fault_place *place)
{
	return place->changes > 0 || share(place->probes_unmapped, place->probes) > 0.02;
}

static bool has_forks(const struct vmat_fault_profile *profile)
{
	return vmat_is_known(profile->forks) && profile->forks > 0;
}

/* Could forks alone explain it? Each lets every page fault once; twice that allows for what was not sampled. */
static bool fits_forks(const struct vmat_fault_profile *profile,
		       const struct vmat_fault_place *place)
{
	double faults = (double)place->minor * (double)(profile->every ? profile->every : 1);

	return has_forks(profile) &&
	       faults <= 2.0 * (double)(profile->forks + 1) * (double)place->pages *
				 (double)(place->minor < 4 * place->pages && profile->every
						  ? profile->every
						  : 1);
}

static bool is_of_file(const struct vmat_fault_place *place)
{
	return place->backing == VMAT_BACKING_FILE;
}

static enum vmat_fault_cause say(enum vmat_fault_cause cause, double confidence, double *ret)
{
	*ret = confidence;
	return cause;
}

/* Huge pages come and go, and more small pages fault than there are huge ones: whole ones fault once each. */
static bool is_split(const struct vmat_fault_place *place)
{
	return place->huge.max > place->huge.min &&
	       place->pages > 4 * (place->mapped.max / HUGE_BYTES + 1);
}

/* At some look it was less than at one before. */
static bool has_fallen(const struct vmat_fault_range *range)
{
	return range->min < range->first || range->last < range->max;
}

/* Anonymous memory that faults again and again. */
static enum vmat_fault_cause cause_again(const struct vmat_fault_profile *profile,
					 const struct vmat_fault_place *place, double *ret)
{
	const bool is_heap = place->kind == VMAT_KIND_HEAP || place->kind == VMAT_KIND_ARENA;
	const double unmapped = share(place->probes_unmapped, place->probes),
		     absent = share(place->probes_absent, place->probes);

	/* A fork takes nothing away: the pages are there at each look. */
	if (fits_forks(profile, place) && unmapped < 0.02 && absent < 0.1)
		return say(VMAT_FAULT_FORK_COPY, 0.9, ret);
	if (is_heap && is_moving(place))
		return say(VMAT_FAULT_TRIM_CHURN, 0.95, ret);
	if (place->kind == VMAT_KIND_ARENA)
		return say(VMAT_FAULT_TRIM_CHURN, 0.6, ret);
	if (is_heap)
		return say(VMAT_FAULT_DONTNEED, 0.6, ret); /* malloc_trim(3) leaves the end */
	if (place->kind == VMAT_KIND_MALLOC_MMAP)
		return say(VMAT_FAULT_MMAP_CHURN, is_moving(place) ? 0.95 : 0.8, ret);
	if (is_moving(place) && (unmapped > 0.02 || !place->was_seen || absent < 0.05))
		return say(VMAT_FAULT_MMAP_CHURN, unmapped > 0.02 ? 0.9 : 0.6, ret);
	if (is_split(place))
		return say(VMAT_FAULT_HUGE_SPLIT, 0.85, ret);
	return say(VMAT_FAULT_DONTNEED, absent > 0.02 ? 0.9 : 0.5, ret);
}

/* Anonymous memory whose pages fault once each. */
static enum vmat_fault_cause cause_once(const struct vmat_fault_profile *profile,
					const struct vmat_fault_place *place, double *ret)
{
	/* Pages that another process has too can only come from a fork, of this one or of its parent. */
	if (place->shared.max && (has_forks(profile) || profile->is_forked))
		return say(VMAT_FAULT_FORK_COPY, 0.85, ret);
	/* A sample seldom meets a page twice: that the pages fault again may show only by the huge ones, which were fewer once. */
	if (place->huge.first > place->huge.last || (is_split(place) && has_fallen(&place->huge)))
		return say(VMAT_FAULT_HUGE_SPLIT, 0.7, ret);
	if (!place->was_seen)
		return say(VMAT_FAULT_MMAP_CHURN, 0.6, ret);
	return say(VMAT_FAULT_FIRST_TOUCH, place->present.last > place->present.first ? 0.95 : 0.7,
		   ret);
}

static enum vmat_fault_cause cause_of(const struct vmat_fault_profile *profile,
				      const struct vmat_fault_place *place, double *ret)
{
	switch (place->backing) {
	case VMAT_BACKING_DEVICE:
	case VMAT_BACKING_KERNEL:
		return say(VMAT_FAULT_UNKNOWN, 0, ret);
	case VMAT_BACKING_HUGETLB:
	case VMAT_BACKING_SHMEM:
	case VMAT_BACKING_MEMFD:
		if (place->major)
			return say(VMAT_FAULT_SWAP_IN, 0.8, ret);
		if (!is_again(place))
			return say(VMAT_FAULT_FIRST_TOUCH, 0.8, ret);
		return is_moving(place) ? say(VMAT_FAULT_MMAP_CHURN, 0.8, ret)
					: say(VMAT_FAULT_DONTNEED, 0.5, ret);
	default:
		break;
	}
	if (is_of_file(place)) {
		if (fits_forks(profile, place) && is_again(place) &&
		    share(place->probes_copied, place->probes) > 0.5)
			return say(VMAT_FAULT_FORK_COPY, 0.8, ret);
		return say(VMAT_FAULT_FILE_READ, 0.95, ret);
	}
	/* Nothing but swap makes anonymous memory wait for a disk. */
	if (place->major && (place->swapped.max || place->major * 4 >= place->minor))
		return say(VMAT_FAULT_SWAP_IN, place->swapped.max ? 0.95 : 0.8, ret);
	if (place->kind == VMAT_KIND_STACK) {
		if (is_again(place) && fits_forks(profile, place) && !profile->threads_begun)
			return say(VMAT_FAULT_FORK_COPY, 0.8, ret);
		return say(VMAT_FAULT_STACK_GROWTH, 0.9, ret);
	}
	return is_again(place) ? cause_again(profile, place, ret) : cause_once(profile, place, ret);
}

enum vmat_fault_cause vmat_fault_place_cause(const struct vmat_fault_profile *profile,
					     const struct vmat_fault_place *place,
					     double *ret_confidence)
{
	enum vmat_fault_cause cause = cause_of(profile, place, ret_confidence);
	uint64_t samples = samples_of(place);

	if (samples < SURE_SAMPLES)
		*ret_confidence *= (double)(samples + SURE_SAMPLES) / (2 * SURE_SAMPLES);
	return cause;
}

/* What judging goes on with: sums over the places of each cause. */
struct sums {
	uint64_t minor, major;
	uint64_t samples;
	double confidence; /* weighted by samples */
	size_t place, places_count;
};

static void add_text(char *text, size_t size, const char *format, ...) VMAT_PRINTF(3, 4);

static void add_text(char *text, size_t size, const char *format, ...)
{
	size_t used = strlen(text);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text + used, size - used, format, arguments);
	va_end(arguments);
}

static void describe_pages(struct vmat_fault_finding *finding, const struct vmat_fault_place *place)
{
	uint64_t samples = samples_of(place);

	if (is_again(place))
		add_text(finding->evidence, sizeof(finding->evidence),
			 "; %" PRIu64 " samples fell on %" PRIu64
			 " pages, so the same pages fault again",
			 samples, place->pages);
	else
		add_text(finding->evidence, sizeof(finding->evidence),
			 "; %" PRIu64 " samples fell on %" PRIu64 " different pages", samples,
			 place->pages);
}

static void describe_looks(struct vmat_fault_finding *finding,
			   const struct vmat_fault_profile *profile,
			   const struct vmat_fault_place *place)
{
	char *to = finding->evidence;
	const size_t size = sizeof(finding->evidence);

	if (place->changes)
		add_text(to, size,
			 "; its size changed at %" PRIu64 " of %" PRIu64 " looks, between %" PRIu64
			 " and %" PRIu64 " KiB",
			 place->changes, place->looks, place->mapped.min >> 10,
			 place->mapped.max >> 10);
	if (place->probes_unmapped)
		add_text(to, size,
			 "; of %" PRIu64 " pages looked at after their fault, %" PRIu64
			 " were not mapped any more",
			 place->probes, place->probes_unmapped);
	if (place->probes_absent)
		add_text(to, size,
			 "; of %" PRIu64 " pages looked at after their fault, %" PRIu64
			 " were gone although mapped",
			 place->probes, place->probes_absent);
	if (finding->cause == VMAT_FAULT_FORK_COPY && has_forks(profile))
		add_text(to, size, "; it forked %" PRIu64 " times", profile->forks);
	if (finding->cause == VMAT_FAULT_FORK_COPY && profile->is_forked)
		add_text(to, size, "; it was forked and has executed no program since");
	if (finding->cause == VMAT_FAULT_FORK_COPY && place->shared.max)
		add_text(to, size, "; up to %" PRIu64 " KiB of it were shared with a fork",
			 place->shared.max >> 10);
	if (finding->cause == VMAT_FAULT_HUGE_SPLIT)
		add_text(to, size,
			 "; between %" PRIu64 " and %" PRIu64 " KiB of it were huge pages",
			 place->huge.min >> 10, place->huge.max >> 10);
	if (finding->cause == VMAT_FAULT_SWAP_IN)
		add_text(to, size, "; up to %" PRIu64 " KiB of it were in swap",
			 place->swapped.max >> 10);
	if (finding->cause == VMAT_FAULT_STACK_GROWTH && vmat_is_known(profile->threads_begun))
		add_text(to, size, "; %" PRIu64 " threads began", profile->threads_begun);
	if (finding->cause == VMAT_FAULT_FILE_READ && place->probes_copied)
		add_text(to, size, "; of %" PRIu64 " pages looked at, %" PRIu64 " were copied",
			 place->probes, place->probes_copied);
}

static void describe_malloc(struct vmat_fault_finding *finding,
			    const struct vmat_fault_profile *profile)
{
	const struct vmat_heap_settings *heap = &profile->heap;

	if (!vmat_is_known(heap->mmap_threshold) || !vmat_is_known(heap->trim_threshold))
		return;
	add_text(finding->evidence, sizeof(finding->evidence),
		 "; M_MMAP_THRESHOLD is %" PRIu64 " KiB, M_TRIM_THRESHOLD ",
		 heap->mmap_threshold >> 10);
	if (heap->trim_threshold < INT64_MAX)
		add_text(finding->evidence, sizeof(finding->evidence), "%" PRIu64 " KiB",
			 heap->trim_threshold >> 10);
	else
		add_text(finding->evidence, sizeof(finding->evidence), "off");
	add_text(finding->evidence, sizeof(finding->evidence), "%s",
		 heap->has_fixed_thresholds ? ": fixed, for a parameter of malloc was set" : "");
}

static void describe(struct vmat_fault_finding *finding, const struct vmat_fault_profile *profile)
{
	const struct vmat_fault_place *place = &profile->places[finding->place];

	snprintf(finding->evidence, sizeof(finding->evidence),
		 "%s%s%.60s at 0x%" PRIx64 "-0x%" PRIx64,
		 place->was_seen ? vmat_kind_name(place->kind) : "nothing that a look found mapped",
		 place->owner[0] ? ", " : "", place->owner, place->start, place->end);
	if (finding->places_count > 1)
		add_text(finding->evidence, sizeof(finding->evidence), " and %zu more",
			 finding->places_count - 1);
	describe_pages(finding, place);
	describe_looks(finding, profile, place);
	if (finding->cause == VMAT_FAULT_TRIM_CHURN || finding->cause == VMAT_FAULT_MMAP_CHURN)
		describe_malloc(finding, profile);
}

/* Faults that no sample stands for: of system calls, of threads that lived too short. Only told when it is many. */
static void add_unseen(struct vmat_fault_findings *ret, const struct vmat_fault_profile *profile,
		       uint64_t unseen)
{
	struct vmat_fault_finding *finding = NULL;

	for (size_t i = 0; i < ret->count; i++) {
		if (ret->findings[i].cause == VMAT_FAULT_UNKNOWN)
			finding = &ret->findings[i];
	}
	if (!finding) {
		finding = &ret->findings[ret->count++];
		*finding = (struct vmat_fault_finding){ .cause = VMAT_FAULT_UNKNOWN,
							.place = profile->places_count };
	}
	finding->minor += unseen;
	add_text(finding->evidence, sizeof(finding->evidence),
		 "%s%" PRIu64 " faults have no samples: %sthe kernel filled them in itself "
		 "(MAP_POPULATE, mlock), or their threads ended before a sample was due",
		 finding->evidence[0] ? "; " : "", unseen,
		 profile->has_kernel
			 ? ""
			 : "system calls touched the pages, which only CAP_PERFMON shows; ");
	snprintf(
		finding->advice, sizeof(finding->advice), "%s",
		profile->has_kernel
			? "watch again with --every 1: then short threads are seen, too"
			: "watch again with --every 1 and with CAP_PERFMON: then short threads and system "
			  "calls are seen, too");
}

static bool has_more(const struct vmat_fault_finding *a, const struct vmat_fault_finding *b)
{
	/* A major fault waits for a disk: it weighs as a thousand others. */
	return (double)a->minor + 1000.0 * (double)a->major >
	       (double)b->minor + 1000.0 * (double)b->major;
}

static void sort(struct vmat_fault_findings *findings)
{
	for (size_t i = 1; i < findings->count; i++) {
		struct vmat_fault_finding finding = findings->findings[i];
		size_t k = i;

		for (; k && has_more(&finding, &findings->findings[k - 1]); k--)
			findings->findings[k] = findings->findings[k - 1];
		findings->findings[k] = finding;
	}
}

static void judge_without_samples(struct vmat_fault_findings *ret,
				  const struct vmat_fault_profile *profile)
{
	struct vmat_fault_finding *finding = &ret->findings[0];

	if (!profile->minor && !profile->major)
		return;
	ret->count = 1;
	*finding = (struct vmat_fault_finding){ .cause = VMAT_FAULT_UNKNOWN,
						.minor = profile->minor,
						.major = profile->major,
						.place = profile->places_count };
	snprintf(finding->evidence, sizeof(finding->evidence), "only counted, not sampled%s%.500s",
		 profile->why_no_samples[0] ? ": " : "", profile->why_no_samples);
}

static void sum_places(struct sums sums[VMAT_FAULT_CAUSE_COUNT],
		       const struct vmat_fault_profile *profile)
{
	for (size_t i = 0; i < profile->places_count; i++) {
		const struct vmat_fault_place *place = &profile->places[i];
		uint64_t samples = samples_of(place);
		double confidence;
		struct sums *sum = &sums[vmat_fault_place_cause(profile, place, &confidence)];

		/* The places come with most samples first. */
		if (!sum->places_count++)
			sum->place = i;
		sum->minor += place->minor;
		sum->major += place->major;
		sum->samples += samples;
		sum->confidence += confidence * (double)samples;
	}
}

void vmat_fault_judge(struct vmat_fault_findings *ret, const struct vmat_fault_profile *profile)
{
	struct sums sums[VMAT_FAULT_CAUSE_COUNT] = { { 0 } };
	uint64_t unseen = vmat_fault_unseen(profile);

	*ret = (struct vmat_fault_findings){ .count = 0 };
	if (!profile->places_count && !unseen) {
		judge_without_samples(ret, profile);
		return;
	}
	sum_places(sums, profile);
	for (size_t i = 0; i < VMAT_FAULT_CAUSE_COUNT; i++) {
		struct vmat_fault_finding *finding = &ret->findings[ret->count];

		if (!sums[i].places_count)
			continue;
		ret->count++;
		*finding = (struct vmat_fault_finding){ .cause = (enum vmat_fault_cause)i,
							.major = sums[i].major,
							.confidence = sums[i].confidence /
								      (double)sums[i].samples,
							.place = sums[i].place,
							.places_count = sums[i].places_count };
		finding->minor = sums[i].minor ? vmat_fault_estimate(profile, sums[i].minor,
								     &finding->minor_error)
					       : 0;
		describe(finding, profile);
		vmat_fault_advise(finding, profile);
	}
	if (unseen)
		add_unseen(ret, profile, unseen);
	sort(ret);
}
