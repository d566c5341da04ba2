/* SPDX-License-Identifier: MIT */
/*
 * sys_jail.c: a child process without rights.
 *
 * What it may do is a list of system calls, for any argument: none of them reaches a file or a process by
 * name. Descriptors are those that it was left with. All other calls fail with EPERM rather than kill, so
 * that a library which would only like to open something more (elfutils, for supplementary files) goes
 * on without it. Facts: seccomp(2), prctl(2) PR_SET_NO_NEW_PRIVS, setrlimit(2).
 */
#include "sys/sys_jail.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/sys_process.h"

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#define OUR_ARCH 0 /* not known: no filter is written, and nothing is run */
#endif

enum { PAGE_SIZE = 4096, PROBE_TIMEOUT_MS = 20000 };

#define ALLOW(call)                                             \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##call, 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static const struct sock_filter filter[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#if defined(__x86_64__)
	/* Calls of x32 have this bit, and the same numbers otherwise. */
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
#endif
	ALLOW(read),
	ALLOW(pread64),
	ALLOW(lseek),
	ALLOW(mmap),
	ALLOW(munmap),
	ALLOW(mremap),
	ALLOW(mprotect),
	ALLOW(madvise),
	ALLOW(brk),
	ALLOW(futex),
	ALLOW(getrandom),
	ALLOW(exit),
	ALLOW(exit_group),
#ifdef __SANITIZE_ADDRESS__ /* it asks for its stacks before each call that does not return */
	ALLOW(sigaltstack),
	ALLOW(gettid),
#endif
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
};

/* Of the address space: the size that /proc/self/statm says, in bytes; 0 when it cannot be read. */
static uint64_t own_size(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	char line[128] = "";
	uint64_t pages = 0;

	if (!file)
		return 0;
	if (fgets(line, sizeof(line), file))
		for (const char *c = line; *c >= '0' && *c <= '9'; c++)
			pages = pages * 10 + (uint64_t)(*c - '0');
	fclose(file);
	return pages * PAGE_SIZE;
}

static void limit(unsigned resource, uint64_t value)
{
	const struct rlimit both = { .rlim_cur = value, .rlim_max = value };

	setrlimit((__rlimit_resource_t)resource, &both);
}

/* Closes all descriptors but those of the jail. */
static void close_others(const struct vmat_sys_jail *jail)
{
	unsigned from = 0;

	for (size_t i = 0; i <= jail->fds_count; i++) {
		unsigned until = i < jail->fds_count ? (unsigned)jail->fds[i] : ~0U;

		if (until > from && syscall(SYS_close_range, from, until - 1, 0) < 0) {
			/* Before Linux 5.9: one by one, as far as anybody goes. */
			for (unsigned fd = from; fd < until && fd < 65536; fd++)
				close((int)fd);
		}
		from = until + 1;
	}
}

static int lock_up(const struct vmat_sys_jail *jail)
{
	const struct sock_fprog program = {
		.len = sizeof(filter) / sizeof(filter[0]),
		.filter = (struct sock_filter *)(uintptr_t)filter, /* the kernel only reads it */
	};
#ifndef __SANITIZE_ADDRESS__ /* its shadow is most of the address space */
	uint64_t size = own_size();

	if (!size)
		return -ENOSYS;
	limit(RLIMIT_AS, size + jail->memory_bytes);
#else
	(void)own_size;
#endif
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_CPU, (uint64_t)jail->timeout_ms / 1000 + 1);
	close_others(jail);
	limit(RLIMIT_NOFILE, 0);
	if (!OUR_ARCH || prctl(PR_SET_DUMPABLE, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return -ENOSYS;
	return 0;
}

struct inmate {
	const struct vmat_sys_jail *jail;
	void (*work)(void *context);
	void *context;
};

static void live_in_jail(void *context)
{
	const struct inmate *inmate = context;

	if (lock_up(inmate->jail) < 0)
		_exit(2);
	inmate->work(inmate->context);
}

int vmat_sys_run_jailed(void (*work)(void *context), void *context,
			const struct vmat_sys_jail *jail)
{
	struct inmate inmate = { .jail = jail, .work = work, .context = context };

	return vmat_sys_run_child(live_in_jail, &inmate, jail->timeout_ms);
}

/* A call that is not on the list must fail. */
static void try_to_look_out(void *context)
{
	(void)context;
	if (getppid() != -1)
		_exit(3);
}

int vmat_sys_jail_probe(void)
{
	const struct vmat_sys_jail jail = { .memory_bytes = 1 << 20,
					    .timeout_ms = PROBE_TIMEOUT_MS };

	return vmat_sys_run_jailed(try_to_look_out, NULL, &jail) ? -ENOSYS : 0;
}
