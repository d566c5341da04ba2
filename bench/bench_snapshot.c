/* SPDX-License-Identifier: MIT */
/*
 * bench_snapshot.c: what a consistent image of 1 GiB costs the program: how long it stands still for a fork, for
 * write-protection, and for a copy made while everybody waits; how long a write waits meanwhile; and a pipe filled
 * by vmsplice beside one filled by write. Milliseconds of wall time; the median of the rounds. One JSON object a line.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <vmatlas/prim/snapshot.h>

enum { ROUNDS = 3, PAGE = 4096 };

static const size_t size = (size_t)1 << 30;
static char *memory;
static _Atomic bool is_over;
static _Atomic unsigned writes;
static _Atomic double longest_ms;

static double now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static double median(double *values)
{
	for (int i = 0; i < ROUNDS; i++)
		for (int k = i + 1; k < ROUNDS; k++)
			if (values[k] < values[i]) {
				double swapped = values[i];

				values[i] = values[k];
				values[k] = swapped;
			}
	return values[ROUNDS / 2];
}

static void fail(const char *what, int err)
{
	fprintf(stderr, "bench_snapshot: %s: %s\n", what, strerrordesc_np(-err));
	exit(1);
}

/* Writes to random pages without a rest, and notes the longest write. */
static void *write_on(void *context)
{
	unsigned seed = 1;

	(void)context;
	while (!is_over) {
		size_t page = (size_t)rand_r(&seed) % (size / PAGE);
		double start = now_ms(), took;

		memory[page * PAGE]++;
		took = now_ms() - start;
		if (took > longest_ms)
			longest_ms = took;
		writes++;
	}
	return NULL;
}

static double pause_of(enum vmat_snapshot_backend backend, double *ret_longest)
{
	struct vmat_snapshot_options options = { .size = sizeof(options), .backend = backend };
	struct vmat_snapshot_result result = { .size = sizeof(result) };
	struct vmat_range range = { memory, memory + size };
	struct vmat_snapshot *snapshot;
	int sink = open("/dev/null", O_WRONLY | O_CLOEXEC), err;
	pthread_t writer;

	is_over = false;
	longest_ms = 0;
	if (pthread_create(&writer, NULL, write_on, NULL))
		exit(1);
	for (writes = 0; writes < 1000;)
		usleep(100);
	err = vmat_snapshot_begin(&range, 1, &sink, 1, &options, &snapshot);
	if (!err)
		err = vmat_snapshot_end(snapshot, &result);
	if (err)
		fail("snapshot", err);
	is_over = true;
	pthread_join(writer, NULL);
	close(sink);
	*ret_longest = longest_ms;
	return (double)result.pause_ns / 1e6;
}

/* What a program does that stops its threads and copies: fresh memory each time, as it is given back afterwards. */
static double pause_of_copy(void)
{
	double start = now_ms();
	char *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (copy == MAP_FAILED)
		exit(1);
	memcpy(copy, memory, size);
	start = now_ms() - start;
	munmap(copy, size);
	return start;
}

/* Reads and throws away, in a child. */
static pid_t drain(int ends[2])
{
	static char window[1 << 20];
	pid_t child = fork();

	if (child == 0) {
		close(ends[1]);
		while (read(ends[0], window, sizeof(window)) > 0)
			;
		_exit(0);
	}
	close(ends[0]);
	return child;
}

static double through_pipe(bool is_ours)
{
	struct vmat_range range = { memory, memory + size };
	struct vmat_snapshot *snapshot;
	double start;
	int ends[2], err = 0;
	pid_t reader;

	if (pipe2(ends, O_CLOEXEC))
		exit(1);
	fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
	reader = drain(ends);
	start = now_ms();
	if (is_ours) {
		err = vmat_snapshot_begin(&range, 1, &ends[1], 1, NULL, &snapshot);
		if (!err)
			err = vmat_snapshot_end(snapshot, NULL);
		if (err)
			fail("snapshot to a pipe", err);
	} else {
		for (size_t at = 0; at < size;) {
			ssize_t got = write(ends[1], memory + at, size - at);

			if (got < 0)
				exit(1);
			at += (size_t)got;
		}
	}
	close(ends[1]);
	waitpid(reader, NULL, 0);
	return now_ms() - start;
}

static long peak_mib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss / 1024;
}

static void row(const char *what, double ours, double theirs, const char *against, const char *said)
{
	printf("{\"what\": \"%s\", \"ours\": %.3f, \"theirs\": %.3f, \"against\": \"%s\", \"memory\": \"%s; peak %ld MiB\"}\n",
	       what, ours, theirs, against, said, peak_mib());
	fflush(stdout);
}

int main(void)
{
	double forks[ROUNDS], protects[ROUNDS], copies[ROUNDS], fork_longest[ROUNDS],
		protect_longest[ROUNDS], spliced[ROUNDS], written[ROUNDS];
	double fork_ms, protect_ms, copy_ms;

	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	madvise(memory, size, MADV_NOHUGEPAGE);
	memset(memory, 1, size);
	for (int i = 0; i < ROUNDS; i++) {
		forks[i] = pause_of(VMAT_SNAPSHOT_FORK, &fork_longest[i]);
		protects[i] = pause_of(VMAT_SNAPSHOT_PROTECT, &protect_longest[i]);
		spliced[i] = through_pipe(true);
		written[i] = through_pipe(false);
	}
	fork_ms = median(forks);
	protect_ms = median(protects);
	puts("{\"head\": \"snapshot of 1 GiB of small pages (ms the program stands still)\"}");
	row("fork", fork_ms, protect_ms, "write-protection", "pages written meanwhile twice");
	row("longest write meanwhile, fork", median(fork_longest), median(protect_longest),
	    "the same, write-protection", "16 MiB of stash");
	puts("{\"head\": \"1 GiB through a pipe to a reader (ms in all)\"}");
	row("snapshot by vmsplice, consistent", median(spliced), median(written),
	    "write(2), not consistent", "1 MiB of pipe");
	/* Last: its memory is the peak from here on. */
	for (int i = 0; i < ROUNDS; i++)
		copies[i] = pause_of_copy();
	copy_ms = median(copies);
	puts("{\"head\": \"snapshot of 1 GiB against stopping all and copying (ms the program stands still)\"}");
	row("fork", fork_ms, copy_ms, "stop and copy", "the copy is 1 GiB");
	row("write-protection", protect_ms, copy_ms, "stop and copy", "the copy is 1 GiB");
	return 0;
}
