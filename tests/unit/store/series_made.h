/* SPDX-License-Identifier: MIT */
/*
 * series_made.h: samples that a test makes up, from a number: the same number makes the same sample.
 */
#ifndef VMAT_SERIES_MADE_H
#define VMAT_SERIES_MADE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/store.h>

#define MADE_SECOND 1000000000ULL

/* splitmix64: a number that is well mixed of one that is not. */
static inline uint64_t made_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/*
 * The sample of process `who` at second `at`. Facts that change seldom in life change seldom here; kinds are read at every
 * `kinds_every`-th second, 0: never.
 */
static inline struct vmat_sample made_sample(uint32_t who, uint64_t at, uint64_t kinds_every)
{
	struct vmat_sample sample;
	const uint64_t noise = made_mix(who * 1000003ULL + at), epoch = at / 10;
	const uint64_t after = who * 300000ULL + noise % 50000;

	memset(&sample, 0, sizeof(sample));
	sample.mono_ns = (1000 + at) * MADE_SECOND + after;
	sample.boot_ns = sample.mono_ns + 77 * MADE_SECOND;
	sample.wall_ns = sample.mono_ns + 1700000000 * MADE_SECOND;
	sample.values[VMAT_METRIC_SIZE] = (1ULL << 31) + 4096 * (made_mix(who + epoch) % 5000);
	sample.values[VMAT_METRIC_DATA] = (1ULL << 29) + 4096 * (made_mix(who + epoch) % 5000);
	sample.values[VMAT_METRIC_RSS_ANON] = (1ULL << 28) + 4096 * (noise % 20000);
	sample.values[VMAT_METRIC_RSS_FILE] = (1ULL << 26) + 4096 * epoch;
	sample.values[VMAT_METRIC_RSS_SHMEM] = 4096 * (uint64_t)who;
	sample.values[VMAT_METRIC_RSS] = sample.values[VMAT_METRIC_RSS_ANON] +
					 sample.values[VMAT_METRIC_RSS_FILE] +
					 sample.values[VMAT_METRIC_RSS_SHMEM];
	sample.values[VMAT_METRIC_SWAP] = at % 50 ? 0 : VMAT_UNKNOWN(VMAT_NOT_PERMITTED);
	sample.values[VMAT_METRIC_PAGE_TABLES] = 4096 * (300 + epoch % 100);
	sample.values[VMAT_METRIC_REGIONS] = 400 + epoch % 7;
	sample.values[VMAT_METRIC_THREADS] = 12 + epoch % 2;
	sample.values[VMAT_METRIC_FAULTS_MINOR] = 100000 + 137 * at;
	sample.values[VMAT_METRIC_FAULTS_MAJOR] = at / 100;
	sample.values[VMAT_METRIC_CPU_NS] = at * 30000000 + noise % 1000000;
	for (int i = VMAT_METRIC_HEAP_SYSTEM; i < VMAT_METRIC_COUNT; i++)
		sample.values[i] = VMAT_UNKNOWN(at % 30 ? VMAT_NOT_ASKED : VMAT_CHANGED);
	for (size_t i = 0; i < VMAT_KIND_COUNT; i++) {
		const uint64_t now = kinds_every ? at / kinds_every : 0;

		sample.kinds[i].count = sample.kinds[i].size = sample.kinds[i].rss =
			VMAT_UNKNOWN(VMAT_NOT_ASKED);
		if (!kinds_every || at % kinds_every)
			continue;
		/* Most kinds stay as they are; the heap grows, and one has gone. */
		sample.kinds[i].count = i == VMAT_KIND_JIT && now % 3 ? 0 : 1 + i;
		sample.kinds[i].size = (i + 1) * 1048576 + (i == VMAT_KIND_HEAP ? now * 135168 : 0);
		sample.kinds[i].rss = i == VMAT_KIND_HUGETLB ? VMAT_UNKNOWN(VMAT_INVISIBLE)
							     : sample.kinds[i].size / 2;
	}
	return sample;
}

static inline struct vmat_series made_process(uint32_t who)
{
	struct vmat_series series;

	memset(&series, 0, sizeof(series));
	series.pid = 1000 + who;
	series.start_ns = who * MADE_SECOND;
	series.interval_ns = MADE_SECOND;
	snprintf(series.name, sizeof(series.name), "made%u", who);
	snprintf(series.command, sizeof(series.command), "/usr/bin/made --number=%u", who);
	return series;
}

static inline bool made_is_same(const struct vmat_sample *a, const struct vmat_sample *b)
{
	for (size_t i = 0; i < VMAT_METRIC_COUNT; i++)
		if (a->values[i] != b->values[i])
			return false;
	for (size_t i = 0; i < VMAT_KIND_COUNT; i++)
		if (a->kinds[i].count != b->kinds[i].count ||
		    a->kinds[i].size != b->kinds[i].size || a->kinds[i].rss != b->kinds[i].rss)
			return false;
	return a->mono_ns == b->mono_ns && a->boot_ns == b->boot_ns && a->wall_ns == b->wall_ns;
}

/* A new folder for recordings. */
static inline const char *made_folder(char ret[128])
{
	const char *place = getenv("TMPDIR");

	snprintf(ret, 128, "%s/store-XXXXXX", place ? place : "/tmp");
	return mkdtemp(ret);
}

#endif
