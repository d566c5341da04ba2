/* SPDX-License-Identifier: MIT */
/*
 * image: a consistent image of a table that a thread changes all the time. The thread moves money between accounts, so
 * that the sum is always the same; the image is taken while it does, written to a file and to a pipe, and added up.
 * `image protect` takes the way without a child.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/prim/snapshot.h>

enum { ACCOUNTS = 1 << 20, START = 1000 };

static _Atomic long *accounts;
static _Atomic bool is_over;
static _Atomic unsigned long moves;

/* Whoever takes an image in between may miss what is on its way: never more than one unit. */
static void *move_money(void *context)
{
	unsigned seed = 1;

	(void)context;
	while (!is_over) {
		size_t from = (size_t)rand_r(&seed) % ACCOUNTS,
		       to = (size_t)rand_r(&seed) % ACCOUNTS;

		atomic_fetch_sub(&accounts[from], 1);
		atomic_fetch_add(&accounts[to], 1);
		moves++;
	}
	return NULL;
}

static long add_up(FILE *file)
{
	long sum = 0, account;

	for (size_t i = 0; i < ACCOUNTS && fread(&account, sizeof(account), 1, file) == 1; i++)
		sum += account;
	return sum;
}

static int take(const struct vmat_range *range, const struct vmat_snapshot_options *options)
{
	struct vmat_snapshot_result result = { .size = sizeof(result) };
	struct vmat_snapshot *snapshot;
	FILE *file = tmpfile(), *reader;
	int ends[2], sinks[2], err;
	long sums[2];

	if (!file || pipe(ends))
		return 1;
	sinks[0] = fileno(file);
	sinks[1] = ends[1];
	err = vmat_snapshot_begin(range, 1, sinks, 2, options, &snapshot);
	close(ends[1]);
	if (err) {
		fprintf(stderr, "image: %s\n", strerrordesc_np(-err));
		return 1;
	}
	reader = fdopen(ends[0], "r");
	sums[1] = reader ? add_up(reader) : 0;
	err = vmat_snapshot_end(snapshot, &result);
	rewind(file);
	sums[0] = add_up(file);
	printf("%s: %s; %lu bytes each; in the file %ld units are missing, in the pipe %ld\n",
	       result.backend == VMAT_SNAPSHOT_FORK ? "fork" : "protect",
	       err ? strerrordesc_np(-err) : "whole", (unsigned long)result.written[0],
	       (long)ACCOUNTS * START - sums[0], (long)ACCOUNTS * START - sums[1]);
	fprintf(stderr, "the program stood still for %.1f ms\n", (double)result.pause_ns / 1e6);
	if (reader)
		fclose(reader);
	fclose(file);
	return err ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct vmat_snapshot_options options = { .size = sizeof(options) };
	const size_t size = ACCOUNTS * sizeof(*accounts);
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vmat_range range = { memory, memory + size };
	pthread_t thread;
	int code;

	if (memory == MAP_FAILED)
		return 1;
	if (argc > 1 && !strcmp(argv[1], "protect"))
		options.backend = VMAT_SNAPSHOT_PROTECT;
	accounts = (_Atomic long *)(void *)memory;
	for (size_t i = 0; i < ACCOUNTS; i++)
		accounts[i] = START;
	if (pthread_create(&thread, NULL, move_money, NULL))
		return 1;
	while (moves < 1000)
		;
	code = take(&range, &options);
	is_over = true;
	pthread_join(thread, NULL);
	return code;
}
