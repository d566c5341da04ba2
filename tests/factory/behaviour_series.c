/* SPDX-License-Identifier: MIT */
#include "behaviour_series.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE         4096.0
#define MIB          (1024.0 * 1024)
#define MALLOC_PIECE 135168.0
#define TWO_PI       6.28318530717958648

/* splitmix64: the same numbers everywhere. */
static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static double uniform(uint64_t *state, double from, double to)
{
	return from + (to - from) * (double)(random_next(state) >> 11) * 0x1p-53;
}

/* Nearly normal: the sum of twelve. */
static double normal(uint64_t *state)
{
	double sum = -6;

	for (int i = 0; i < 12; i++)
		sum += uniform(state, 0, 1);
	return sum;
}

static bool chance(uint64_t *state, double probability)
{
	return uniform(state, 0, 1) < probability;
}

/* What a process is, apart from its behaviour. */
struct process {
	uint64_t random;
	size_t count;
	double interval_s, rate; /* rate: of its growth, bytes per second */

	double base; /* held from the start */
	double memory, memory_factor,
		memory_step; /* of requests: wanders back to 0 within some samples */
	double walk, walk_step, walk_bound;
	double spike_share, spike;
	double garbage_rate, garbage, garbage_limit; /* of a collector */
	double file, file_step;
	double piece; /* it grows by such pieces */
	double regions, threads;
	bool has_heap, has_kinds, has_swap;
	double a, b, c; /* 0 to 1: the behaviour's own */
	size_t at, at2; /* likewise, samples */

	double data_high, faults, cpu_ns, held_before;
};

/* What it adds up to in one sample. */
struct now {
	double held;            /* resident anonymous memory and swap, noise included */
	double arenas, arena;   /* number, bytes held */
	double threads, stacks; /* more than at first */
	double regions;         /* likewise */
	double mapped_anon, mapped_file, untouched; /* bytes of address space */
	double free; /* bytes of the heap that are free, in its midst */
	double fault_rate, cpu_share;
};

static void process_init(struct process *p, uint64_t seed, double rate)
{
	uint64_t *r = &p->random;

	memset(p, 0, sizeof(*p));
	p->random = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
	p->rate = rate;
	p->count = (size_t)uniform(r, 240, 1500);
	p->interval_s = chance(r, 0.5) ? 1 : uniform(r, 0.2, 60);
	p->base = MIB * exp(uniform(r, log(5), log(500)));
	p->memory_factor = 1 - 1 / uniform(r, 1.5, (double)p->count / 30);
	p->memory_step = p->base * exp(uniform(r, log(1e-4), log(1e-2)));
	if (chance(r, 0.3)) {
		p->walk_step = p->base * exp(uniform(r, log(1e-4), log(2e-3)));
		p->walk_bound = p->walk_step * uniform(r, 3, 8);
	}
	if (chance(r, 0.4)) {
		p->spike_share = uniform(r, 0.002, 0.05);
		p->spike = p->base * uniform(r, 0.02, 0.5);
	}
	p->file = MIB * uniform(r, 2, 40);
	p->file_step = chance(r, 0.5) ? MIB * uniform(r, 0, 0.5) : 0;
	p->has_kinds = chance(r, 0.8);
	p->has_heap = chance(r, 0.2);
	p->has_swap = chance(r, 0.15);
	p->regions = floor(uniform(r, 40, 2000));
	p->threads = floor(uniform(r, 1, 40));
	p->piece = PAGE;
	p->a = uniform(r, 0, 1);
	p->b = uniform(r, 0, 1);
	p->c = uniform(r, 0, 1);
	p->at = (size_t)uniform(r, 0.05 * (double)p->count, 0.95 * (double)p->count);
	p->at2 = (size_t)uniform(r, 0.05 * (double)p->count, 0.95 * (double)p->count);
}

/* Requests, a collector, spikes. */
static double held_by_requests(struct process *p)
{
	uint64_t *r = &p->random;
	double held;

	p->memory = p->memory * p->memory_factor + normal(r) * p->memory_step;
	p->walk += normal(r) * p->walk_step;
	if (p->walk > p->walk_bound)
		p->walk = 2 * p->walk_bound - p->walk;
	if (p->walk < -p->walk_bound)
		p->walk = -2 * p->walk_bound - p->walk;
	if (p->garbage_rate > 0) {
		p->garbage += p->garbage_rate * uniform(r, 0.5, 1.5);
		if (p->garbage > p->garbage_limit * uniform(r, 0.9, 1.1))
			p->garbage = p->garbage_limit * uniform(r, 0, 0.05);
	}
	held = p->base + p->memory + p->walk + p->garbage;
	if (chance(r, p->spike_share))
		held += p->spike * uniform(r, 0, 1);
	return fmax(held, MIB);
}

static double progress(const struct process *p, size_t i)
{
	return (double)i / (double)p->count;
}

static double grown(const struct process *p, size_t i)
{
	return floor(p->rate * (double)i * p->interval_s / p->piece) * p->piece;
}

/* The behaviours. Each is called once for a sample, after now->held has the noise. */

static void be_flat(struct process *p, struct now *now, size_t i)
{
	(void)i;
	now->held = p->base;
	p->file_step = 0;
}

static void be_noisy(struct process *p, struct now *now, size_t i)
{
	now->held += grown(p, i);
}

static void be_collected(struct process *p, struct now *now, size_t i)
{
	now->held += grown(p, i);
	if (i)
		return;
	p->garbage_limit = p->base * (0.2 + 1.8 * p->c);
	p->garbage_rate = p->garbage_limit / (double)p->count * (5 + 60 * p->a * p->a);
}

static void be_cyclic(struct process *p, struct now *now, size_t i)
{
	double periods = 3.5 + 8 * p->a, phase = TWO_PI * (p->b + periods * progress(p, i));
	double height = p->base * (0.05 + 0.5 * p->c);

	/* Days are no sines: quiet nights, a rise, a fall. */
	now->held += p->at % 2 ? height * sin(phase)
			       : height * (fmax(sin(phase), -0.3) + 0.2 * sin(2 * phase));
	now->held += grown(p, i);
}

static void be_warming(struct process *p, struct now *now, size_t i)
{
	double size = p->base * (0.2 + 2 * p->b), at = progress(p, i);
	double end = 0.05 + (p->rate > 0 ? 0.15 : 0.4) * p->a;

	now->held += p->at % 2 ? size * fmin(at / end, 1) : size * (1 - exp(-5 * at / end));
	now->held += grown(p, i);
}

static void be_step(struct process *p, struct now *now, size_t i)
{
	now->held += i >= p->at ? p->base * (0.02 + p->a) : 0;
}

static void be_two_steps(struct process *p, struct now *now, size_t i)
{
	now->held += i >= p->at ? p->base * (0.1 + p->a) : 0;
	now->held += i >= p->at2 ? p->base * (0.1 + p->b) * (p->c < 0.3 ? -0.5 : 1) : 0;
}

static void be_shrinking(struct process *p, struct now *now, size_t i)
{
	now->held += p->base * (1 + p->a) * (1 - progress(p, i));
}

static void be_cache(struct process *p, struct now *now, size_t i)
{
	double constant = 0.25 + 0.3 * p->a;

	now->held += p->base * (0.5 + 3 * p->b) * (1 - exp(-progress(p, i) / constant));
}

/* In 12 to 32 pieces over the span: buffers, tables, heaps of a program's own allocator. */
static void be_piecewise(struct process *p, struct now *now, size_t i)
{
	double all = p->rate * (double)p->count * p->interval_s;

	p->piece = fmax(PAGE * floor(all / (12 + 20 * p->a) / PAGE), PAGE);
	now->held += grown(p, i);
}

static void be_fragmenting(struct process *p, struct now *now, size_t i)
{
	p->has_heap = true;
	now->held += grown(p, i);
	now->free = grown(p, i);
}

static void be_arenas(struct process *p, struct now *now, size_t i)
{
	p->has_kinds = true;
	now->arenas = floor(progress(p, i) * (10 + 50 * p->b));
	now->arena = now->arenas * PAGE * floor(70 + 800 * p->a);
	now->free = now->arena * 0.8;
	now->held += now->arena;
	now->regions = 2 * now->arenas;
}

static void be_stacks(struct process *p, struct now *now, size_t i)
{
	now->stacks = floor(progress(p, i) * (8 + 200 * p->a));
	now->held += now->stacks * 3 * PAGE;
	now->regions = 2 * now->stacks;
}

static void be_threads(struct process *p, struct now *now, size_t i)
{
	be_stacks(p, now, i);
	now->threads = now->stacks;
}

static void be_unjoined(struct process *p, struct now *now, size_t i)
{
	p->has_kinds = true;
	be_stacks(p, now, i);
}

static void be_mapping(struct process *p, struct now *now, size_t i)
{
	now->regions = floor(progress(p, i) * (10 + 2000 * p->a));
	now->mapped_file = now->regions * PAGE * floor(1 + 100 * p->b);
}

static void be_mapping_touched(struct process *p, struct now *now, size_t i)
{
	now->regions = floor(progress(p, i) * (20 + 2000 * p->a));
	now->mapped_anon = now->regions * PAGE * floor(10 + 300 * p->b);
	now->held += now->mapped_anon;
}

static void be_untouched(struct process *p, struct now *now, size_t i)
{
	now->untouched = MIB * floor(progress(p, i) * (10 + 500 * p->a));
}

static void be_churning(struct process *p, struct now *now, size_t i)
{
	(void)i;
	now->fault_rate = 2000 + 200000 * p->a * p->a;
	now->cpu_share = fmin(now->fault_rate * 2e-6 * (1 + 1.5 * p->b), 4);
}

static void be_trimming(struct process *p, struct now *now, size_t i)
{
	be_churning(p, now, i);
	now->held += (double)(random_next(&p->random) % 64) * MALLOC_PIECE;
}

/* A sample meets some of the files that come and go. */
static void be_mapping_files(struct process *p, struct now *now, size_t i)
{
	be_churning(p, now, i);
	now->regions = (double)(random_next(&p->random) % 4);
	now->mapped_file = now->regions * PAGE * floor(1 + 2000 * p->b);
}

static void be_starting_threads(struct process *p, struct now *now, size_t i)
{
	p->has_kinds = p->c > 0.5;
	be_churning(p, now, i);
	now->threads = now->stacks = (double)(random_next(&p->random) % 5);
	now->held += now->stacks * floor(3 + 60 * p->b) * PAGE;
	now->regions = 2 * now->stacks;
}

/* What was given back of huge pages is away for a part of the time. */
static void be_splitting(struct process *p, struct now *now, size_t i)
{
	be_churning(p, now, i);
	now->held += 32 * MIB - (double)(random_next(&p->random) % 16) * MIB;
}

const struct behaviour behaviours[] = {
	{ "flat", VMAT_VERDICT_STABLE, be_flat, 0, WHOLE },
	{ "noisy", VMAT_VERDICT_STABLE, be_noisy, 0, WHOLE },
	{ "collected garbage", VMAT_VERDICT_STABLE, be_collected, 0, WHOLE },
	{ "daily cycle", VMAT_VERDICT_STABLE, be_cyclic, 0, WHOLE },
	{ "warm-up, then plateau", VMAT_VERDICT_STABLE, be_warming, 0, WHOLE },
	{ "step", VMAT_VERDICT_STABLE, be_step, 0, WHOLE },
	{ "two steps", VMAT_VERDICT_STABLE, be_two_steps, 0, WHOLE },
	{ "shrinking", VMAT_VERDICT_STABLE, be_shrinking, 0, WHOLE },
	{ "gaps, sleep, exec", VMAT_VERDICT_STABLE, be_noisy, 0, WITH_GAPS },
	{ "cache to a bound", VMAT_VERDICT_CACHE_FILLING, be_cache, 0, WHOLE },
	{ "slow leak", VMAT_VERDICT_LEAK, be_noisy, 2, WHOLE },
	{ "fast leak", VMAT_VERDICT_LEAK, be_noisy, 20, WHOLE },
	{ "leak in pieces", VMAT_VERDICT_LEAK, be_piecewise, 2, WHOLE },
	{ "leak under a cycle", VMAT_VERDICT_LEAK, be_cyclic, 2, WHOLE },
	{ "leak under garbage", VMAT_VERDICT_LEAK, be_collected, 2, WHOLE },
	{ "leak after a warm-up", VMAT_VERDICT_LEAK, be_warming, 2, WHOLE },
	{ "leak with gaps", VMAT_VERDICT_LEAK, be_noisy, 2, WITH_GAPS },
	{ "fragmentation", VMAT_VERDICT_FRAGMENTATION, be_fragmenting, 4, WHOLE },
	{ "arena bloat", VMAT_VERDICT_FRAGMENTATION, be_arenas, 0, WHOLE },
	{ "thread leak", VMAT_VERDICT_STACKS, be_threads, 0, WHOLE },
	{ "stacks not joined", VMAT_VERDICT_STACKS, be_unjoined, 0, WHOLE },
	{ "mapping leak", VMAT_VERDICT_MAPPINGS, be_mapping, 0, WHOLE },
	{ "mapping leak, touched", VMAT_VERDICT_MAPPINGS, be_mapping_touched, 0, WHOLE },
	{ "memory never touched", VMAT_VERDICT_MAPPINGS, be_untouched, 0, WHOLE },
	{ "churn of mappings", VMAT_VERDICT_FAULT_CHURN, be_churning, 0, WHOLE },
	{ "churn of trims", VMAT_VERDICT_FAULT_CHURN, be_trimming, 0, WHOLE },
	{ "churn of files", VMAT_VERDICT_FAULT_CHURN, be_mapping_files, 0, WHOLE },
	{ "churn of stacks", VMAT_VERDICT_FAULT_CHURN, be_starting_threads, 0, WHOLE },
	{ "churn of huge pages", VMAT_VERDICT_FAULT_CHURN, be_splitting, 0, WHOLE },
};

const size_t behaviours_count = sizeof(behaviours) / sizeof(*behaviours);

static uint64_t in_pages(double bytes)
{
	return (uint64_t)(bytes / PAGE) * 4096;
}

/* malloc's heap never gets smaller here: its top is held. */
static double heap_size(struct process *p, const struct now *now)
{
	double heap = now->held - now->arena - now->mapped_anon;

	if (heap > p->data_high)
		p->data_high = ceil(heap / MALLOC_PIECE) * MALLOC_PIECE;
	return p->data_high;
}

static void fill_kinds(struct vmat_sample *sample, const struct process *p, const struct now *now)
{
	double heap = now->held - now->arena - now->mapped_anon - now->stacks * 3 * PAGE;
	struct vmat_kind_sample *kinds = sample->kinds;

	for (unsigned kind = 0; kind < VMAT_KIND_COUNT; kind++)
		kinds[kind] = (struct vmat_kind_sample){ 0, 0, 0 };
	kinds[VMAT_KIND_HEAP] =
		(struct vmat_kind_sample){ 1, in_pages(p->data_high), in_pages(heap) };
	kinds[VMAT_KIND_ARENA] =
		(struct vmat_kind_sample){ (uint64_t)now->arenas, in_pages(now->arena),
					   in_pages(now->arena) };
	kinds[VMAT_KIND_STACK] = (struct vmat_kind_sample){
		(uint64_t)(p->threads + now->stacks),
		(uint64_t)(p->threads + now->stacks) << 23,
		in_pages((p->threads + now->stacks) * 3 * PAGE),
	};
	kinds[VMAT_KIND_ANON] =
		(struct vmat_kind_sample){ 20 + (now->mapped_anon > 0 ? (uint64_t)now->regions : 0),
					   in_pages(10 * MIB + now->mapped_anon + now->untouched),
					   in_pages(now->mapped_anon) };
	kinds[VMAT_KIND_FILE] =
		(struct vmat_kind_sample){ 5 + (now->mapped_file > 0 ? (uint64_t)now->regions : 0),
					   in_pages(MIB + now->mapped_file), 0 };
}

static void fill(struct vmat_sample *sample, struct process *p, struct now *now, size_t i)
{
	double swapped = p->has_swap && i > p->at2 ? now->held * 0.1 * p->b : 0;
	double heap = heap_size(p, now), stacks = (p->threads + now->stacks) * 8392704;
	uint64_t *values = sample->values;

	p->file = fmax(p->file + normal(&p->random) * p->file_step, MIB);
	p->faults += now->fault_rate * p->interval_s +
		     fmax(now->held - p->held_before, 0) / PAGE * (i ? 1 : 0);
	p->cpu_ns += now->cpu_share * p->interval_s * 1e9;
	p->held_before = now->held;
	values[VMAT_METRIC_RSS_ANON] = in_pages(now->held - swapped);
	values[VMAT_METRIC_SWAP] = in_pages(swapped);
	values[VMAT_METRIC_RSS_FILE] = in_pages(p->file);
	values[VMAT_METRIC_RSS_SHMEM] = 0;
	values[VMAT_METRIC_RSS] = values[VMAT_METRIC_RSS_ANON] + values[VMAT_METRIC_RSS_FILE];
	values[VMAT_METRIC_DATA] =
		in_pages(heap + now->arena + now->mapped_anon + now->untouched + stacks + 10 * MIB);
	values[VMAT_METRIC_SIZE] =
		values[VMAT_METRIC_DATA] +
		in_pages(now->arenas * 64 * MIB - now->arena + now->mapped_file + 60 * MIB);
	values[VMAT_METRIC_REGIONS] = (uint64_t)(p->regions + now->regions);
	values[VMAT_METRIC_THREADS] = (uint64_t)(p->threads + now->threads);
	values[VMAT_METRIC_FAULTS_MINOR] = (uint64_t)p->faults;
	values[VMAT_METRIC_FAULTS_MAJOR] = 0;
	values[VMAT_METRIC_CPU_NS] = (uint64_t)p->cpu_ns;
	if (p->has_heap && i % 50 == 0) {
		double in_use = 0.9 * (now->held - now->mapped_anon - now->free);

		values[VMAT_METRIC_HEAP_SYSTEM] = in_pages(heap + now->arena);
		values[VMAT_METRIC_HEAP_IN_USE] = in_pages(in_use);
		values[VMAT_METRIC_HEAP_FREE] = in_pages(heap + now->arena - in_use);
	}
	if (p->has_kinds && i % 10 == 0)
		fill_kinds(sample, p, now);
}

static void *make_array(size_t count, size_t size)
{
	void *array = calloc(count, size);

	if (!array)
		abort();
	return array;
}

static void sample_empty(struct vmat_sample *sample)
{
	memset(sample, 0, sizeof(*sample));
	for (unsigned metric = 0; metric < VMAT_METRIC_COUNT; metric++)
		sample->values[metric] = VMAT_UNKNOWN(VMAT_NOT_ASKED);
	for (unsigned kind = 0; kind < VMAT_KIND_COUNT; kind++)
		sample->kinds[kind] = (struct vmat_kind_sample){ VMAT_UNKNOWN(VMAT_NOT_ASKED),
								 VMAT_UNKNOWN(VMAT_NOT_ASKED),
								 VMAT_UNKNOWN(VMAT_NOT_ASKED) };
}

/* Sleep with a jump behind it, time without samples with another, and another program before all of it. */
static void put_gaps(struct vmat_series *series, const struct process *p)
{
	size_t exec = series->samples_count / 8, slept = series->samples_count / 2,
	       gap = series->samples_count * 3 / 4;
	uint64_t shift_ns = 0, jump;

	for (size_t i = 0; i < series->samples_count; i++) {
		struct vmat_sample *sample = &series->samples[i];

		if (i == gap)
			shift_ns = (uint64_t)(p->interval_s * 1e9) * series->samples_count / 3;
		sample->mono_ns += shift_ns;
		jump = in_pages(p->base * (i >= gap     ? p->a + p->b
					   : i >= slept ? p->a
					   : i < exec   ? 3
							: 0));
		sample->values[VMAT_METRIC_RSS_ANON] += jump;
		sample->values[VMAT_METRIC_RSS] += jump;
		sample->values[VMAT_METRIC_DATA] += jump;
		sample->values[VMAT_METRIC_SIZE] += jump;
	}
	series->events = make_array(2, sizeof(*series->events));
	series->events[0].type = VMAT_EVENT_EXEC;
	series->events[0].mono_ns = series->samples[exec].mono_ns - 1;
	series->events[1].type = VMAT_EVENT_SLEPT;
	series->events[1].mono_ns = series->samples[slept].mono_ns - 1;
	series->events_count = 2;
}

void behaviour_make(struct vmat_series *ret, const struct behaviour *behaviour, uint64_t seed,
		    double rate)
{
	struct process p;

	process_init(&p, seed * 31 + (uint64_t)(behaviour - behaviours), rate);
	memset(ret, 0, sizeof(*ret));
	ret->pid = 1000;
	snprintf(ret->name, sizeof(ret->name), "made");
	ret->interval_ns = (uint64_t)(p.interval_s * 1e9);
	ret->samples_count = p.count;
	ret->samples = make_array(p.count, sizeof(*ret->samples));
	for (size_t i = 0; i < p.count; i++) {
		struct vmat_sample *sample = &ret->samples[i];
		struct now now = { .held = held_by_requests(&p),
				   .fault_rate = 50,
				   .cpu_share = 0.2 };

		sample_empty(sample);
		sample->mono_ns = (uint64_t)((double)i * p.interval_s * 1e9) + UINT64_C(1000000000);
		sample->boot_ns = sample->wall_ns = sample->mono_ns;
		behaviour->be(&p, &now, i);
		fill(sample, &p, &now, i);
	}
	if (behaviour->gaps == WITH_GAPS)
		put_gaps(ret, &p);
}

void behaviour_free(struct vmat_series *series)
{
	free(series->samples);
	free(series->events);
}

double behaviour_rate(const struct behaviour *behaviour, uint64_t seed, double share)
{
	struct vmat_judgement judgement;
	struct vmat_series series;
	double least;

	if (!(behaviour->floors > 0))
		return 0;
	behaviour_make(&series, behaviour, seed, 0);
	vmat_judge(&judgement, &series);
	/* Twelve pages at least: a page is the smallest piece of memory that there is. */
	least = 12 * PAGE / ((double)series.interval_ns / 1e9 * (double)series.samples_count);
	behaviour_free(&series);
	return fmax(judgement.floor_bytes_per_s * behaviour->floors, least) * share;
}
