/* SPDX-License-Identifier: MIT */
/*
 * stop_loop: stops a process again and again, by src/target/stop.h, and says how it went.
 *
 * usage: stop_loop PID key=value...
 *   rounds=N     how often; 0 for ever (1)
 *   stand_us=N   how long the target stands in each, at random up to that (0)
 *   pause_us=N   how long it runs between two, at random up to that (100)
 *   max_ms=N     the limit of the stop (250)
 *   until_over   stands until vmat_stop_is_over says so, instead of stand_us
 *   hang         never ends the stop
 *   fork         forks the target in each stop, and reads the copy for as long as stand_us says
 *   check=ADDR   with fork: the word at ADDR of the copy must stay what it was
 *   fault=N      with fork: the stopper is killed before its Nth step; N beyond the last: never
 *   registers    prints the registers of the threads of the last stop
 * Prints a line of JSON at the end; "begun" on a line of its own at the first stop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "target/stop.h"
#include "target/target_source.h"

struct wanted {
	long rounds, stand_us, pause_us, max_ms, until_over, hang, registers, fork, check, fault;
};

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void pause_us(long us)
{
	struct timespec time = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	if (us > 0)
		nanosleep(&time, NULL);
}

static long at_most(long us)
{
	return us > 0 ? rand() % (us + 1) : 0;
}

static struct wanted read_words(int argc, char **argv)
{
	struct wanted wanted = { .rounds = 1, .pause_us = 100, .max_ms = 250 };

	struct {
		const char *name;
		long *value;
	} names[] = {
		{ "rounds", &wanted.rounds },         { "stand_us", &wanted.stand_us },
		{ "pause_us", &wanted.pause_us },     { "max_ms", &wanted.max_ms },
		{ "until_over", &wanted.until_over }, { "hang", &wanted.hang },
		{ "registers", &wanted.registers },   { "fork", &wanted.fork },
		{ "check", &wanted.check },           { "fault", &wanted.fault },
	};

	for (int a = 2; a < argc; a++) {
		size_t length = strcspn(argv[a], "=");

		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			if (strlen(names[i].name) == length &&
			    strncmp(argv[a], names[i].name, length) == 0)
				*names[i].value =
					argv[a][length] ? strtol(argv[a] + length + 1, NULL, 0) : 1;
		}
	}
	return wanted;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print_registers(const struct vmat_stop *stop)
{
	size_t count;
	const struct vmat_stopped_thread *threads = vmat_stop_threads(stop, &count);

	printf(", \"registers\": {");
	for (size_t i = 0; i < count; i++) {
		const struct vmat_registers *r = &threads[i].registers;

		printf("%s\"%d\": {\"sp\": %llu, \"ip\": %llu, \"tp\": %llu, \"word\": %u, "
		       "\"extended\": %zu, \"in_syscall\": %d, \"general\": [",
		       i ? ", " : "", (int)threads[i].tid, (unsigned long long)r->sp,
		       (unsigned long long)r->ip, (unsigned long long)r->thread_pointer,
		       r->word_size, r->extended_size, threads[i].was_in_syscall);
		for (size_t g = 0; g < r->general_count; g++)
			printf("%s%llu", g ? ", " : "", (unsigned long long)r->general[g]);
		printf("]}");
	}
	printf("}");
}

struct outcome {
	long ok, failed, wrong_time, wrong_copy;
	size_t threads, kept;
	uint64_t *times; /* how long each stop was: as many as there is room for */
	size_t room;
	int code;
	bool has_begun;
};

/* Forks, and reads a word of the copy until the time is over. */
static int look_at_copy(const struct wanted *wanted, struct vmat_stop *stop,
			struct outcome *outcome, struct vmat_error *err)
{
	uint64_t end_ns = now_ns() + (uint64_t)at_most(wanted->stand_us) * 1000, first = 0, word;
	struct vmat_target *copy;
	int code = vmat_stop_fork(stop, &copy, err);

	if (code)
		return code;
	for (bool is_first = true; wanted->check; is_first = false) {
		ssize_t got = vmat_source_read(copy, (uint64_t)wanted->check, &word, sizeof(word));

		if (vmat_stop_is_over(stop))
			break;
		if (is_first)
			first = word;
		outcome->wrong_copy += got != (ssize_t)sizeof(word) || word != first;
		if (now_ns() > end_ns)
			return 0;
	}
	pause_us(at_most(wanted->stand_us));
	return 0;
}

/* What the caller does while the target stands. */
static void stand(const struct wanted *wanted, const struct vmat_stop *stop, bool is_last)
{
	while (wanted->hang)
		pause_us(1000000);
	while (wanted->until_over && !vmat_stop_is_over(stop))
		pause_us(1000);
	pause_us(at_most(wanted->stand_us));
	if (wanted->registers && is_last)
		print_registers(stop);
}

static int stop_once(const struct wanted *wanted, struct vmat_target *target, bool is_last,
		     struct outcome *outcome, struct vmat_error *err)
{
	struct vmat_stop_options options = {
		.size = sizeof(options),
		.max_stop_ns = (uint64_t)wanted->max_ms * 1000000,
		.is_fork_wanted = wanted->fork,
		.fault_step = (unsigned)wanted->fault,
	};
	uint64_t before_ns = now_ns(), begun_ns, inside_ns, stopped_ns = 0;
	struct vmat_stop *stop = NULL;
	int ended, code = vmat_stop_begin(&stop, target, &options, err);

	if (code)
		return code;
	begun_ns = now_ns();
	if (!outcome->has_begun) {
		outcome->has_begun = true;
		printf(", \"begun\": true\n");
		fflush(stdout);
	}
	vmat_stop_threads(stop, &outcome->threads);
	if (wanted->fork)
		code = look_at_copy(wanted, stop, outcome, err);
	else
		stand(wanted, stop, is_last);
	inside_ns = now_ns() - begun_ns;
	ended = vmat_stop_end(stop, &stopped_ns);
	code = code ? code : ended;
	/* By our own clock: after a limit it ended before we did. */
	if (stopped_ns > now_ns() - before_ns || (!code && !wanted->fork && stopped_ns < inside_ns))
		outcome->wrong_time++;
	if (outcome->kept < outcome->room)
		outcome->times[outcome->kept++] = stopped_ns;
	return code;
}

static void print_outcome(const struct outcome *outcome, char *text)
{
	size_t kept = outcome->kept;

	for (char *c = text; *c; c++) {
		if (*c == '"' || *c == '\n')
			*c = ' ';
	}
	qsort(outcome->times, kept, sizeof(*outcome->times), compare);
	printf(", \"ok\": %ld, \"failed\": %ld, \"wrong_time\": %ld, \"wrong_copy\": %ld, \"code\": %d, \"text\": \"%s\", "
	       "\"threads\": %zu, \"median_ns\": %llu, \"max_ns\": %llu}\n",
	       outcome->ok, outcome->failed, outcome->wrong_time, outcome->wrong_copy,
	       outcome->code, text, outcome->threads,
	       (unsigned long long)(kept ? outcome->times[kept / 2] : 0),
	       (unsigned long long)(kept ? outcome->times[kept - 1] : 0));
}

int main(int argc, char **argv)
{
	struct wanted wanted = read_words(argc, argv);
	struct outcome outcome = { .room = wanted.rounds > 0 ? (size_t)wanted.rounds : 1 };
	struct vmat_target *target;
	struct vmat_error err = { 0 };

	srand((unsigned)getpid());
	outcome.times = calloc(outcome.room, sizeof(*outcome.times));
	if (argc < 2 || !outcome.times || vmat_target_open(&target, argv[1], NULL, &err)) {
		printf("{\"error\": \"%s\"}\n", err.text);
		free(outcome.times);
		return 1;
	}
	printf("{\"pid\": %d", (int)getpid());
	for (long round = 0; wanted.rounds == 0 || round < wanted.rounds; round++) {
		int code = stop_once(&wanted, target, round + 1 == wanted.rounds, &outcome, &err);

		outcome.code = code ? code : outcome.code;
		outcome.failed += code != 0;
		outcome.ok += code == 0;
		pause_us(at_most(wanted.pause_us));
	}
	print_outcome(&outcome, err.text);
	vmat_target_close(target);
	free(outcome.times);
	return 0;
}
