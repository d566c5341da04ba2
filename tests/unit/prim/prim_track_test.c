/* SPDX-License-Identifier: MIT */
/*
 * Trackers of writes, each way in turn, against a shadow: what was written is known because the test wrote it. The
 * threads' test compares memory with a mirror that is only ever fed from what the tracker reported: one write
 * that is missed makes them differ.
 */
/* timeout: 120 */
/* variant: VMAT_WITHOUT=uffd_wp_async */
/* variant: VMAT_WITHOUT=uffd_wp_async,uffd_wp_empty */
/* variant: VMAT_WITHOUT=uffd_wp_async,uffd_wp */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmatlas/feature.h>
#include <vmatlas/prim/track.h>

#include "cmocka_all.h"

enum { PAGE = 4096, PAGES = 512, WAYS = 4 };

static const enum vmat_track_backend all_ways[WAYS] = { VMAT_TRACK_UFFD_ASYNC, VMAT_TRACK_UFFD_SYNC,
							VMAT_TRACK_MPROTECT,
							VMAT_TRACK_SOFT_DIRTY };

static bool is_here(enum vmat_track_backend way)
{
	switch (way) {
	case VMAT_TRACK_UFFD_ASYNC:
		return vmat_feature_has(VMAT_FEATURE_UFFD_WP_ASYNC);
	case VMAT_TRACK_UFFD_SYNC:
		return vmat_feature_has(VMAT_FEATURE_UFFD_WP);
	case VMAT_TRACK_SOFT_DIRTY:
		return vmat_feature_has(VMAT_FEATURE_SOFT_DIRTY);
	default:
		return true;
	}
}

/* An emulated processor (tests/kernel/in-kernel) takes each fault 30 times as long, and has threads truly side by side no better. */
static unsigned rounds(unsigned count)
{
	return getenv("IN_KERNEL") ? count / 5 : count;
}

static struct vmat_track *track_by(enum vmat_track_backend way, void *start, size_t size)
{
	struct vmat_track_options options = { .size = sizeof(options), .backend = way };
	struct vmat_track *track = NULL;

	assert_int_equal(vmat_track_open(start, size, &options, &track), 0);
	return track;
}

/* Of small pages, also where the system gives huge ones to everybody. */
static char *map(size_t size, int flags)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	madvise(memory, size, MADV_NOHUGEPAGE);
	return memory;
}

static char *map_fd(int fd, size_t size, int flags)
{
	char *memory;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
	close(fd);
	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

/* Marks the reported pages in `seen`, with answers of at most `at_once` runs. */
static void collect(struct vmat_track *track, const char *start, size_t pages, size_t at_once,
		    bool *seen)
{
	struct vmat_range runs[64];
	const char *last = start;
	ssize_t got;

	assert_true(at_once <= 64);
	memset(seen, 0, pages);
	do {
		got = vmat_track_collect(track, runs, at_once);
		assert_true(got >= 0 && (size_t)got <= at_once);
		for (ssize_t i = 0; i < got; i++) {
			assert_true(runs[i].start >= last && runs[i].start < runs[i].end);
			last = runs[i].end;
			assert_true(last <= start + pages * PAGE);
			for (const char *page = runs[i].start; page < runs[i].end; page += PAGE)
				seen[(page - start) / PAGE] = true;
		}
	} while ((size_t)got == at_once);
}

static void check_passes(enum vmat_track_backend way, char *memory, size_t pages)
{
	struct vmat_track *track = track_by(way, memory, pages * PAGE);
	bool *shadow = calloc(pages, 1), *seen = calloc(pages, 1);
	static const size_t at_once[] = { 1, 3, 64 };

	assert_true(shadow && seen);
	for (unsigned pass = 0; pass < 12; pass++) {
		memset(shadow, 0, pages);
		for (size_t i = 0; i < pass * pass * pages / 128; i++) {
			size_t page = (size_t)rand() % pages;

			errno = 7;
			*(volatile char *)(memory + page * PAGE + (size_t)rand() % PAGE) =
				(char)pass;
			assert_int_equal(errno, 7);
			shadow[page] = true;
		}
		collect(track, memory, pages, at_once[pass % 3], seen);
		assert_memory_equal(seen, shadow, pages);
	}
	assert_null(vmat_track_close(track));
	memset(memory, 1, pages * PAGE);
	free(shadow);
	free(seen);
}

static void test_exact(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		enum vmat_track_backend way = all_ways[i];

		struct {
			char *memory;
			bool is_file;
		} kinds[] = {
			{ map(PAGES * PAGE, MAP_PRIVATE), false },
			{ map(PAGES * PAGE, MAP_SHARED), false },
			{ map_fd(memfd_create("track", MFD_CLOEXEC), PAGES * PAGE, MAP_SHARED),
			  false },
			{ map_fd(memfd_create("track", MFD_CLOEXEC), PAGES * PAGE, MAP_PRIVATE),
			  true },
			{ map_fd(open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600),
				 PAGES * PAGE, MAP_SHARED),
			  true },
		};

		for (size_t k = 0; is_here(way) && k < sizeof(kinds) / sizeof(*kinds); k++) {
			char *memory = kinds[k].memory;

			/* A handler is for anonymous memory and shmem only. */
			if (kinds[k].is_file && way == VMAT_TRACK_UFFD_SYNC)
				continue;
			/* Whole, and all there; then, not there, read is not written. */
			memset(memory, 0, PAGES * PAGE);
			check_passes(way, memory, PAGES);
		}
		for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
			munmap(kinds[k].memory, PAGES * PAGE);
	}
}

/* Pages that are not there: a write is seen, a read is none, but where the kernel cannot mark an empty page. */
static void test_empty_pages(void **state)
{
	bool can_mark_empty = vmat_feature_has(VMAT_FEATURE_UFFD_WP_EMPTY), seen[PAGES];

	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		char *memory = map(PAGES * PAGE, MAP_PRIVATE);
		struct vmat_track *track;

		if (!is_here(all_ways[i]))
			continue;
		track = track_by(all_ways[i], memory, PAGES * PAGE);
		memory[7 * PAGE] = 1;
		assert_int_equal(*(volatile char *)(memory + 9 * PAGE), 0);
		collect(track, memory, PAGES, 64, seen);
		for (size_t page = 0; page < PAGES; page++) {
			if (page != 9)
				assert_int_equal(seen[page], page == 7);
			else
				assert_int_equal(seen[page], all_ways[i] == VMAT_TRACK_UFFD_SYNC &&
								     !can_mark_empty);
		}
		/* Dropped is not written; written again is. */
		assert_int_equal(madvise(memory, PAGES * PAGE, MADV_DONTNEED), 0);
		collect(track, memory, PAGES, 64, seen);
		memory[7 * PAGE] = 1;
		memory[100 * PAGE] = 1;
		collect(track, memory, PAGES, 64, seen);
		assert_true(seen[7] && seen[100]);
		vmat_track_close(track);
		munmap(memory, PAGES * PAGE);
	}
}

/* The first page of the first huge page and the sixth of the second one are written, and those are all that is seen, or whole huge pages. */
static void check_huge_pages(enum vmat_track_backend way, char *memory, size_t huge, size_t count)
{
	const size_t size = count * huge, pages = huge / PAGE;
	struct vmat_track *track;
	bool *seen = calloc(size / PAGE, 1);

	assert_non_null(seen);
	madvise(memory, size, MADV_HUGEPAGE);
	memset(memory, 1, size);
	track = track_by(way, memory, size);
	memory[0] = 2;
	memory[huge + 5 * PAGE] = 2;
	collect(track, memory, size / PAGE, 64, seen);
	for (size_t i = 0; i < count; i++) {
		size_t found = 0;

		for (size_t page = 0; page < pages; page++)
			found += seen[i * pages + page];
		if (way != VMAT_TRACK_SOFT_DIRTY || found != pages)
			assert_int_equal(found, i < 2);
	}
	assert_true(seen[0] && seen[pages + 5]);
	vmat_track_close(track);
	free(seen);
}

static void test_huge_pages(void **state)
{
	const size_t huge = 2 << 20, count = 4;

	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		/* Mapped anew for each: the page tables of a mapping that was dropped keep huge pages away. */
		char *area = map((count + 1) * huge, MAP_PRIVATE | MAP_NORESERVE);

		if (is_here(all_ways[i]))
			check_huge_pages(all_ways[i],
					 (char *)(((uintptr_t)area + huge - 1) & ~(huge - 1)), huge,
					 count);
		munmap(area, (count + 1) * huge);
	}
}

static long huge_pages(long wanted)
{
	FILE *file = fopen("/proc/sys/vm/nr_hugepages", wanted < 0 ? "re" : "we");
	long have = -1;

	if (!file)
		return -1;
	if (wanted >= 0 ? fprintf(file, "%ld\n", wanted) < 0 : fscanf(file, "%ld", &have) != 1)
		have = -1;
	if (fclose(file))
		return -1;
	return have;
}

static void test_hugetlb(void **state)
{
	const size_t huge = 2 << 20, size = 4 * huge;
	long before = huge_pages(-1);
	char *memory;

	(void)state;
	if (before < 0)
		skip();
	huge_pages(before + 8);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
		      -1, 0);
	if (memory == MAP_FAILED) {
		huge_pages(before);
		skip();
	}
	for (size_t i = 0; i < WAYS; i++) {
		struct vmat_track_info info = { .size = sizeof(info) };
		struct vmat_range runs[8];
		struct vmat_track *track = NULL;
		struct vmat_track_options options = { .size = sizeof(options),
						      .backend = all_ways[i] };

		/* Without marks on empty pages hugetlb has no handler; soft-dirty is for small pages. */
		if (!is_here(all_ways[i]) || all_ways[i] == VMAT_TRACK_SOFT_DIRTY ||
		    (all_ways[i] == VMAT_TRACK_UFFD_SYNC &&
		     !vmat_feature_has(VMAT_FEATURE_UFFD_WP_EMPTY)))
			continue;
		assert_true(vmat_track_open(memory + PAGE, huge, &options, &track) < 0);
		assert_null(track);
		track = track_by(all_ways[i], memory, size);
		assert_int_equal(vmat_track_info(track, &info), 0);
		assert_int_equal(info.page_size, huge);
		memory[huge + 12345] = 1;
		memory[3 * huge] = 1;
		assert_int_equal(vmat_track_collect(track, runs, 8), 2);
		assert_ptr_equal(runs[0].start, memory + huge);
		assert_ptr_equal(runs[0].end, memory + 2 * huge);
		assert_ptr_equal(runs[1].start, memory + 3 * huge);
		assert_int_equal(vmat_track_collect(track, runs, 8), 0);
		vmat_track_close(track);
	}
	munmap(memory, size);
	huge_pages(before);
}

struct writers {
	char *memory;
	_Atomic uint64_t *words; /* the same: one a page */
	_Atomic uint64_t written;
	_Atomic bool is_over;
};

static void *write_randomly(void *context)
{
	struct writers *writers = context;
	unsigned seed = (unsigned)(uintptr_t)&seed;

	for (unsigned i = 0; !atomic_load(&writers->is_over); i++) {
		size_t page = (size_t)rand_r(&seed) % PAGES;

		atomic_fetch_add(&writers->words[page * PAGE / 8], 1);
		atomic_fetch_add(&writers->written, 1);
	}
	return NULL;
}

static void test_threads(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		struct writers writers = { .is_over = false };
		uint64_t mirror[PAGES] = { 0 }, sum = 0;
		bool seen[PAGES];
		pthread_t threads[3];
		struct vmat_track *track;

		/* Soft-dirty loses writes of this kind, and says so. */
		if (!is_here(all_ways[i]) || all_ways[i] == VMAT_TRACK_SOFT_DIRTY)
			continue;
		writers.memory = map(PAGES * PAGE, MAP_PRIVATE);
		writers.words = (_Atomic uint64_t *)(void *)writers.memory;
		track = track_by(all_ways[i], writers.memory, PAGES * PAGE);
		for (size_t k = 0; k < 3; k++)
			assert_int_equal(
				pthread_create(&threads[k], NULL, write_randomly, &writers), 0);
		for (unsigned pass = 0, last = 0; !last; pass++) {
			last = pass >= rounds(300) && atomic_load(&writers.written) > rounds(20000);
			if (last) {
				atomic_store(&writers.is_over, true);
				for (size_t k = 0; k < 3; k++)
					pthread_join(threads[k], NULL);
			}
			collect(track, writers.memory, PAGES, 1 + pass % 64, seen);
			for (size_t page = 0; page < PAGES; page++)
				if (seen[page])
					mirror[page] = atomic_load(&writers.words[page * PAGE / 8]);
		}
		for (size_t page = 0; page < PAGES; page++) {
			assert_int_equal(mirror[page],
					 atomic_load(&writers.words[page * PAGE / 8]));
			sum += mirror[page];
		}
		assert_int_equal(sum, writers.written);
		vmat_track_close(track);
		munmap(writers.memory, PAGES * PAGE);
	}
}

/* A tracker is closed while threads write: none of them notices. */
static void test_close_under_writers(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		struct writers writers = { .is_over = false };
		pthread_t threads[2];

		if (!is_here(all_ways[i]))
			continue;
		writers.memory = map(PAGES * PAGE, MAP_PRIVATE);
		writers.words = (_Atomic uint64_t *)(void *)writers.memory;
		for (size_t k = 0; k < 2; k++)
			assert_int_equal(
				pthread_create(&threads[k], NULL, write_randomly, &writers), 0);
		for (unsigned round = 0; round < rounds(60); round++)
			vmat_track_close(track_by(all_ways[i], writers.memory, PAGES * PAGE));
		atomic_store(&writers.is_over, true);
		for (size_t k = 0; k < 2; k++)
			pthread_join(threads[k], NULL);
		munmap(writers.memory, PAGES * PAGE);
	}
}

/* read(2) and recv(2) into tracked pages are seen, or fail with EFAULT where the tracker says so. */
static void test_system_calls(void **state)
{
	char byte = 'x';
	bool seen[PAGES];

	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		char *memory = map(PAGES * PAGE, MAP_PRIVATE);
		struct vmat_track_info info = { .size = sizeof(info) };
		struct vmat_track *track;
		int ends[2];

		if (!is_here(all_ways[i]))
			continue;
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
		track = track_by(all_ways[i], memory, PAGES * PAGE);
		assert_int_equal(vmat_track_info(track, &info), 0);
		assert_int_equal(info.backend, all_ways[i]);
		assert_true(strlen(info.misses) > 10 && strlen(info.name) > 4);
		for (size_t page = 5; page < 8; page += 2) {
			assert_int_equal(write(ends[0], &byte, 1), 1);
			errno = 0;
			if (page == 5)
				assert_int_equal(read(ends[1], memory + page * PAGE, 1),
						 info.sees_system_calls ? 1 : -1);
			else
				assert_int_equal(
					recv(ends[1], memory + page * PAGE, 1, MSG_DONTWAIT),
					info.sees_system_calls ? 1 : -1);
			assert_int_equal(errno, info.sees_system_calls ? 0 : EFAULT);
		}
		collect(track, memory, PAGES, 64, seen);
		for (size_t page = 0; page < PAGES; page++)
			assert_int_equal(seen[page],
					 info.sees_system_calls && (page == 5 || page == 7));
		vmat_track_close(track);
		close(ends[0]);
		close(ends[1]);
		munmap(memory, PAGES * PAGE);
	}
}

/* What the child does is its own; its answers are refused, and a tracker of its own works. */
static int child_of(enum vmat_track_backend way, struct vmat_track *track, char *memory)
{
	struct vmat_range runs[4];
	struct vmat_track_options options = { .size = sizeof(options), .backend = way };

	memory[1 * PAGE] = 1;
	memory[2 * PAGE] = 1;
	if (vmat_track_collect(track, runs, 4) != -ECHILD)
		return 1;
	vmat_track_close(track);
	memory[3 * PAGE] = 1;
	if (vmat_track_open(memory, PAGES * PAGE, &options, &track))
		return 2;
	memory[4 * PAGE] = 1;
	if (vmat_track_collect(track, runs, 4) != 1 || runs[0].start != memory + 4 * PAGE)
		return 3;
	return 0;
}

static void test_fork(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		char *memory = map(PAGES * PAGE, MAP_PRIVATE);
		bool seen[PAGES];
		struct vmat_track *track;
		int status;
		pid_t child;

		if (!is_here(all_ways[i]))
			continue;
#ifdef __SANITIZE_THREAD__
		/* ThreadSanitizer starts no thread in the child of a process with threads. */
		if (all_ways[i] == VMAT_TRACK_UFFD_SYNC)
			continue;
#endif
		memset(memory, 1, PAGES * PAGE);
		track = track_by(all_ways[i], memory, PAGES * PAGE);
		memory[10 * PAGE] = 2;
		child = fork();
		if (child == 0)
			_exit(child_of(all_ways[i], track, memory));
		memory[11 * PAGE] = 2;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		memory[12 * PAGE] = 2;
		collect(track, memory, PAGES, 64, seen);
		for (size_t page = 0; page < PAGES; page++)
			assert_int_equal(seen[page], page >= 10 && page <= 12);
		vmat_track_close(track);
		munmap(memory, PAGES * PAGE);
	}
}

static void test_bad_ranges(void **state)
{
	char *memory = map(16 * PAGE, MAP_PRIVATE);
	struct vmat_range run;
	struct vmat_track_info info = { .size = 3 };

	(void)state;
	munmap(memory + 8 * PAGE, PAGE);
	for (size_t i = 0; i <= WAYS; i++) {
		struct vmat_track_options options = { .size = sizeof(options),
						      .backend = i < WAYS ? all_ways[i]
									  : VMAT_TRACK_AUTO };
		struct vmat_track *track = NULL, *other = NULL;

		assert_int_equal(vmat_track_open(memory + 1, PAGE, &options, &track), -EINVAL);
		assert_int_equal(vmat_track_open(memory, 0, &options, &track), -EINVAL);
		assert_int_equal(vmat_track_open(memory, 100, &options, &track), -EINVAL);
		assert_int_equal(vmat_track_open(memory, (size_t)0 - PAGE, &options, &track),
				 -EINVAL);
		assert_int_equal(vmat_track_open(memory, 16 * PAGE, &options, &track), -ENOMEM);
		assert_int_equal(vmat_track_open(memory + 8 * PAGE, PAGE, &options, &track),
				 -ENOMEM);
		assert_int_equal(vmat_track_open(NULL, PAGE, &options, &track), -ENOMEM);
		assert_int_equal(
			vmat_track_open((char *)0xffffffffff600000, PAGE, &options, &track),
			-ENOMEM);
		options.granule_pages = 3;
		assert_int_equal(vmat_track_open(memory, PAGE, &options, &track), -EINVAL);
		options.granule_pages = 0;
		options.flags = 1U << 31;
		assert_int_equal(vmat_track_open(memory, PAGE, &options, &track), -EINVAL);
		options.flags = 0;
		assert_null(track);
		memory[0] = 1;
		if (i < WAYS && !is_here(all_ways[i])) {
			assert_int_equal(vmat_track_open(memory, PAGE, &options, &track),
					 -EOPNOTSUPP);
			continue;
		}
		assert_int_equal(vmat_track_open(memory, 4 * PAGE, &options, &track), 0);
		if (options.backend != VMAT_TRACK_SOFT_DIRTY)
			assert_int_equal(vmat_track_open(memory + PAGE, 5 * PAGE, &options, &other),
					 -EBUSY);
		assert_int_equal(vmat_track_collect(track, &run, 0), -EINVAL);
		assert_int_equal(vmat_track_info(track, &info), -EINVAL);
		memory[PAGE] = 1;
		assert_int_equal(vmat_track_collect(track, &run, 1), 1);
		assert_ptr_equal(run.start, memory + PAGE);
		vmat_track_close(track);
	}
	assert_null(vmat_track_close(NULL));
	munmap(memory, 16 * PAGE);
}

/* A mapping that replaces a tracked one is not passed over in silence. */
static void test_replaced_mapping(void **state)
{
	char *memory = map(16 * PAGE, MAP_PRIVATE);
	struct vmat_range runs[4];
	struct vmat_track *track;

	(void)state;
	if (!is_here(VMAT_TRACK_UFFD_ASYNC))
		return; /* no other way can tell */
	track = track_by(VMAT_TRACK_UFFD_ASYNC, memory, 16 * PAGE);
	assert_ptr_equal(mmap(memory + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 memory + 4 * PAGE);
	assert_int_equal(vmat_track_collect(track, runs, 4), -ESTALE);
	vmat_track_close(track);
	munmap(memory, 16 * PAGE);
}

/* AUTO takes the best way that is there, for a user without rights, too. */
static void test_auto(void **state)
{
	enum vmat_track_backend wanted = is_here(VMAT_TRACK_UFFD_ASYNC)  ? VMAT_TRACK_UFFD_ASYNC
					 : is_here(VMAT_TRACK_UFFD_SYNC) ? VMAT_TRACK_UFFD_SYNC
									 : VMAT_TRACK_MPROTECT;
	char *memory = map(PAGES * PAGE, MAP_PRIVATE);
	int status;
	pid_t child;

	(void)state;
	memset(memory, 0, PAGES * PAGE);
	child = fork();
	if (child == 0) {
		struct vmat_track_info info = { .size = sizeof(info) };
		struct vmat_track *track = NULL;
		struct vmat_range runs[4];
		bool can;
		int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);

		if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
			_exit(1);
		/* Who changes his user may not look at his own pagemap; a program of that user may. */
		prctl(PR_SET_DUMPABLE, 1);
		if (vmat_track_open(memory, PAGES * PAGE, NULL, &track) ||
		    vmat_track_info(track, &info))
			_exit(2);
		if (info.backend != wanted)
			_exit(3);
		memory[PAGE] = 1;
		can = read(zero, memory + 3 * PAGE, 1) == 1;
		if (can != info.sees_system_calls ||
		    (info.backend == VMAT_TRACK_UFFD_ASYNC && !can))
			_exit(4);
		if (vmat_track_collect(track, runs, 4) != 1 + can)
			_exit(5);
		vmat_track_close(track);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	munmap(memory, PAGES * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact),        cmocka_unit_test(test_empty_pages),
		cmocka_unit_test(test_huge_pages),   cmocka_unit_test(test_hugetlb),
		cmocka_unit_test(test_threads),      cmocka_unit_test(test_close_under_writers),
		cmocka_unit_test(test_system_calls), cmocka_unit_test(test_fork),
		cmocka_unit_test(test_bad_ranges),   cmocka_unit_test(test_replaced_mapping),
		cmocka_unit_test(test_auto),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
