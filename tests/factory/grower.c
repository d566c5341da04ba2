/* SPDX-License-Identifier: MIT */
/*
 * grower.c: a process that does to its memory what it is told, one line of standard input each, and says when it is done. Between
 * two lines it stands still, waiting for the next: then its sizes can be compared.
 *
 *   malloc N   a block of N bytes, written       free       gives the last block back
 *   map N      N bytes of private memory         touch      writes all pages of the last mapping
 *   reserve N  N bytes without rights            regions N  N mappings that cannot merge
 *   threads N  starts N threads                  exec       executes itself again
 *   file N P   maps N bytes of the file P        exit N
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BLOCKS_MAX = 1024, PAGE = 4096 };

static void *blocks[BLOCKS_MAX];
static size_t blocks_count;
static char *mapped;
static size_t mapped_size;

static void *wait_for_ever(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void map(size_t size, int prot)
{
	mapped = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mapped_size = size;
	if (mapped == MAP_FAILED)
		exit(2);
}

static void map_file(size_t size, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
		exit(2);
	close(fd);
}

static void allocate(size_t size)
{
	if (blocks_count == BLOCKS_MAX)
		exit(2);
	blocks[blocks_count] = malloc(size);
	if (!blocks[blocks_count])
		exit(2);
	memset(blocks[blocks_count++], 1, size);
}

/* Neighbours of different rights stay apart. */
static void make_regions(size_t count)
{
	map(count * PAGE, PROT_READ | PROT_WRITE);
	for (size_t i = 0; i < count; i += 2)
		mprotect(mapped + i * PAGE, PAGE, PROT_READ);
}

static void obey(const char *what, size_t n, const char *rest, char **argv)
{
	pthread_t thread;

	if (!strcmp(what, "malloc"))
		allocate(n);
	else if (!strcmp(what, "free") && blocks_count)
		free(blocks[--blocks_count]);
	else if (!strcmp(what, "map"))
		map(n, PROT_READ | PROT_WRITE);
	else if (!strcmp(what, "reserve"))
		map(n, PROT_NONE);
	else if (!strcmp(what, "regions"))
		make_regions(n);
	else if (!strcmp(what, "file"))
		map_file(n, rest);
	else if (!strcmp(what, "exec"))
		execv(argv[0], argv);
	else if (!strcmp(what, "exit"))
		exit((int)n);
	for (size_t i = 0; i < mapped_size && !strcmp(what, "touch"); i += PAGE)
		mapped[i] = 1;
	for (size_t i = 0; i < n && !strcmp(what, "threads"); i++) {
		if (pthread_create(&thread, NULL, wait_for_ever, NULL))
			exit(2);
	}
}

int main(int argc, char **argv)
{
	static char line[1024];

	(void)argc;
	/* read(2) and write(2): stdio would take its buffers when it likes */
	for (;;) {
		char *blank, *rest = line;
		size_t n;
		ssize_t got;

		if (write(STDOUT_FILENO, "ready\n", 6) != 6)
			return 2;
		got = read(STDIN_FILENO, line, sizeof(line) - 1);
		if (got <= 0)
			return 0;
		line[got] = '\0';
		line[strcspn(line, "\n")] = '\0';
		blank = strchr(line, ' ');
		if (blank)
			*blank++ = '\0';
		n = blank ? strtoul(blank, &rest, 10) : 0;
		obey(line, n, rest + (*rest == ' '), argv);
	}
}
