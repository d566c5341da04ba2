/* SPDX-License-Identifier: MIT */
/*
 * overflow: a program that dies as it is told, to be seen in its core.
 *
 * usage: overflow HOW
 *
 *   thread   a thread of 64 KiB of stack recurses into its guard
 *   main     the main thread recurses until its stack (limited to 256 KiB) is full
 *   frame    a thread calls a function whose frame is larger than what is left of its stack, and its guard
 *   null     a thread writes to address 16
 *   guard    a thread writes into its own guard by a pointer, from high up on its stack
 *   other    a thread writes into the guard of another thread's stack
 *
 * One line of JSON says which thread it is: {"pid": N, "tid": N}.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STACK_SIZE = 64 * 1024, LIMIT = 256 * 1024, FRAME = 256 };

static const char *how;
static volatile int depth;
static char *volatile other_guard;

static void tell(void)
{
	printf("{\"pid\": %d, \"tid\": %ld}\n", (int)getpid(), syscall(SYS_gettid));
	fflush(stdout);
}

/* The result is used after the call, so it is no jump. */
static int recurse(int n) /* NOLINT(misc-no-recursion): that is what it is for */
{
	volatile char frame[FRAME];

	frame[n % FRAME] = (char)n;
	depth = n;
	return recurse(n + 1) + frame[n % FRAME];
}

/* Larger than the stack and its guard together: the first access is past both. */
static int large_frame(void)
{
	volatile char frame[STACK_SIZE + 8192];

	frame[0] = 1;
	return frame[0];
}

static char *own_guard(void)
{
	pthread_attr_t attributes;
	size_t size = 0;
	void *begin = NULL;

	if (pthread_getattr_np(pthread_self(), &attributes))
		return NULL;
	pthread_attr_getstack(&attributes, &begin, &size);
	pthread_attr_destroy(&attributes);
	return (char *)begin - 64;
}

static void *other(void *unused)
{
	other_guard = own_guard();
	pause();
	return unused;
}

static void *die(void *unused)
{
	tell();
	if (strcmp(how, "thread") == 0) {
		depth = recurse(0);
	} else if (strcmp(how, "frame") == 0) {
		depth = large_frame();
	} else {
		char *place = strcmp(how, "null") == 0    ? (char *)16
			      : strcmp(how, "guard") == 0 ? own_guard()
							  : other_guard;

		*(volatile char *)place = 1;
	}
	return unused;
}

int main(int argc, char **argv)
{
	struct rlimit limit = { LIMIT, LIMIT };
	pthread_attr_t attributes;
	pthread_t thread;

	if (argc != 2)
		return 2;
	how = argv[1];
	if (strcmp(how, "main") == 0) {
		setrlimit(RLIMIT_STACK, &limit);
		tell();
		return recurse(0);
	}
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	if (pthread_create(&thread, &attributes, other, NULL))
		return 1;
	while (!other_guard)
		usleep(1000);
	if (pthread_create(&thread, &attributes, die, NULL))
		return 1;
	pthread_join(thread, NULL);
	return 0;
}
