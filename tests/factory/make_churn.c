/*
 * churn: an address space that never holds still, to be read while it changes.
 *
 * Each kind of change runs in a thread of its own, as fast as it can or with a pause between the
 * changes; exec replaces the whole process by itself, under the same pid. What was done is
 * counted and printed as the last line. Counters and the time of the end outlive an exec in the
 * environment.
 */
#include <err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "factory.h"

enum { LIVE_MAPS = 64, LIVE_THREADS = 8 };

static const char state_variable[] = "VMATLAS_FACTORY_CHURN";

static _Atomic unsigned long long maps_done, threads_done, forks_done, execs_done;
static _Atomic bool is_over;
static unsigned long long end_ns; /* 0: at the end of standard input */
static unsigned long long next_exec_ns;
static useconds_t pause_us;

static pthread_t started[3];
static size_t started_count;

static unsigned long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned long long)now.tv_sec * 1000000000ULL + (unsigned long long)now.tv_nsec;
}

static void breathe(void)
{
	if (pause_us)
		usleep(pause_us);
}

static void *churn_maps(void *unused)
{
	static struct {
		char *start;
		size_t size;
	} live[LIVE_MAPS];

	unsigned int seed = (unsigned int)getpid();

	for (size_t i = 0; !is_over; i = (i + 1) % LIVE_MAPS) {
		size_t size = (size_t)(2 + rand_r(&seed) % 64) * page_size;
		void *moved;

		if (live[i].start)
			munmap(live[i].start, live[i].size);
		live[i].start = mmap(NULL, size, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (live[i].start == MAP_FAILED)
			err(1, "cannot map");
		live[i].size = size;
		write_page(live[i].start, 0);
		if (i % 2)
			mprotect(live[i].start + page_size, size - page_size, PROT_READ);
		else if (i % 4 == 0) {
			moved = mremap(live[i].start, size, 2 * size, MREMAP_MAYMOVE);
			if (moved != MAP_FAILED) {
				live[i].start = moved;
				live[i].size = 2 * size;
			}
		}
		maps_done++;
		breathe();
	}
	return unused;
}

static void *live_briefly(void *arg)
{
	char *block = malloc(5000);

	if (block)
		*(volatile char *)block = 'x';
	free(block);
	return arg;
}

static void *churn_threads(void *unused)
{
	pthread_t threads[LIVE_THREADS];

	while (!is_over) {
		size_t count = 0;

		while (count < LIVE_THREADS &&
		       !pthread_create(&threads[count], NULL, live_briefly, NULL))
			count++;
		threads_done += count;
		while (count)
			pthread_join(threads[--count], NULL);
		breathe();
	}
	return unused;
}

static void *churn_forks(void *unused)
{
	while (!is_over) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (pid > 0) {
			waitpid(pid, NULL, 0);
			forks_done++;
		}
		breathe();
	}
	return unused;
}

static void execute_again(void)
{
	char state[160], path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (length < 0)
		err(1, "cannot read /proc/self/exe");
	path[length] = '\0';
	snprintf(state, sizeof(state), "%llu %llu %llu %llu %llu", end_ns, maps_done, threads_done,
		 forks_done, execs_done + 1);
	setenv(state_variable, state, 1);
	execv(path, factory_arguments());
	err(1, "cannot execute %s", path);
}

/* Children that an exec has taken from the thread which waited for them. */
static void reap_orphans(void)
{
	int status;

	if (execs_done)
		while (waitpid(-1, &status, WNOHANG) > 0)
			;
}

static bool tick_churn(void)
{
	reap_orphans();
	if (end_ns && now_ns() >= end_ns) {
		is_over = true;
		return false;
	}
	if (next_exec_ns && now_ns() >= next_exec_ns)
		execute_again();
	return true;
}

static void print_counters(void)
{
	json_number("maps", (long long)maps_done);
	json_number("threads", (long long)threads_done);
	json_number("forks", (long long)forks_done);
	json_number("execs", (long long)execs_done);
}

/* After an exec there is nobody who waits for a first line: the one of the first life holds. */
static void resume_churn(const char *state)
{
	unsigned long long maps, threads, forks, execs;

	if (sscanf(state, "%llu %llu %llu %llu %llu", &end_ns, &maps, &threads, &forks, &execs) !=
	    5)
		errx(1, "%s is damaged", state_variable);
	maps_done = maps;
	threads_done = threads;
	forks_done = forks;
	execs_done = execs;
}

static bool is_resumed(void)
{
	return getenv(state_variable) != NULL;
}

static void make_churn(void)
{
	static const struct {
		const char *key;
		void *(*body)(void *);
	} kinds[] = {
		{ "maps", churn_maps },
		{ "threads", churn_threads },
		{ "forks", churn_forks },
	};

	const char *state = getenv(state_variable);
	size_t seconds = option_size("s", 0), exec_every_ms = option_size("exec_every_ms", 50);

	pause_us = (useconds_t)option_size("pause_us", 0);
	if (state)
		resume_churn(state);
	else if (seconds)
		end_ns = now_ns() + seconds * 1000000000ULL;
	if (option_size("exec", 0))
		next_exec_ns = now_ns() + exec_every_ms * 1000000ULL;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (option_size(kinds[i].key, 1) &&
		    pthread_create(&started[started_count++], NULL, kinds[i].body, NULL))
			errx(1, "cannot start a thread");
	if (!state)
		print_counters();
}

static void command_churn(char letter, const char *arg)
{
	(void)arg;
	if (letter == 's') {
		json_begin(NULL, '{');
		print_counters();
		json_end('}');
	} else {
		json_error("no such command: '%c'", letter);
	}
}

static void finish_churn(void)
{
	is_over = true;
	for (size_t i = 0; i < started_count; i++)
		pthread_join(started[i], NULL);
	reap_orphans();
	json_begin(NULL, '{');
	print_counters();
	json_end('}');
	json_line_end();
}

const struct scenario scenario_churn = {
	.name = "churn",
	.summary = "maps, threads and forks, and with exec=1 executes itself, as fast as it can "
		   "for s seconds"
		   " (0: until the end); prints what it did as a last line of JSON",
	.keys = "maps=1 threads=1 forks=1 exec=0 s=0 pause_us=0 exec_every_ms=50",
	.commands = "s: what was done so far",
	.make = make_churn,
	.command = command_churn,
	.tick = tick_churn,
	.finish = finish_churn,
	.is_resumed = is_resumed,
};
