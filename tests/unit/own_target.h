/* SPDX-License-Identifier: MIT */
/*
 * own_target.h: this process, or a child of it, as a target; and checks that run in a child, since the
 * states of kernel features are remembered for the life of a process.
 */
#ifndef VMAT_OWN_TARGET_H
#define VMAT_OWN_TARGET_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "target/target_source.h"

enum { PAGE = 4096 };

#ifdef __SANITIZE_ADDRESS__
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

__attribute__((unused)) static void check_that(bool is_true, const char *file, int line,
					       const char *text)
{
	if (is_true)
		return;
	fprintf(stderr, "%s:%d: %s\n", file, line, text);
	_exit(1);
}

/* In a child an assertion of cmocka would go on with the tests of its parent: this one ends it. */
#define CHECK(condition) check_that((condition), __FILE__, __LINE__, #condition)

/* Runs `check` in a child with VMAT_WITHOUT set to `list`, whatever it is here. */
__attribute__((unused)) static void in_child(const char *list, void (*check)(void))
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		setenv("VMAT_WITHOUT", list, 1);
		check();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("without \"%s\": status %#x", list, (unsigned)status);
}

/* With each of the ways of looking at pages forced. */
__attribute__((unused)) static void in_children(void (*check)(void))
{
	in_child("", check);
	in_child("pagemap_scan", check);
	in_child("page_guard", check);
	in_child("pagemap_scan,page_frames", check);
	in_child("pidfd", check);
}

/* The same for what looks at all of the address space: a sanitizer's 20 TiB page by page take minutes. */
__attribute__((unused)) static void in_children_of_all(void (*check)(void))
{
	if (!IS_SANITIZED)
		in_children(check);
	else
		in_child("", check);
}

__attribute__((unused)) static struct vmat_target *open_process(pid_t pid)
{
	struct vmat_target *target = NULL;
	struct vmat_error err = { 0 };
	char spec[16];

	snprintf(spec, sizeof(spec), "%d", (int)pid);
	if (vmat_target_open(&target, spec, NULL, &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	return target;
}

/* Anonymous memory of its own region, which no huge page covers. */
__attribute__((unused)) static char *map_pages(size_t pages)
{
	/* No neighbour with equal rights: it would be the same region. */
	char *memory = mmap(NULL, (pages + 2) * PAGE, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED || mprotect(memory + PAGE, pages * PAGE, PROT_READ | PROT_WRITE))
		abort();
	madvise(memory + PAGE, pages * PAGE, MADV_NOHUGEPAGE);
	return memory + PAGE;
}

/* Waits until the first thread of a process is in a state of proc(5), as 'S' or 'Z', however busy the machine is. */
__attribute__((unused)) static void wait_for_state(pid_t pid, char wanted)
{
	char path[32], text[1024], state = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	for (int i = 0; i < 20000 && state != wanted; i++) {
		FILE *file = fopen(path, "re");

		if (file && fgets(text, sizeof(text), file))
			sscanf(strrchr(text, ')'), ") %c", &state);
		if (file)
			fclose(file);
		if (state != wanted)
			nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL);
	}
	CHECK(state == wanted);
}

/* For a child: it ends with its parent, also with one that has ended already. */
__attribute__((unused)) static void end_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
}

/* A process that waits until it is killed, and does so when this returns. */
__attribute__((unused)) static pid_t start_child(void)
{
	pid_t parent = getpid(), child = fork();

	if (child == 0) {
		end_with(parent);
		for (;;)
			pause();
	}
	if (child > 0)
		wait_for_state(child, 'S');
	return child;
}

__attribute__((unused)) static void end_child(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* A fact of smaps in kB for the region that begins at `addr`; -1 when it is not there. */
__attribute__((unused)) static long smaps_fact(pid_t pid, const void *addr, const char *name)
{
	char path[32], line[512], begin[32];
	bool is_region = false;
	long value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	snprintf(begin, sizeof(begin), "%08lx-", (unsigned long)(uintptr_t)addr);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (line[0] < 'A' || line[0] > 'Z')
			is_region = strncmp(line, begin, strlen(begin)) == 0;
		else if (is_region && strncmp(line, name, strlen(name)) == 0)
			value = strtol(line + strlen(name), NULL, 10);
	}
	if (file)
		fclose(file);
	return value;
}

#endif
