/* SPDX-License-Identifier: MIT */
/*
 * The tracker by mprotect among foreign SIGSEGV handlers, and at the limit of regions. Each foreign handler must see all
 * of its own faults and none of the tracker's.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmatlas/prim/track.h>

#include "cmocka_all.h"

enum { PAGE = 4096, PAGES = 64, FAULTS = 200 };

static char *tracked, *forbidden;
static sigjmp_buf back;
static volatile sig_atomic_t first_seen, second_seen, wrong_seen;
static struct sigaction before_second;

static void check(const siginfo_t *info)
{
	if (info->si_addr != forbidden)
		wrong_seen++;
}

static void first(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	check(info);
	first_seen++;
	siglongjmp(back, 1);
}

static void plain(int sig)
{
	(void)sig;
	first_seen++;
	siglongjmp(back, 1);
}

/* Comes later, asks the tracker. */
static void asks(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	if (vmat_track_fault(info, context))
		return;
	check(info);
	second_seen++;
	siglongjmp(back, 1);
}

/* Comes later, and hands on all that is not its own, which is nothing. */
static void hands_on(int sig, siginfo_t *info, void *context)
{
	second_seen++;
	before_second.sa_sigaction(sig, info, context);
}

/* Comes later and knows of nobody. */
static void selfish(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	check(info);
	second_seen++;
	siglongjmp(back, 1);
}

static void install(void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };

	sigaction(SIGSEGV, &action, &before_second);
}

static struct vmat_track *open_it(void)
{
	struct vmat_track_options options = { .size = sizeof(options),
					      .backend = VMAT_TRACK_MPROTECT };
	struct vmat_track *track = NULL;

	return vmat_track_open(tracked, PAGES * PAGE, &options, &track) ? NULL : track;
}

/* Foreign faults and tracked writes by turns. Whether each of the two came where it belongs. */
static bool run(struct vmat_track *track, volatile sig_atomic_t *seen)
{
	struct vmat_range runs[PAGES];

	*seen = 0;
	for (volatile int i = 0; i < FAULTS; i++) {
		tracked[i % PAGES * PAGE] = (char)i;
		if (!sigsetjmp(back, 1))
			*(volatile char *)forbidden = 1;
		if (*seen != i + 1)
			return false;
		if (i % 8 == 7 && vmat_track_collect(track, runs, PAGES) != 1)
			return false;
	}
	return wrong_seen == 0;
}

static int with_handler_before(void)
{
	struct vmat_track *track;

	install(first, 0);
	track = open_it();
	return track && run(track, &first_seen) ? 0 : 1;
}

static int with_plain_before(void)
{
	struct sigaction action = { .sa_handler = plain };
	struct vmat_track *track;

	sigaction(SIGSEGV, &action, NULL);
	track = open_it();
	return track && run(track, &first_seen) ? 0 : 1;
}

static int with_alternate_stack(void)
{
	stack_t stack = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };

	return sigaltstack(&stack, NULL) ? 9 : with_handler_before();
}

static int with_handler_that_asks(void)
{
	struct vmat_track *track = open_it();
	struct vmat_range runs[PAGES];

	install(asks, 0);
	tracked[5 * PAGE] = 1;
	if (!track || vmat_track_collect(track, runs, PAGES) != 1)
		return 1;
	return run(track, &second_seen) ? 0 : 2;
}

static int with_handler_that_hands_on(void)
{
	struct vmat_track *track;
	struct vmat_range runs[PAGES];

	install(first, 0);
	track = open_it();
	install(hands_on, SA_NODEFER);
	tracked[5 * PAGE] = 1;
	/* From here on the tracker is in front again, and the chain leads through it twice. */
	if (!track || second_seen != 1 || vmat_track_collect(track, runs, PAGES) != 1)
		return 1;
	if (!run(track, &first_seen))
		return 2;
	return second_seen == FAULTS + 1 ? 0 : 3;
}

static int with_selfish_handler(void)
{
	struct vmat_track *track = open_it();
	struct vmat_range runs[PAGES];

	install(selfish, 0);
	if (!track || vmat_track_collect(track, runs, PAGES) != 0)
		return 1;
	return run(track, &second_seen) ? 0 : 2;
}

static int after_close(void)
{
	struct vmat_track *track;

	install(first, 0);
	track = open_it();
	if (!track)
		return 1;
	vmat_track_close(track);
	tracked[0] = 1;
	if (!sigsetjmp(back, 1))
		*(volatile char *)forbidden = 1;
	if (first_seen != 1 || wrong_seen)
		return 2;
	/* What is protected afterwards is nobody's but its owner's. */
	mprotect(tracked, PAGES * PAGE, PROT_READ);
	forbidden = tracked + 3 * PAGE;
	for (volatile int i = 0; i < FAULTS; i++)
		if (!sigsetjmp(back, 1))
			*(volatile char *)forbidden = 1;
	return first_seen == 1 + FAULTS && !wrong_seen ? 0 : 3;
}

static int dies_by_fault(void)
{
	if (!open_it())
		return 1;
	*(volatile char *)forbidden = 1;
	return 2;
}

static int dies_by_kill(void)
{
	if (!open_it())
		return 1;
	raise(SIGSEGV);
	return 2;
}

static int ignores_kill(void)
{
	struct sigaction action = { .sa_handler = SIG_IGN };

	sigaction(SIGSEGV, &action, NULL);
	if (!open_it())
		return 1;
	raise(SIGSEGV);
	tracked[0] = 1;
	return 0;
}

/* A handler of another signal writes to tracked memory, also while the tracker answers. */
static void tick(int sig)
{
	static unsigned count;

	(void)sig;
	tracked[count++ % PAGES * PAGE] = 1;
}

static int with_other_signals(void)
{
	struct sigaction action = { .sa_handler = tick, .sa_flags = SA_RESTART };
	struct itimerval interval = { { 0, 200 }, { 0, 200 } };
	struct vmat_track *track = open_it();
	struct vmat_range runs[PAGES];

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &interval, NULL);
	for (int i = 0; i < 20000; i++) {
		tracked[i % PAGES * PAGE + 8] = 1;
		if (vmat_track_collect(track, runs, PAGES) < 1)
			return 1;
	}
	return 0;
}

static int in_child(int (*work)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		tracked = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		forbidden = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		alarm(30);
		/* cmocka's own handlers are not part of the test. */
		signal(SIGSEGV, SIG_DFL);
		_exit(work());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void test_handlers(void **state)
{
	(void)state;
	assert_int_equal(in_child(with_handler_before), 0);
	assert_int_equal(in_child(with_plain_before), 0);
	assert_int_equal(in_child(with_alternate_stack), 0);
	assert_int_equal(in_child(with_handler_that_asks), 0);
	assert_int_equal(in_child(with_handler_that_hands_on), 0);
	assert_int_equal(in_child(with_selfish_handler), 0);
	assert_int_equal(in_child(after_close), 0);
}

static void test_default_actions(void **state)
{
	(void)state;
	assert_int_equal(in_child(dies_by_fault), 128 + SIGSEGV);
	assert_int_equal(in_child(dies_by_kill), 128 + SIGSEGV);
	assert_int_equal(in_child(ignores_kill), 0);
}

static void test_other_signals(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__
	return; /* ThreadSanitizer calls handlers when it likes to, blocked or not */
#endif
	assert_int_equal(in_child(with_other_signals), 0);
}

/* Half of all pages, each on its own: more separate places than the process may have regions. */
static void test_limit_of_regions(void **state)
{
	const size_t pages = 262144;
	struct vmat_track_options options = { .size = sizeof(options),
					      .backend = VMAT_TRACK_MPROTECT };
	struct vmat_track_info info = { .size = sizeof(info) };
	char *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct vmat_range *runs = calloc(pages, sizeof(*runs));
	struct vmat_track *track = NULL;

	(void)state;
	assert_ptr_not_equal(memory, MAP_FAILED);
	for (unsigned round = 0; round < 2; round++) {
		size_t at = 0, first_inexact = 0;
		ssize_t got;

		assert_int_equal(vmat_track_open(memory, pages * PAGE, &options, &track), 0);
		for (size_t page = 0; page < pages; page += 2) {
			memory[page * PAGE] = (char)(page % 251);
			vmat_track_info(track, &info);
			if (info.granule_size > PAGE && !first_inexact)
				first_inexact = page / 2;
		}
		/* Exact for 28,000 places, and never at the end of its regions. */
		assert_true(first_inexact > 25000);
		assert_int_equal(info.overflows, 0);
		got = vmat_track_collect(track, runs, pages);
		assert_true(got > 25000);
		for (size_t page = 0; page < pages; page += 2) {
			while (at < (size_t)got && runs[at].end <= memory + page * PAGE)
				at++;
			assert_true(at < (size_t)got && runs[at].start <= memory + page * PAGE);
			assert_int_equal(memory[page * PAGE], (char)(page % 251));
		}
		assert_int_equal(vmat_track_collect(track, runs, pages), 0);
		vmat_track_info(track, &info);
		assert_int_equal(info.granule_size, PAGE);
		track = vmat_track_close(track);
	}
	munmap(memory, pages * PAGE);
	free(runs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handlers),
		cmocka_unit_test(test_default_actions),
		cmocka_unit_test(test_other_signals),
		cmocka_unit_test(test_limit_of_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
