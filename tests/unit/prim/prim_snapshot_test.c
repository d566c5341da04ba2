/* SPDX-License-Identifier: MIT */
/*
 * Snapshots, each way in turn. The moment: threads count in pages one after the other, so that in each moment the
 * counters of a thread are n, ..., n, n-1, ..., n-1: an image with another picture is of no moment. The sinks: files, pipes,
 * both; full ones and closed ones. Around it: no child that anybody sees, no descriptor and no memory lost.
 */
/* timeout: 120 */
/* variant: VMAT_WITHOUT=pidfd */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <vmatlas/feature.h>
#include <vmatlas/prim/snapshot.h>

#include "cmocka_all.h"

enum { PAGE = 4096, PAGES = 600, THREADS = 2, WAYS = 2 };

static const enum vmat_snapshot_backend all_ways[WAYS] = { VMAT_SNAPSHOT_FORK,
							   VMAT_SNAPSHOT_PROTECT };

/* The thread of PROTECT needs faults of system calls, which is a right. */
static bool is_here(enum vmat_snapshot_backend way)
{
	return way == VMAT_SNAPSHOT_FORK ||
	       (vmat_feature_has(VMAT_FEATURE_UFFD_WP_EMPTY) && geteuid() == 0);
}

static char *map(size_t size, int flags)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

static int temporary(void)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static size_t count_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	size_t count = 0;

	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static int begin_by(enum vmat_snapshot_backend way, const struct vmat_range *ranges, size_t count,
		    const int *sinks, size_t sinks_count, struct vmat_snapshot **ret)
{
	struct vmat_snapshot_options options = { .size = sizeof(options), .backend = way };

	return vmat_snapshot_begin(ranges, count, sinks, sinks_count, &options, ret);
}

static void check_image(int fd, off_t at, const char *expected, size_t size)
{
	char *image = malloc(size);

	assert_int_equal(pread(fd, image, size, at), size);
	assert_memory_equal(image, expected, size);
	free(image);
}

/* Two ranges with a gap, behind what a file holds already; the memory is overwritten at once. */
static void test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		char *memory = map(PAGES * PAGE, MAP_PRIVATE), *before = malloc(PAGES * PAGE);
		struct vmat_range ranges[] = { { memory, memory + 100 * PAGE },
					       { memory + 200 * PAGE, memory + PAGES * PAGE } };
		int sinks[] = { temporary(), temporary() };
		struct vmat_snapshot_result result = { .size = sizeof(result) };
		struct vmat_snapshot *snapshot = NULL;

		if (!is_here(all_ways[i]))
			continue;
		for (size_t k = 0; k < PAGES * PAGE; k += 8)
			*(uint64_t *)(void *)(memory + k) = (uint64_t)rand();
		/* A part that was never touched is zeroes. */
		madvise(memory + 300 * PAGE, 50 * PAGE, MADV_DONTNEED);
		memcpy(before, memory, PAGES * PAGE);
		madvise(memory + 300 * PAGE, 50 * PAGE, MADV_DONTNEED);
		assert_int_equal(write(sinks[0], "head", 4), 4);
		errno = 3;
		assert_int_equal(begin_by(all_ways[i], ranges, 2, sinks, 2, &snapshot), 0);
		assert_int_equal(errno, 3);
		memset(memory, 0x5a, PAGES * PAGE);
		if (vmat_snapshot_fd(snapshot) >= 0) {
			struct pollfd waiting = { .fd = vmat_snapshot_fd(snapshot),
						  .events = POLLIN };

			assert_int_equal(poll(&waiting, 1, 20000), 1);
		}
		assert_int_equal(vmat_snapshot_end(snapshot, &result), 0);
		assert_int_equal(result.backend, all_ways[i]);
		assert_int_equal(result.failed_sink, -1);
		assert_true(result.pause_ns > 0);
		assert_int_equal(result.written[0], 500 * PAGE);
		assert_int_equal(result.written[1], 500 * PAGE);
		check_image(sinks[0], 4, before, 100 * PAGE);
		check_image(sinks[0], 4 + 100 * PAGE, before + 200 * PAGE, 400 * PAGE);
		check_image(sinks[1], 0, before, 100 * PAGE);
		/* What is written to the file next comes behind the image. */
		assert_int_equal(lseek(sinks[0], 0, SEEK_CUR), 4 + 500 * PAGE);
		close(sinks[0]);
		close(sinks[1]);
		munmap(memory, PAGES * PAGE);
		free(before);
	}
}

struct reader {
	int fd;
	char *image;
	size_t size;
	bool is_slow;
};

static void *read_all(void *context)
{
	struct reader *reader = context;
	ssize_t got;

	do {
		if (reader->is_slow)
			usleep(100);
		got = read(reader->fd, reader->image + reader->size,
			   reader->is_slow ? 9000 : 65536);
		reader->size += got > 0 ? (size_t)got : 0;
	} while (got > 0);
	return NULL;
}

/* To two pipes at once, which a slow reader empties while the memory is overwritten. */
static void test_pipes(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * WAYS; i++) {
		enum vmat_snapshot_backend way = all_ways[i / 2];
		/* A stash that is too small makes writers wait, and changes nothing. */
		struct vmat_snapshot_options options = { .size = sizeof(options),
							 .backend = way,
							 .stash_bytes = i % 2 ? 5 * PAGE : 0 };
		char *memory = map(PAGES * PAGE, MAP_PRIVATE), *before = malloc(PAGES * PAGE);
		struct vmat_range range = { memory, memory + PAGES * PAGE };
		struct reader readers[2];
		struct vmat_snapshot *snapshot = NULL;
		struct vmat_snapshot_result result = { .size = sizeof(result) };
		pthread_t threads[2];
		int sinks[2];

		if (!is_here(way))
			continue;
		for (size_t k = 0; k < PAGES * PAGE; k += 8)
			*(uint64_t *)(void *)(memory + k) = (uint64_t)rand();
		memcpy(before, memory, PAGES * PAGE);
		for (size_t k = 0; k < 2; k++) {
			int ends[2];

			assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
			readers[k] =
				(struct reader){ ends[0], malloc(PAGES * PAGE + 65536), 0, k == 1 };
			sinks[k] = ends[1];
		}
		assert_int_equal(vmat_snapshot_begin(&range, 1, sinks, 2, &options, &snapshot), 0);
		close(sinks[0]);
		close(sinks[1]);
		for (size_t k = 0; k < 2; k++)
			assert_int_equal(pthread_create(&threads[k], NULL, read_all, &readers[k]),
					 0);
		/* From the end, where no turn comes soon. */
		for (size_t page = PAGES; page-- > 0;)
			memset(memory + page * PAGE, (int)page, PAGE);
		assert_int_equal(vmat_snapshot_end(snapshot, &result), 0);
		for (size_t k = 0; k < 2; k++) {
			pthread_join(threads[k], NULL);
			assert_int_equal(readers[k].size, PAGES * PAGE);
			assert_memory_equal(readers[k].image, before, PAGES * PAGE);
			close(readers[k].fd);
			free(readers[k].image);
		}
		assert_int_equal(result.written[1], PAGES * PAGE);
		munmap(memory, PAGES * PAGE);
		free(before);
	}
}

struct counting {
	_Atomic uint64_t *words;
	_Atomic bool *is_over;
	size_t first;
	_Atomic uint64_t rounds;
};

/* Counts in every page of its own, one after the other. */
static void *count_up(void *context)
{
	struct counting *counting = context;

	for (uint64_t n = 1; !*counting->is_over; n++) {
		for (size_t page = 0; page < PAGES; page++)
			atomic_store(&counting->words[(counting->first + page) * PAGE / 8], n);
		counting->rounds = n;
	}
	return NULL;
}

/* n, ..., n, n-1, ..., n-1 */
static void check_counters(const char *image)
{
	for (size_t thread = 0; thread < THREADS; thread++) {
		const char *pages = image + thread * PAGES * PAGE;
		uint64_t first = *(const uint64_t *)(const void *)pages, last = first;

		for (size_t page = 1; page < PAGES; page++) {
			uint64_t n = *(const uint64_t *)(const void *)(pages + page * PAGE);

			assert_true(n == last || n + 1 == last);
			last = n;
		}
		assert_true(first - last <= 1);
	}
}

static void test_moment(void **state)
{
	char *image = malloc(THREADS * PAGES * PAGE);

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		enum vmat_snapshot_backend way = i ? VMAT_SNAPSHOT_PROTECT : VMAT_SNAPSHOT_FORK;
		char *memory = map(THREADS * PAGES * PAGE, i == 2 ? MAP_SHARED : MAP_PRIVATE);
		struct vmat_range range = { memory, memory + THREADS * PAGES * PAGE };
		struct counting countings[THREADS];
		_Atomic bool is_over = false;
		pthread_t threads[THREADS];

		if (!is_here(way))
			continue;
		for (size_t k = 0; k < THREADS; k++) {
			countings[k] = (struct counting){ (_Atomic uint64_t *)(void *)memory,
							  &is_over, k * PAGES, 0 };
			assert_int_equal(pthread_create(&threads[k], NULL, count_up, &countings[k]),
					 0);
		}
		for (unsigned round = 0; round < 25; round++) {
			struct vmat_snapshot *snapshot = NULL;
			int fd = temporary();
			uint64_t rounds = countings[0].rounds;

			assert_int_equal(begin_by(round % 2 && i != 1 ? VMAT_SNAPSHOT_AUTO : way,
						  &range, 1, &fd, 1, &snapshot),
					 0);
			assert_int_equal(vmat_snapshot_end(snapshot, NULL), 0);
			assert_int_equal(pread(fd, image, THREADS * PAGES * PAGE, 0),
					 THREADS * PAGES * PAGE);
			check_counters(image);
			/* Not of a time before the question. */
			assert_true(*(uint64_t *)(void *)(image + (PAGES - 1) * PAGE) >= rounds);
			close(fd);
		}
		is_over = true;
		for (size_t k = 0; k < THREADS; k++)
			pthread_join(threads[k], NULL);
		munmap(memory, THREADS * PAGES * PAGE);
	}
	free(image);
}

static _Atomic unsigned signals_seen;

static void on_signal(int sig)
{
	(void)sig;
	signals_seen++;
}

/* Full devices and readers that go are errors and no signals; nothing is left behind. */
static void test_failing_sinks(void **state)
{
	char *memory = map(PAGES * PAGE, MAP_PRIVATE);
	struct vmat_range range = { memory, memory + PAGES * PAGE };
	struct sigaction action = { .sa_handler = on_signal };
	size_t descriptors;

	(void)state;
	sigaction(SIGCHLD, &action, NULL);
	sigaction(SIGPIPE, &action, NULL);
	memset(memory, 1, PAGES * PAGE);
	for (size_t i = 0; i < WAYS; i++) {
		struct vmat_snapshot_result result = { .size = sizeof(result) };
		struct vmat_snapshot *snapshot = NULL;
		int full = open("/dev/full", O_WRONLY | O_CLOEXEC), ends[2], sinks[2], status;

		if (!is_here(all_ways[i]))
			continue;
		sinks[0] = temporary();
		descriptors = count_descriptors();
		sinks[1] = full;
		assert_int_equal(begin_by(all_ways[i], &range, 1, sinks, 2, &snapshot), 0);
		assert_int_equal(vmat_snapshot_end(snapshot, &result), -ENOSPC);
		assert_int_equal(result.failed_sink, 1);
		assert_int_equal(result.written[1], 0);
		/* A reader that goes in the middle. */
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		sinks[1] = ends[1];
		assert_int_equal(begin_by(all_ways[i], &range, 1, sinks, 2, &snapshot), 0);
		close(ends[1]);
		usleep(20000);
		memset(memory, 2, 5 * PAGE);
		close(ends[0]);
		assert_int_equal(vmat_snapshot_end(snapshot, &result), -EPIPE);
		assert_int_equal(result.failed_sink, 1);
		/* One that never reads, until the program has enough of it. */
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		assert_int_equal(begin_by(all_ways[i], &range, 1, &ends[1], 1, &snapshot), 0);
		assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
		assert_int_equal(errno, ECHILD);
		assert_null(vmat_snapshot_cancel(snapshot));
		close(ends[0]);
		close(ends[1]);
		memset(memory, 3, PAGES * PAGE);
		assert_int_equal(waitpid(-1, &status, __WALL | WNOHANG), -1);
		assert_int_equal(errno, ECHILD);
		assert_int_equal(count_descriptors(), descriptors);
		close(sinks[0]);
		close(full);
	}
	assert_int_equal(signals_seen, 0);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	assert_null(vmat_snapshot_cancel(NULL));
	munmap(memory, PAGES * PAGE);
}

/* The child keeps nobody else's descriptors open, and a child of the program is refused. */
static void test_bystanders(void **state)
{
	char *memory = map(PAGES * PAGE, MAP_PRIVATE);
	struct vmat_range range = { memory, memory + PAGES * PAGE };

	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		struct vmat_snapshot *snapshot = NULL;
		int ends[2], strangers[2], status;
		char byte;
		pid_t child;

		if (!is_here(all_ways[i]))
			continue;
		memset(memory, 1, PAGES * PAGE);
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		assert_int_equal(pipe2(strangers, O_CLOEXEC), 0);
		assert_int_equal(begin_by(all_ways[i], &range, 1, &ends[1], 1, &snapshot), 0);
		usleep(20000);
		close(strangers[1]);
		assert_int_equal(read(strangers[0], &byte, 1), 0);
		child = fork();
		if (child == 0) {
			if (vmat_snapshot_end(snapshot, NULL) != -ECHILD)
				_exit(1);
			memory[0] = 2;
			_exit(vmat_snapshot_cancel(snapshot) ? 2 : 0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		vmat_snapshot_cancel(snapshot);
		close(strangers[0]);
		close(ends[0]);
		close(ends[1]);
	}
	munmap(memory, PAGES * PAGE);
}

/* How many of PAGES pages nobody else has: proc(5), pagemap, bit 56. */
static size_t count_exclusive(const char *memory)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entries[PAGES];
	size_t count = 0;

	assert_int_equal(pread(fd, entries, sizeof(entries),
			       (off_t)((uintptr_t)memory / PAGE * sizeof(entries[0]))),
			 sizeof(entries));
	close(fd);
	for (size_t i = 0; i < PAGES; i++) {
		assert_true(entries[i] >> 63 & 1);
		count += entries[i] >> 56 & 1;
	}
	return count;
}

/* What the program shares with a child of its own is read, and is no page more afterwards. */
static void test_shared_pages(void **state)
{
	char *memory = map(PAGES * PAGE, MAP_PRIVATE);
	struct vmat_range range = { memory, memory + PAGES * PAGE };
	pid_t child;

	(void)state;
	memset(memory, 1, PAGES * PAGE);
	assert_int_equal(count_exclusive(memory), PAGES);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	assert_int_equal(count_exclusive(memory), 0);
	for (size_t i = 0; i < WAYS; i++) {
		struct vmat_snapshot *snapshot = NULL;
		int fd = temporary();

		if (is_here(all_ways[i])) {
			assert_int_equal(begin_by(all_ways[i], &range, 1, &fd, 1, &snapshot), 0);
			assert_int_equal(vmat_snapshot_end(snapshot, NULL), 0);
			check_image(fd, 0, memory, PAGES * PAGE);
			assert_int_equal(count_exclusive(memory), 0);
		}
		close(fd);
	}
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	munmap(memory, PAGES * PAGE);
}

static void *write_all(void *memory)
{
	memset(memory, 2, PAGES * PAGE);
	return NULL;
}

/* Who waits to write goes on when the snapshot is given up, also while a child has a copy of its descriptors. */
static void test_waiting_writer(void **state)
{
	char *memory = map(PAGES * PAGE, MAP_PRIVATE);
	struct vmat_range range = { memory, memory + PAGES * PAGE };
	struct vmat_snapshot_options options = { .size = sizeof(options),
						 .backend = VMAT_SNAPSHOT_PROTECT,
						 .stash_bytes = PAGE };
	struct vmat_snapshot *snapshot = NULL;
	struct timespec end;
	pthread_t writer;
	pid_t child;
	int ends[2];

	(void)state;
	if (!is_here(VMAT_SNAPSHOT_PROTECT))
		return;
	memset(memory, 1, PAGES * PAGE);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(vmat_snapshot_begin(&range, 1, &ends[1], 1, &options, &snapshot), 0);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	assert_int_equal(pthread_create(&writer, NULL, write_all, memory), 0);
	usleep(50000);
	assert_null(vmat_snapshot_cancel(snapshot));
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 20;
	assert_int_equal(pthread_timedjoin_np(writer, NULL, &end), 0);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(ends[0]);
	close(ends[1]);
	munmap(memory, PAGES * PAGE);
}

static void test_bad_questions(void **state)
{
	char *memory = map(16 * PAGE, MAP_PRIVATE), *shared = map(PAGE, MAP_SHARED);
	struct vmat_range good = { memory, memory + PAGE }, empty = { memory, memory },
			  hole = { memory, memory + 16 * PAGE },
			  closed = { memory + 2 * PAGE, memory + 3 * PAGE },
			  of_all = { shared, shared + PAGE };
	struct vmat_snapshot_options options = { .size = sizeof(options), .backend = 7 };
	struct vmat_snapshot_result result = { .size = 1 };
	struct vmat_snapshot *snapshot = NULL;
	int fd = temporary(), reading = open("/dev/null", O_RDONLY | O_CLOEXEC), none = -1,
	    three[] = { fd, fd, fd };
	size_t descriptors = count_descriptors();

	(void)state;
	munmap(memory + 8 * PAGE, PAGE);
	mprotect(memory + 2 * PAGE, PAGE, PROT_NONE);
	assert_int_equal(vmat_snapshot_begin(&good, 0, &fd, 1, NULL, &snapshot), -EINVAL);
	assert_int_equal(vmat_snapshot_begin(NULL, 1, &fd, 1, NULL, &snapshot), -EINVAL);
	assert_int_equal(vmat_snapshot_begin(&empty, 1, &fd, 1, NULL, &snapshot), -EINVAL);
	assert_int_equal(vmat_snapshot_begin(&good, 1, three, 3, NULL, &snapshot), -EINVAL);
	assert_int_equal(vmat_snapshot_begin(&good, 1, three, 0, NULL, &snapshot), -EINVAL);
	assert_int_equal(vmat_snapshot_begin(&good, 1, &fd, 1, &options, &snapshot), -EINVAL);
	assert_int_equal(vmat_snapshot_begin(&good, 1, &none, 1, NULL, &snapshot), -EBADF);
	assert_int_equal(vmat_snapshot_begin(&good, 1, &reading, 1, NULL, &snapshot), -EBADF);
	mprotect(memory + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE);
	assert_int_equal(vmat_snapshot_begin(&hole, 1, &fd, 1, NULL, &snapshot), -ENOMEM);
	mprotect(memory + 2 * PAGE, PAGE, PROT_NONE);
	assert_int_equal(vmat_snapshot_begin(&closed, 1, &fd, 1, NULL, &snapshot), -EACCES);
	assert_int_equal(begin_by(VMAT_SNAPSHOT_FORK, &of_all, 1, &fd, 1, &snapshot), -EOPNOTSUPP);
	good.end--;
	assert_true(begin_by(VMAT_SNAPSHOT_PROTECT, &good, 1, &fd, 1, &snapshot) < 0);
	assert_null(snapshot);
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	/* Any bytes will do for a child. */
	assert_int_equal(vmat_snapshot_begin(&good, 1, &fd, 1, NULL, &snapshot), 0);
	assert_int_equal(vmat_snapshot_end(snapshot, &result), -EINVAL);
	result.size = sizeof(result);
	assert_int_equal(vmat_snapshot_end(snapshot, &result), 0);
	assert_int_equal(result.written[0], PAGE - 1);
	/* Memory that children do not get. */
	madvise(memory, PAGE, MADV_DONTFORK);
	assert_int_equal(vmat_snapshot_begin(&good, 1, &fd, 1, NULL, &snapshot), 0);
	assert_int_equal(vmat_snapshot_end(snapshot, &result), -EFAULT);
	assert_int_equal(result.failed_sink, 0);
	assert_int_equal(count_descriptors(), descriptors);
	close(fd);
	close(reading);
	munmap(memory, 16 * PAGE);
	munmap(shared, PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),          cmocka_unit_test(test_pipes),
		cmocka_unit_test(test_moment),         cmocka_unit_test(test_failing_sinks),
		cmocka_unit_test(test_bystanders),     cmocka_unit_test(test_bad_questions),
		cmocka_unit_test(test_waiting_writer), cmocka_unit_test(test_shared_pages),
	};

	/* The descriptor that questions about regions keep open. */
	vmat_feature_has(VMAT_FEATURE_PROCMAP_QUERY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
