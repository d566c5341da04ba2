/* SPDX-License-Identifier: MIT */
/*
 * prim_calls NAME: goes through the life of one primitive of libvmatlas, for tests/hostile/prim_calls.py, which makes
 * one system call of it fail. Each operation that fails must leave what was there as it was, and must work
 * when it is tried again; at the end no address may be lost. Says on stderr what was wrong: exit code 1.
 */
#include "prim_calls.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/prim/buffer.h>
#include <vmatlas/prim/faults.h>
#include <vmatlas/prim/goodsize.h>
#include <vmatlas/prim/hugebuf.h>
#include <vmatlas/prim/pool.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* Tries twice. A first failure is to be checked by the caller, a second one is wrong. */
#define TRY(call, check)                                                                        \
	do {                                                                                    \
		int first_ = (int)(call);                                                       \
                                                                                                \
		if (first_ < 0) {                                                               \
			if (!(check))                                                           \
				errx(1, "%s: it failed (%d) and changed what was there", #call, \
				     first_);                                                   \
			if ((first_ = (int)(call)) < 0)                                         \
				errx(1, "%s: fails again with %d", #call, first_);              \
		}                                                                               \
	} while (0)

/* Pages of addresses that this process has; 0 when that cannot be told. */
static unsigned long address_pages(void)
{
	char text[64] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return got > 0 ? strtoul(text, NULL, 10) : 0;
}

/* Are the contents `size` bytes of the pattern? */
static bool is_pattern(const struct vmat_buf *buf, size_t size)
{
	if (buf->size != size)
		return false;
	for (size_t i = 0; i < size; i++)
		if (buf->data[i] != (unsigned char)(i * 7))
			return false;
	return true;
}

static void buffer(size_t reserve_bytes, uint32_t flags)
{
	static unsigned char bytes[4 << 20];
	struct vmat_buf buf = { 0 };
	struct vmat_buf_taken taken = { 0 };
	size_t size = 0;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 7);
	TRY(vmat_buf_init(&buf, reserve_bytes, flags), !buf.data);
	for (int i = 0; i < 12; i++) {
		TRY(vmat_buf_append(&buf, bytes + size, 300 * KIB), is_pattern(&buf, size));
		size += 300 * KIB;
	}
	if (!is_pattern(&buf, size))
		errx(1, "the contents are not what was appended");
	TRY(vmat_buf_punch(&buf, 100, MIB), is_pattern(&buf, size));
	memcpy(buf.data + 100, bytes + 100, MIB);
	TRY(vmat_buf_resize(&buf, MIB), is_pattern(&buf, size));
	TRY(vmat_buf_shrink(&buf), is_pattern(&buf, MIB));
	TRY(vmat_buf_resize(&buf, 2 * MIB), is_pattern(&buf, MIB));
	TRY(vmat_buf_resize(&buf, MIB), is_pattern(&buf, 2 * MIB));
	TRY(vmat_buf_take(&buf, &taken), is_pattern(&buf, MIB) && !taken.data);
	TRY(vmat_buf_append(&buf, bytes, 10), is_pattern(&buf, 0));
	vmat_buf_deinit(&buf);
	if (memcmp(taken.data, bytes, MIB) != 0)
		errx(1, "what was handed over has changed");
	vmat_buf_taken_free(&taken);
}

static void buffer_reserved(void)
{
	buffer(0, 0);
}

static void buffer_huge(void)
{
	buffer(16 * MIB, VMAT_BUF_HUGE);
}

static void buffer_moves(void)
{
	buffer(64 * KIB, 0);
}

static void faults(void)
{
	struct vmat_fault_log *log = NULL;
	struct vmat_fault_log_info info = { .size = sizeof(info) };
	struct vmat_fault fault;
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ssize_t got;

	if (page == MAP_FAILED)
		return;
	/* Refused twice: with the kernel's faults, and without. */
	if (vmat_fault_log_open(&log, 0, 100, 1) < 0 &&
	    (log || vmat_fault_log_open(&log, 0, 100, 1) < 0))
		errx(1, "a log cannot be opened again");
	TRY(vmat_fault_log_start(log), true);
	*(volatile char *)page = 1;
	TRY(vmat_fault_log_stop(log), true);
	TRY(vmat_fault_log_info(log, &info), info.kept_count == 0);
	/* A sanitizer looks at its own memory before it lets the page be written. */
	do
		got = vmat_fault_log_read(log, &fault, 1);
	while (got == 1 && fault.address != (uintptr_t)page);
	if (got != 1 || info.faults_count != info.kept_count || info.lost_count)
		errx(1, "the fault is not in the log");
	vmat_fault_log_close(log);
	munmap(page, 4096);
}

static void hugebuf(void)
{
	struct vmat_hugebuf *buf = NULL;

	TRY(vmat_hugebuf_new(&buf, 6 * MIB + 5, VMAT_HUGEBUF_ONLY_2M | VMAT_HUGEBUF_LOCK), !buf);
	for (size_t i = 0; i < buf->size; i += 4096)
		if (buf->data[i])
			errx(1, "a byte of the new buffer is not zero");
	memset(buf->data, 1, buf->size);
	if (buf->has_frames != (buf->extents_count > 0))
		errx(1, "it has %zu extents", buf->extents_count);
	vmat_hugebuf_free(buf);
}

static const char lives_here[32] __attribute__((aligned(16)));

/* A failed look may be -ENOTSUP, never a wrong size. */
static void goodsize(void)
{
	static const size_t sizes[] = { 1, 284, 644, 70000, 200000, 5 << 20, 300 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ssize_t good = vmat_good_size(sizes[i]), usable;
		char *block = malloc(sizes[i]);

		if (!block)
			continue;
		usable = vmat_usable_size(block);
		if (good != (ssize_t)malloc_usable_size(block) && good != -ENOTSUP)
			errx(1, "a block of %zu bytes: %zd is said, %zu are given", sizes[i], good,
			     malloc_usable_size(block));
		if (usable != (ssize_t)malloc_usable_size(block) && usable != -ENOTSUP)
			errx(1, "the block of %zu bytes is said to be of %zd", sizes[i], usable);
		if (vmat_usable_size(block + 1) >= 0)
			errx(1, "a wrong pointer is said to be a block");
		free(block);
	}
	if (vmat_usable_size(lives_here) >= 0)
		errx(1, "a constant is said to be a block");
}

/* Is each byte of a region this one? */
static bool is_all(const char *region, size_t size, char byte)
{
	for (size_t i = 0; i < size; i++)
		if (region[i] != byte)
			return false;
	return true;
}

static bool are_kept(char *const *regions, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!is_all(regions[i], 16 * KIB, (char)(i + 1)))
			return false;
	return true;
}

/* A pool that could not open pagemap does without from then on, and says so. */
static void check_high_water(struct vmat_pool *pool, const char *region, size_t wanted)
{
	struct vmat_pool_stats stats = { .size = sizeof(stats) };
	size_t used = 0;

	vmat_pool_stats(pool, &stats);
	if (stats.finder == VMAT_POOL_FINDER_NONE) {
		if (vmat_pool_high_water(pool, region, &used) != -EOPNOTSUPP || used)
			errx(1, "a high water without a finder");
		return;
	}
	TRY(vmat_pool_high_water(pool, region, &used), !used);
	if (used != wanted)
		errx(1, "the high water is %zu", used);
}

static char *take(struct vmat_pool *pool)
{
	void *region = NULL;

	TRY(vmat_pool_acquire(pool, &region), !region);
	if (!is_all(region, 16 * KIB, 0))
		errx(1, "a region is not zero");
	return region;
}

static void give(struct vmat_pool *pool, char *const *regions, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (vmat_pool_release(pool, regions[i]))
			errx(1, "a release failed");
	if (vmat_pool_trim(pool, 64 * KIB, NULL))
		errx(1, "a trim failed");
}

/* Regions that are held keep their bytes, those that come are zero, whatever fails meanwhile. */
static void pool_of(size_t guard_size, uint64_t budget_bytes, uint32_t flags)
{
	enum { HELD = 30, MORE = 50 };
	struct vmat_pool_options options = {
		.size = sizeof(options),
		.region_size = 16 * KIB,
		.regions_max = HELD + MORE,
		.guard_size = guard_size,
		.budget_bytes = budget_bytes,
		.flags = flags,
	};
	struct vmat_pool *pool = NULL;
	char *held[HELD], *more[MORE];

	TRY(vmat_pool_new(&options, &pool), !pool);
	for (size_t i = 0; i < HELD; i++)
		held[i] = memset(take(pool), (int)i + 1, 16 * KIB);
	for (size_t round = 0; round < 3; round++) {
		for (size_t i = 0; i < MORE; i++) {
			more[i] = take(pool);
			more[i][(i % 4) * 4096] = 1;
		}
		check_high_water(pool, more[5], 12 * KIB);
		give(pool, more, MORE);
	}
	if (!are_kept(held, HELD))
		errx(1, "a region has changed");
	vmat_pool_free(pool);
}

static void pool_keeps(void)
{
	pool_of(0, 0, 0);
}

static void pool_keeps_nothing(void)
{
	pool_of(0, 1, 0);
}

static void pool_offers(void)
{
	pool_of(0, 256 * KIB, VMAT_POOL_LAZY);
}

static void pool_of_stacks(void)
{
	pool_of(4 * KIB, 256 * KIB, 0);
}

/* As an older kernel: each guard by mprotect, what was written found page by page. */
static void pool_of_old(void)
{
	setenv("VMAT_WITHOUT", "madv_guard,process_madvise,pagemap_scan", 1);
	pool_of(4 * KIB, 256 * KIB, 0);
}

static void pool_blind(void)
{
	setenv("VMAT_WITHOUT", "all", 1);
	pool_of(0, 256 * KIB, 0);
}

/* Pages that libc keeps of a thread that has ended. */
enum { STACK = 2200 };

static const struct {
	const char *name;
	void (*run)(void);
	unsigned long kept_pages; /* what the library or malloc keeps for the life of the process */
} lives[] = {
	{ "buffer", buffer_reserved },
	{ "buffer-huge", buffer_huge },
	{ "buffer-moves", buffer_moves },
	{ "faults", faults },
	{ "goodsize", goodsize, LONG_MAX },
	{ "hugebuf", hugebuf },
	{ "pool", pool_keeps, 1 },
	{ "pool-blind", pool_blind, 1 },
	{ "pool-keeps-nothing", pool_keeps_nothing, 1 },
	{ "pool-offers", pool_offers, 1 },
	{ "pool-old-kernel", pool_of_old, 1 },
	{ "pool-stacks", pool_of_stacks, 1 },
	{ "track", live_track_auto, STACK },
	{ "track-async", live_track_async },
	{ "track-sync", live_track_sync, STACK },
	{ "track-mprotect", live_track_mprotect },
	{ "cow", live_cow },
	{ "snapshot-fork", live_snapshot_fork },
	{ "snapshot-protect", live_snapshot_protect, STACK },
};

int main(int argc, char **argv)
{
	bool may_lose = argc > 2; /* a call that was to give addresses back was made to fail */
	unsigned long before, after;
	void *volatile first;

	if (argc < 2) {
		for (size_t i = 0; i < sizeof(lives) / sizeof(lives[0]); i++)
			dprintf(1, "%s\n", lives[i].name);
		return 0;
	}
	for (size_t i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
		if (strcmp(argv[1], lives[i].name) != 0)
			continue;
		first = malloc(1);
		free(first); /* what malloc takes at first is not lost */
		before = address_pages();
		lives[i].run();
		after = address_pages();
		if (before && after > before + lives[i].kept_pages && !may_lose)
			errx(1, "%lu pages of addresses are lost", after - before);
		return 0;
	}
	errx(2, "no life is named %s", argv[1]);
}
