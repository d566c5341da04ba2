/* SPDX-License-Identifier: MIT */
/*
 * bench_buffer [ROUNDS]: growth to 1 GiB by appends of 64 KiB, the growable buffer beside what is used today: realloc
 * of glibc, jemalloc and mimalloc, and mremap by hand. All of them double their capacity; a second table
 * grows by each append, which is where copying shows.
 *
 * Each method runs in a process of its own (for jemalloc and mimalloc with LD_PRELOAD), in turn in every round; the
 * median of CPU milliseconds and the peak of resident memory are told. One JSON object a line, for bench/run.
 */
#include <dlfcn.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmatlas/prim/buffer.h>

#define PIECE ((size_t)64 << 10)
#define MIB   ((size_t)1 << 20)

enum { ROUNDS_MAX = 15 };

static unsigned char piece[PIECE];
static volatile unsigned char sink;

static void with_vmat(size_t total, size_t step)
{
	struct vmat_buf buf;

	(void)step;
	if (vmat_buf_init(&buf, 0, 0))
		errx(1, "no buffer");
	for (size_t i = 0; i < total / PIECE; i++)
		if (vmat_buf_append(&buf, piece, PIECE))
			errx(1, "no memory");
	sink = buf.data[total - 1];
	if (buf.moves_count)
		errx(1, "the buffer moved");
	vmat_buf_deinit(&buf);
}

/* step 0: doubles. */
static size_t next_capacity(size_t capacity, size_t step)
{
	if (step)
		return capacity + step;
	return capacity ? 2 * capacity : PIECE;
}

static void with_realloc(size_t total, size_t step)
{
	unsigned char *data = NULL;
	size_t capacity = 0;

	for (size_t size = 0; size < total; size += PIECE) {
		if (size + PIECE > capacity) {
			capacity = next_capacity(capacity, step);
			data = realloc(data, capacity);
			if (!data)
				errx(1, "no memory");
		}
		memcpy(data + size, piece, PIECE);
	}
	if (data)
		sink = data[total - 1];
	free(data);
}

static void with_mremap(size_t total, size_t step)
{
	unsigned char *data =
		mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t capacity = PIECE;

	for (size_t size = 0; size < total; size += PIECE) {
		if (size + PIECE > capacity) {
			size_t wanted = next_capacity(capacity, step);

			data = mremap(data, capacity, wanted, MREMAP_MAYMOVE);
			if (data == MAP_FAILED)
				err(1, "mremap");
			capacity = wanted;
		}
		memcpy(data + size, piece, PIECE);
	}
	sink = data[total - 1];
	munmap(data, capacity);
}

static const struct method {
	const char *name;
	const char *preload;
	const char *
		symbol; /* what it has and others have not: a missing library is no error of the loader */
	void (*run)(size_t total, size_t step);
} methods[] = {
	{ "vmat_buf_append", NULL, NULL, with_vmat },
	{ "mremap by hand", NULL, NULL, with_mremap },
	{ "glibc realloc", NULL, NULL, with_realloc },
	{ "jemalloc realloc", "libjemalloc.so.2", "mallctl", with_realloc },
	{ "mimalloc realloc", "libmimalloc.so.2.0", "mi_malloc", with_realloc },
};

enum { METHODS = sizeof(methods) / sizeof(methods[0]) };

struct cost {
	double cpu_ms;
	long peak_kib;
};

static double ms(const struct timeval *time)
{
	return (double)time->tv_sec * 1e3 + (double)time->tv_usec / 1e3;
}

static struct cost run_child(size_t method, size_t total, size_t step)
{
	char number[24], total_text[24], step_text[24];
	struct rusage usage;
	int status;
	pid_t child;

	snprintf(number, sizeof(number), "%zu", method);
	snprintf(total_text, sizeof(total_text), "%zu", total);
	snprintf(step_text, sizeof(step_text), "%zu", step);
	child = fork();
	if (child == 0) {
		if (methods[method].preload)
			setenv("LD_PRELOAD", methods[method].preload, 1);
		execl("/proc/self/exe", "bench_buffer", "--run", number, total_text, step_text,
		      (char *)NULL);
		_exit(127);
	}
	if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0)
		errx(1, "%s failed", methods[method].name);
	return (struct cost){ ms(&usage.ru_utime) + ms(&usage.ru_stime), usage.ru_maxrss };
}

static int by_cpu(const void *a, const void *b)
{
	double x = ((const struct cost *)a)->cpu_ms, y = ((const struct cost *)b)->cpu_ms;

	return (x > y) - (x < y);
}

static void table(const char *title, size_t total, size_t step, int rounds)
{
	struct cost costs[METHODS][ROUNDS_MAX];

	for (int round = 0; round < rounds; round++)
		for (size_t i = 0; i < METHODS; i++)
			costs[i][round] = run_child(i, total, step);
	for (size_t i = 0; i < METHODS; i++)
		qsort(costs[i], (size_t)rounds, sizeof(struct cost), by_cpu);
	printf("{\"head\": \"%s\"}\n", title);
	for (size_t i = 1; i < METHODS; i++) {
		const struct cost *ours = &costs[0][rounds / 2], *theirs = &costs[i][rounds / 2];

		printf("{\"what\": \"vmat_buf_append\", \"ours\": %.3f, \"theirs\": %.3f, \"against\": \"%s\", "
		       "\"goal\": 1.0, \"memory\": \"peak %ld MiB, theirs %ld MiB\"}\n",
		       ours->cpu_ms, theirs->cpu_ms, methods[i].name, ours->peak_kib >> 10,
		       theirs->peak_kib >> 10);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 5;

	if (argc == 5 && !strcmp(argv[1], "--run")) {
		const struct method *method = &methods[strtoul(argv[2], NULL, 10)];

		if (method->symbol && !dlsym(RTLD_DEFAULT, method->symbol))
			errx(1, "%s is not installed", method->preload);
		memset(piece, 1, sizeof(piece));
		method->run(strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
		return 0;
	}
	if (rounds < 1 || rounds > ROUNDS_MAX)
		errx(2, "usage: bench_buffer [ROUNDS]");
	table("growth to 1 GiB by appends of 64 KiB; capacity doubles", 1024 * MIB, 0, rounds);
	table("growth to 64 MiB by appends of 64 KiB; the peers grow by each append", 64 * MIB,
	      PIECE, rounds);
	return 0;
}
