/* SPDX-License-Identifier: MIT */
/*
 * core_flips: asks everything of a core file, again and again, with some of its bytes flipped or its end cut off.
 *
 * usage: core_flips CORE COUNT SEED
 *
 * Case N of a seed is always the same. Of seven cases in eight 1 to 8 bytes are changed: in the first page, in the
 * first 64 KiB, where headers and notes are, or in any page that the file holds; of the eighth the end is cut off. Each
 * runs in a child with a limit of time and of memory. One line of JSON says what came of them; a case that crashed or
 * hung is named on stderr, and 1 is returned.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../fuzz/core_all.h"

enum { HEAD = 65536, BLOCK = 4096, BATCH = 64, SECONDS_MAX = 20 };

#define MEMORY_MAX (UINT64_C(1) << 46) /* address space; what is reserved is not used */

/* The blocks of the core that are no holes. */
static struct block {
	off_t offset;
	unsigned char bytes[BLOCK];
} * blocks;

static size_t blocks_count;
static off_t core_size;

static struct counts {
	size_t next; /* the case that runs */
	size_t answers[CORE_WALKED + 1];
} * counts;

static uint64_t state;

static uint64_t random_below(uint64_t below)
{
	/* xorshift64, Marsaglia 2003 */
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static int read_core(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat stat;
	size_t capacity = 0;

	if (fd < 0 || fstat(fd, &stat) < 0)
		return -1;
	core_size = stat.st_size;
	for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0; at += BLOCK) {
		at &= ~(off_t)(BLOCK - 1);
		if (blocks_count == capacity) {
			capacity = capacity ? 2 * capacity : 256;
			blocks = realloc(blocks, capacity * sizeof(*blocks));
			if (!blocks)
				return -1;
		}
		memset(&blocks[blocks_count], 0, sizeof(*blocks));
		blocks[blocks_count].offset = at;
		if (pread(fd, blocks[blocks_count].bytes, BLOCK, at) < 0)
			return -1;
		blocks_count++;
	}
	close(fd);
	return blocks_count ? 0 : -1;
}

static void change(int fd)
{
	uint64_t count = 1 + random_below(8);

	while (count--) {
		const struct block *block = &blocks[random_below(blocks_count)];
		off_t places[] = { (off_t)random_below(BLOCK), (off_t)random_below(HEAD),
				   block->offset + (off_t)random_below(BLOCK) };
		off_t at = places[random_below(3)];
		unsigned char byte = (unsigned char)random_below(256);

		if (at < core_size && pwrite(fd, &byte, 1, at) != 1)
			abort();
	}
}

static void run_case(size_t number, uint64_t seed)
{
	int fd = memfd_create("core", MFD_CLOEXEC);
	char path[40];
	off_t end = core_size;

	state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + number * UINT64_C(0xbf58476d1ce4e5b9);
	state |= 1;
	for (int i = 0; i < 4; i++)
		random_below(2);
	if (fd < 0)
		abort();
	if (number % 8 == 7) /* small and large sizes alike */
		end = (off_t)random_below((uint64_t)core_size >> random_below(12));
	for (size_t i = 0; i < blocks_count && blocks[i].offset < end; i++) {
		if (pwrite(fd, blocks[i].bytes, BLOCK, blocks[i].offset) != BLOCK)
			abort();
	}
	if (ftruncate(fd, end) < 0)
		abort();
	if (number % 8 != 7)
		change(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	alarm(SECONDS_MAX);
	counts->answers[core_ask_all(path)]++;
	alarm(0);
	close(fd);
}

static void run_batch(size_t until, uint64_t seed)
{
	const struct rlimit memory = { MEMORY_MAX, MEMORY_MAX }, core = { 0, 0 };

	setrlimit(RLIMIT_AS, &memory);
	setrlimit(RLIMIT_CORE, &core);
	for (; counts->next < until; counts->next++)
		run_case(counts->next, seed);
	_exit(0);
}

int main(int argc, char **argv)
{
	size_t count, bad = 0;
	uint64_t seed;

	if (argc != 4 || read_core(argv[1]))
		return 2;
	count = strtoul(argv[2], NULL, 10);
	seed = strtoul(argv[3], NULL, 10);
	counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (counts == MAP_FAILED)
		return 2;
	while (counts->next < count) {
		size_t until = counts->next + BATCH < count ? counts->next + BATCH : count;
		pid_t child = fork();
		int status = 0;

		if (child < 0)
			return 2;
		if (child == 0)
			run_batch(until, seed);
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		if (status) {
			fprintf(stderr, "case %zu of seed %s of %s: %s %d\n", counts->next, argv[3],
				argv[1], WIFSIGNALED(status) ? "signal" : "exit",
				WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
			counts->next++;
			bad++;
		}
	}
	printf("{\"refused\": %zu, \"opened\": %zu, \"mapped\": %zu, \"walked\": %zu, \"bad\": "
	       "%zu}\n",
	       counts->answers[CORE_REFUSED], counts->answers[CORE_OPENED],
	       counts->answers[CORE_MAPPED], counts->answers[CORE_WALKED], bad);
	return bad ? 1 : 0;
}
