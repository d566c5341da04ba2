/* SPDX-License-Identifier: MIT */
/*
 * stop_test.c: registers of both widths as plain data, and stops of children made here.
 */
#include "target/stop.h"

#include <errno.h>
#include <linux/audit.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "own_target.h"
#include "target/stop_repair.h"

#ifdef __x86_64__

/* A register set in which each word is 1000 and its place. */
static struct vmat_registers made(unsigned word_size)
{
	struct vmat_registers registers = { .raw_size = word_size == 8 ? 27 * 8 : 17 * 4 };

	for (size_t i = 0; i < registers.raw_size / word_size; i++) {
		uint64_t value = 1000 + i;

		memcpy(registers.raw + i * word_size, &value, word_size);
	}
	return registers;
}

static void set(struct vmat_registers *registers, unsigned word_size, size_t place, int64_t value)
{
	memcpy(registers->raw + place * word_size, &value, word_size);
}

static int64_t get(const unsigned char *raw, unsigned word_size, size_t place)
{
	int64_t wide = 0;
	int32_t narrow;

	if (word_size == 4) {
		memcpy(&narrow, raw + place * 4, 4);
		return narrow;
	}
	memcpy(&wide, raw + place * 8, 8);
	return wide;
}

/* Places of rax, orig_rax, rip; of eax, orig_eax, eip. */
static const size_t places[2][3] = { { 10, 15, 16 }, { 6, 11, 12 } };

static struct vmat_registers after_call(unsigned word_size, int64_t call, int64_t result)
{
	struct vmat_registers registers = made(word_size);
	const size_t *place = places[word_size == 4];

	set(&registers, word_size, place[0], result);
	set(&registers, word_size, place[1], call);
	assert_int_equal(vmat_registers_decode(&registers), 0);
	return registers;
}

static void test_decode(void **state)
{
	struct vmat_registers wide = made(8), narrow = made(4), odd = { .raw_size = 100 };

	(void)state;
	assert_int_equal(vmat_registers_decode(&wide), 0);
	assert_int_equal(wide.word_size, 8);
	assert_int_equal(wide.general_count, 15);
	assert_int_equal(wide.general[0], 1010);  /* rax */
	assert_int_equal(wide.general[6], 1004);  /* rbp */
	assert_int_equal(wide.general[14], 1000); /* r15 */
	assert_int_equal(wide.sp, 1019);
	assert_int_equal(wide.ip, 1016);
	assert_int_equal(wide.thread_pointer, 1021);
	assert_int_equal(vmat_registers_segment(&wide), -1);
	assert_int_equal(vmat_registers_decode(&narrow), 0);
	assert_int_equal(narrow.word_size, 4);
	assert_int_equal(narrow.general_count, 7);
	assert_int_equal(narrow.general[0], 1006); /* eax */
	assert_int_equal(narrow.sp, 1015);
	assert_int_equal(narrow.ip, 1012);
	set(&narrow, 4, 10, 0x63);
	assert_int_equal(vmat_registers_segment(&narrow), 12);
	set(&narrow, 4, 10, 0);
	assert_int_equal(vmat_registers_segment(&narrow), -1);
	assert_int_equal(vmat_registers_decode(&odd), -EOPNOTSUPP);
}

static void test_broken(void **state)
{
	static const struct {
		int call64, call32;
		bool is_broken;
	} calls[] = {
		{ SYS_epoll_wait, 256, true },
		{ SYS_accept4, 364, true },
		{ SYS_semtimedop, 420, true },
		{ SYS_io_uring_enter, 426, true },
		{ SYS_read, 3, true },
		/* After EINTR the descriptor is closed: once more would close another one. */
		{ SYS_close, 6, false },
		{ SYS_ioctl, 54, false },
		{ SYS_openat, 295, false },
		{ SYS_nanosleep, 162, false },
		{ -1, -1, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct vmat_registers wide = after_call(8, calls[i].call64, -EINTR);
		struct vmat_registers narrow = after_call(4, calls[i].call32, -EINTR);

		assert_int_equal(vmat_registers_is_broken(&wide), calls[i].is_broken);
		assert_int_equal(vmat_registers_is_broken(&narrow), calls[i].is_broken);
		assert_int_equal(vmat_registers_in_syscall(&wide), calls[i].call64 >= 0);
		assert_int_equal(vmat_registers_in_syscall(&narrow), calls[i].call32 >= 0);
		/* ERESTARTSYS: the kernel's to repeat. And success. */
		wide = after_call(8, calls[i].call64, -512);
		narrow = after_call(4, calls[i].call32, 0);
		assert_false(vmat_registers_is_broken(&wide));
		assert_false(vmat_registers_is_broken(&narrow));
		assert_int_equal(vmat_registers_is_restarting(&wide), calls[i].call64 >= 0);
		assert_false(vmat_registers_is_restarting(&narrow));
		narrow = after_call(4, calls[i].call32, -516);
		assert_int_equal(vmat_registers_is_restarting(&narrow), calls[i].call32 >= 0);
	}
}

static void test_rewind(void **state)
{
	static const unsigned widths[] = { 8, 4 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		unsigned word_size = widths[i];
		struct vmat_registers before = after_call(word_size, 232, -EINTR);
		unsigned char raw[VMAT_REGISTERS_RAW_SIZE];
		const size_t *place = places[i];

		vmat_registers_rewind(&before, raw);
		assert_int_equal(get(raw, word_size, place[0]), 232);
		assert_int_equal(get(raw, word_size, place[1]), -1);
		assert_int_equal(get(raw, word_size, place[2]), before.ip - 2);
		for (size_t word = 0; word < before.raw_size / word_size; word++) {
			if (word != place[0] && word != place[1] && word != place[2])
				assert_int_equal(get(raw, word_size, word), 1000 + word);
		}
		assert_true(
			vmat_registers_fits_arch(&before, i ? AUDIT_ARCH_I386 : AUDIT_ARCH_X86_64));
		assert_false(
			vmat_registers_fits_arch(&before, i ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_I386));
	}
}

#endif

static void test_signals(void **state)
{
	uint64_t chld = UINT64_C(1) << (SIGCHLD - 1), usr1 = UINT64_C(1) << (SIGUSR1 - 1);

	(void)state;
	assert_false(vmat_signal_interrupts(SIGCHLD, 0, 0));
	assert_true(vmat_signal_interrupts(SIGCHLD, chld, 0));
	assert_false(vmat_signal_interrupts(SIGCHLD, 0, chld));
	assert_true(vmat_signal_interrupts(SIGUSR1, 0, 0)); /* ends the process */
	assert_false(vmat_signal_interrupts(SIGUSR1, chld, usr1));
	assert_true(vmat_signal_interrupts(SIGSTOP, 0, 0));
	assert_true(vmat_signal_interrupts(64, UINT64_C(1) << 63, 0));
}

static struct vmat_target *opened(pid_t pid)
{
	struct vmat_target *target = NULL;
	struct vmat_error err = { 0 };
	char spec[24];

	snprintf(spec, sizeof(spec), "%d", (int)pid);
	if (vmat_target_open(&target, spec, NULL, &err))
		fail_msg("%s", err.text);
	return target;
}

static pid_t sleeper(void)
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

static void end(pid_t child)
{
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_refused(void **state)
{
	struct vmat_target *target = opened(getpid());
	struct vmat_error err = { 0 };
	struct vmat_stop *stop = NULL;
	uint64_t stopped_ns = 7;

	(void)state;
	assert_int_equal(vmat_stop_begin(&stop, target, NULL, &err), -EOPNOTSUPP);
	assert_null(stop);
	assert_non_null(strstr(err.text, "itself"));
	assert_int_equal(vmat_stop_begin(&stop, target, NULL, NULL), -EOPNOTSUPP);
	vmat_target_close(target);
	assert_int_equal(vmat_stop_end(NULL, &stopped_ns), 0);
	assert_int_equal(stopped_ns, 7);
}

static void test_ended(void **state)
{
	pid_t child = sleeper();
	struct vmat_target *target = opened(child);
	struct vmat_error err = { 0 };
	struct vmat_stop *stop = NULL;

	(void)state;
	end(child);
	assert_int_equal(vmat_stop_begin(&stop, target, NULL, &err), -ESRCH);
	assert_non_null(strstr(err.text, "has ended"));
	vmat_target_close(target);
}

static void test_stops(void **state)
{
	const struct timespec time = { .tv_nsec = 50 * 1000 * 1000 };
	struct vmat_stop_options options = { .size = sizeof(options),
					     .max_stop_ns = 20 * 1000 * 1000 };
	pid_t child = sleeper();
	struct vmat_target *target = opened(child);
	const struct vmat_stopped_thread *threads;
	struct vmat_error err = { 0 };
	struct vmat_stop *stop = NULL;
	uint64_t stopped_ns = 0;
	size_t count = 0;

	(void)state;
	if (vmat_stop_begin(&stop, target, NULL, &err))
		fail_msg("%s", err.text);
	threads = vmat_stop_threads(stop, &count);
	assert_int_equal(count, 1);
	assert_int_equal(threads[0].tid, child);
	assert_true(threads[0].registers.sp != 0);
	assert_false(vmat_stop_is_over(stop));
	assert_int_equal(vmat_stop_end(stop, &stopped_ns), 0);
	assert_in_range(stopped_ns, 1, UINT64_C(1000000000));
	/* Beyond the limit. */
	assert_int_equal(vmat_stop_begin(&stop, target, &options, &err), 0);
	nanosleep(&time, NULL);
	assert_true(vmat_stop_is_over(stop));
	assert_int_equal(vmat_stop_end(stop, &stopped_ns), -ETIMEDOUT);
	assert_true(stopped_ns >= options.max_stop_ns);
	/* Nobody else's child was reaped, and ours is alive. */
	assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
	vmat_target_close(target);
	end(child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef __x86_64__
		cmocka_unit_test(test_decode),  cmocka_unit_test(test_broken),
		cmocka_unit_test(test_rewind),
#endif
		cmocka_unit_test(test_signals), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_ended),   cmocka_unit_test(test_stops),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
