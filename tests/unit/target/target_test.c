/* SPDX-License-Identifier: MIT */
/* Opening a target by number and by name: each way that it can fail has its own error. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <vmatlas/feature.h>

#include "recording.h"
#include "target/target_source.h"

static void check_open(const char *spec, const char *root, int code, const char *text)
{
	struct vmat_target_options options = { .size = sizeof(options), .root = root };
	struct vmat_target *target = NULL;
	struct vmat_error err = { 0 };
	int got = vmat_target_open(&target, spec, &options, &err);

	if (got != code)
		fail_msg("'%s': %d, not %d: %s", spec, got, code, err.text);
	if (code) {
		assert_null(target);
		assert_int_equal(err.code, code);
		if (!strstr(err.text, text))
			fail_msg("'%s' says: %s", spec, err.text);
	}
	vmat_target_close(target);
}

static void test_specs(void **state)
{
	(void)state;
	check_open("", NULL, -EINVAL, "no target");
	check_open("@", NULL, -EINVAL, "no target");
	check_open("12x", NULL, -EINVAL, "no target");
	check_open("-1", NULL, -EINVAL, "no target");
	check_open("1 ", NULL, -EINVAL, "no target");
	check_open("1111111111111111111111", NULL, -EINVAL, "no target");
	check_open("0", NULL, -ESRCH, "no process 0");
	check_open("99999999999", NULL, -ESRCH, "no process");
	check_open("@no such name anywhere", NULL, -ESRCH, "no process named");
	check_open("2", NULL, -ESRCH, ""); /* kthreadd, or nothing in a container */
	check_open("77", "/nonexistent", -ENOENT, "/nonexistent");
	vmat_target_close(NULL);
}

/* A process that waits until it is killed. */
static pid_t start_child(void)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return child;
}

static void test_ended(void **state)
{
	struct vmat_target *target = NULL;
	struct vmat_error err = { 0 };
	pid_t child = start_child();
	char spec[16];

	(void)state;
	snprintf(spec, sizeof(spec), "%d", (int)child);
	assert_int_equal(vmat_target_open(&target, spec, NULL, &err), 0);
	assert_int_equal(vmat_target_process(target)->pid, child);
	assert_int_equal(vmat_target_process(target)->ppid, getpid());
	assert_int_equal(vmat_target_process(target)->word_size, sizeof(void *));
	assert_int_equal(vmat_target_check(target, &err), 0);
	kill(child, SIGKILL);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(vmat_target_check(target, &err), -ESRCH);
	check_open(spec, NULL, -ESRCH, "zombie");
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(vmat_target_check(target, &err), -ESRCH);
	check_open(spec, NULL, -ESRCH, "no process");
	vmat_target_close(target);
}

/* Not to be able to look is not the same as that there is nothing. */
static void test_no_descriptors_left(void **state)
{
	struct rlimit old, tight;
	char spec[16];
	int lowest = dup(0);

	(void)state;
	close(lowest);
	snprintf(spec, sizeof(spec), "%d", (int)getpid());
	check_open(spec, NULL, 0, ""); /* probes what it needs to know once */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (int more = 0; more < 3 + vmat_feature_has(VMAT_FEATURE_PIDFD); more++) {
		struct vmat_target *target = NULL;
		struct vmat_error err = { 0 };
		int got;

		tight = old;
		tight.rlim_cur = (rlim_t)(lowest + more);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
		got = vmat_target_open(&target, spec, NULL, &err);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		if (got != -EMFILE)
			fail_msg("with %d descriptors: %d, %s", more, got, err.text);
	}
}

static void add_named(const struct recording *recording, int pid, const char *comm, char mark)
{
	char path[32], text[512];

	snprintf(path, sizeof(path), "%d/stat", pid);
	snprintf(text, sizeof(text), STAT_TEXT, pid, comm, mark, 0U, 1, 5, 0ULL);
	recording_add(recording, path, text);
}

static void test_names(void **state)
{
	struct recording recording;

	(void)state;
	recording_init(&recording);
	add_named(&recording, 77, "one", 'S');
	add_named(&recording, 78, "two", 'S');
	add_named(&recording, 79, "two", 'S');
	add_named(&recording, 80, "three", 'S');
	add_named(&recording, 81, "three", 'Z');           /* a zombie is no hit */
	add_named(&recording, (int)getpid(), "four", 'S'); /* not we: a process of the record */
	assert_int_equal(symlink("/usr/bin/five (deleted)", recording_path(&recording, "77/exe")),
			 0);
	assert_int_equal(
		symlink("/x/six (deleted) (deleted)", recording_path(&recording, "78/exe")), 0);
	check_open("@one", recording.root, 0, "");
	check_open("@two", recording.root, -EEXIST, "78, 79");
	check_open("@three", recording.root, 0, "");
	check_open("@four", recording.root, 0, "");
	check_open("@five", recording.root, 0, "");
	check_open("@six (deleted)", recording.root, 0, "");
	check_open("@on", recording.root, -ESRCH, "no process named on");
	check_open("@ne", recording.root, -ESRCH, "no process named ne");
	check_open("82", recording.root, -ENOENT, "no process 82");
	recording_deinit(&recording);
}

static void test_many_hits(void **state)
{
	struct recording recording;

	(void)state;
	recording_init(&recording);
	for (int pid = 100; pid < 120; pid++)
		add_named(&recording, pid, "many", 'S');
	check_open("@many", recording.root, -EEXIST, "20 processes are named many: 100, 101");
	recording_deinit(&recording);
}

/* What a reporter sends may be anything: a folder, a pipe, nothing. None of it may hang us. */
static void test_strange_records(void **state)
{
	struct recording recording;
	struct vmat_target *target;
	struct vmat_buffer text = { 0 };

	(void)state;
	recording_init(&recording);
	recording_add(&recording, "70/status", "Name:\tx\n");
	check_open("70", recording.root, -ENOENT, "no stat");
	recording_add(&recording, "71/stat", "nonsense");
	check_open("71", recording.root, -EBADMSG, "stat of process 71");
	recording_path(&recording, "72/stat/");
	check_open("72", recording.root, -EISDIR, "72");
	recording_path(&recording, "73/");
	assert_int_equal(mkfifo(recording_path(&recording, "73/stat"), 0600), 0);
	alarm(10);
	check_open("73", recording.root, -EBADMSG, "stat of process 73");
	recording_add_process(&recording);
	assert_int_equal(mkfifo(recording_path(&recording, "77/maps"), 0600), 0);
	target = recording_open(&recording);
	assert_int_equal(vmat_source_text(target, "maps", &text), 0);
	assert_int_equal(text.size, 0);
	alarm(0);
	vmat_buffer_deinit(&text);
	vmat_target_close(target);
	recording_deinit(&recording);
}

static void test_limit_of_regions(void **state)
{
	struct recording recording;
	struct vmat_target *target;

	(void)state;
	recording_init(&recording);
	recording_add_process(&recording);
	target = recording_open(&recording);
	assert_int_equal(vmat_reason(vmat_source_sysctl(target, "vm/max_map_count")),
			 VMAT_NOT_RECORDED);
	recording_add(&recording, "sys/vm/max_map_count", "65530\n");
	assert_int_equal(vmat_source_sysctl(target, "vm/max_map_count"), 65530);
	recording_add(&recording, "sys/vm/max_map_count", "");
	assert_false(vmat_is_known(vmat_source_sysctl(target, "vm/max_map_count")));
	vmat_target_close(target);
	recording_deinit(&recording);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_specs),
		cmocka_unit_test(test_ended),
		cmocka_unit_test(test_no_descriptors_left),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_many_hits),
		cmocka_unit_test(test_strange_records),
		cmocka_unit_test(test_limit_of_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
