/* SPDX-License-Identifier: MIT */
/* What a locked up child can do, and what it cannot. */
#include "sys/sys_jail.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "sys/sys_process.h"

enum { MEMORY = 64 << 20 };

struct report {
	int kept, other;
	bool can_read, can_map, can_allocate;
	int errors[8];
	bool is_over;
};

/* The errno of each thing that it must not be able to do; 0 where it could. */
static void try_all(void *context)
{
	struct report *report = context;
	char byte;
	void *large;

	report->can_read = read(report->kept, &byte, 1) == 1 && byte == '#';
	report->can_map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, report->kept, 0) != MAP_FAILED;
	large = malloc(MEMORY / 4);
	report->can_allocate = large != NULL;
	free(large);
	report->errors[0] = open("/etc/passwd", O_RDONLY) < 0 ? errno : 0;
	report->errors[1] = read(report->other, &byte, 1) < 0 ? errno : 0;
	report->errors[2] = write(1, "x", 1) < 0 ? errno : 0;
	report->errors[3] = socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0;
	report->errors[4] = fork() < 0 ? errno : 0;
	report->errors[5] = kill(getppid(), 0) < 0 ? errno : 0;
	report->errors[6] = mkdir("/tmp/vmatlas-jail", 0700) < 0 ? errno : 0;
	large = mmap(NULL, 2 * MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	report->errors[7] = large == MAP_FAILED ? errno : 0;
	report->is_over = true;
}

static void can_do_only_what_is_listed(void **state)
{
	static const int expected[] = { EPERM, EBADF, EPERM, EPERM, EPERM, EPERM, EPERM, ENOMEM };
	struct report *report = vmat_sys_shared_alloc(sizeof(*report));
	struct vmat_sys_jail jail = {
		.fds = &report->kept, .fds_count = 1, .memory_bytes = MEMORY, .timeout_ms = 5000
	};

	(void)state;
	assert_non_null(report);
	report->other = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	report->kept = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_true(report->kept >= 0);
	close(report->kept);
	report->kept = open("/bin/ldd", O_RDONLY | O_CLOEXEC); /* a script: it begins with # */
	assert_int_equal(vmat_sys_run_jailed(try_all, report, &jail), 0);
	assert_true(report->is_over && report->can_read && report->can_map && report->can_allocate);
	for (size_t i = 0; i < 8; i++) {
#ifdef __SANITIZE_ADDRESS__
		if (expected[i] == ENOMEM)
			continue;
#endif
		if (report->errors[i] != expected[i])
			fail_msg("%zu: errno %d, expected %d", i, report->errors[i], expected[i]);
	}
	close(report->kept);
	close(report->other);
	vmat_sys_shared_free(report, sizeof(*report));
}

static void spin(void *context)
{
	volatile int *forever = context;

	while (!*forever)
		;
}

static void crash(void *context)
{
	*(volatile int *)context = 1;
	raise(SIGSEGV); /* refused */
	__builtin_trap();
}

static void its_end_is_told(void **state)
{
	const struct vmat_sys_jail brief = { .memory_bytes = MEMORY, .timeout_ms = 200 };
	const struct vmat_sys_jail jail = { .memory_bytes = MEMORY, .timeout_ms = 30000 };
	int *shared = vmat_sys_shared_alloc(sizeof(*shared));

	(void)state;
	assert_int_equal(vmat_sys_run_jailed(spin, shared, &brief), -ETIMEDOUT);
	assert_int_equal(vmat_sys_run_jailed(crash, shared, &jail), -ECHILD);
	assert_int_equal(*shared, 1);
	vmat_sys_shared_free(shared, sizeof(*shared));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(can_do_only_what_is_listed),
		cmocka_unit_test(its_end_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
