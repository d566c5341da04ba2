/* SPDX-License-Identifier: MIT */
#include "sys/sys_ptrace.h"

#include <asm/ldt.h>
#include <errno.h>
#include <linux/ptrace.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_S = 1000 * 1000 * 1000 };

/* The call itself: libc's function is variadic and knows the requests as an enum of its own. */
static int request(long what, pid_t tid, uintptr_t addr, uintptr_t data)
{
	return syscall(SYS_ptrace, what, tid, addr, data) < 0 ? -errno : 0;
}

int vmat_sys_ptrace_seize(pid_t tid)
{
	return request(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD);
}

int vmat_sys_ptrace_seize_for_good(pid_t tid)
{
	return request(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
}

int vmat_sys_ptrace_report_clones(pid_t tid, bool is_on)
{
	return request(PTRACE_SETOPTIONS, tid, 0,
		       PTRACE_O_TRACESYSGOOD | (is_on ? PTRACE_O_TRACECLONE : 0));
}

int vmat_sys_ptrace_clone(pid_t tid, pid_t *ret)
{
	unsigned long number = 0;
	int err = request(PTRACE_GETEVENTMSG, tid, 0, (uintptr_t)&number);

	if (!err)
		*ret = (pid_t)number;
	return err;
}

int vmat_sys_ptrace_get_mask(pid_t tid, uint64_t *ret)
{
	return request(PTRACE_GETSIGMASK, tid, sizeof(*ret), (uintptr_t)ret);
}

int vmat_sys_ptrace_set_mask(pid_t tid, uint64_t mask)
{
	return request(PTRACE_SETSIGMASK, tid, sizeof(mask), (uintptr_t)&mask);
}

int vmat_sys_ptrace_rseq(pid_t tid, uint64_t *ret_addr)
{
	/* struct ptrace_rseq_configuration and its request, include/uapi/linux/ptrace.h */
	enum { GET_RSEQ_CONFIGURATION = 0x420f };

	struct {
		uint64_t addr;
		uint32_t size, signature, flags, pad;
	} rseq = { 0 };

	if (syscall(SYS_ptrace, GET_RSEQ_CONFIGURATION, tid, sizeof(rseq), &rseq) < 0)
		return -errno;
	*ret_addr = rseq.addr;
	return 0;
}

int vmat_sys_ptrace_dispatches(pid_t tid, bool *ret)
{
	enum { GET_SYSCALL_USER_DISPATCH_CONFIG = 0x4211 };

	struct {
		uint64_t mode, selector, offset, length;
	} dispatch = { 0 };

	int err = request(GET_SYSCALL_USER_DISPATCH_CONFIG, tid, sizeof(dispatch),
			  (uintptr_t)&dispatch);

	if (!err)
		*ret = dispatch.mode != 0;
	return err;
}

int vmat_sys_ptrace_interrupt(pid_t tid)
{
	return request(PTRACE_INTERRUPT, tid, 0, 0);
}

int vmat_sys_ptrace_detach(pid_t tid, int signal)
{
	return request(PTRACE_DETACH, tid, 0, (uintptr_t)signal);
}

int vmat_sys_ptrace_syscall(pid_t tid, int signal)
{
	return request(PTRACE_SYSCALL, tid, 0, (uintptr_t)signal);
}

int vmat_sys_ptrace_continue(pid_t tid, int signal)
{
	return request(PTRACE_CONT, tid, 0, (uintptr_t)signal);
}

int vmat_sys_ptrace_get(pid_t tid, unsigned set, void *registers, size_t *size)
{
	struct iovec vector = { .iov_base = registers, .iov_len = *size };
	int err = request(PTRACE_GETREGSET, tid, set, (uintptr_t)&vector);

	if (!err)
		*size = vector.iov_len;
	return err;
}

int vmat_sys_ptrace_set(pid_t tid, unsigned set, const void *registers, size_t size)
{
	/* The kernel only reads it. */
	struct iovec vector = { .iov_base = (void *)(uintptr_t)registers, .iov_len = size };

	return request(PTRACE_SETREGSET, tid, set, (uintptr_t)&vector);
}

int vmat_sys_ptrace_segment(pid_t tid, unsigned index, uint64_t *ret_addr)
{
#ifdef __x86_64__
	enum { GET_THREAD_AREA = 25 }; /* arch/x86/include/uapi/asm/ptrace-abi.h */
	struct user_desc segment = { 0 };
	int err = request(GET_THREAD_AREA, tid, index, (uintptr_t)&segment);

	if (!err)
		*ret_addr = segment.base_addr;
	return err;
#else
	(void)tid, (void)index, (void)ret_addr;
	return -EOPNOTSUPP;
#endif
}

int vmat_sys_ptrace_arch(pid_t tid, uint32_t *ret)
{
	struct ptrace_syscall_info info = { 0 };
	long size = syscall(SYS_ptrace, PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info);

	if (size < 0)
		return -errno;
	*ret = info.arch;
	return 0;
}

pid_t vmat_sys_ptrace_wait(pid_t tid, int *status)
{
	pid_t got;

	do
		got = waitpid(tid, status, __WALL | WNOHANG);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

void vmat_sys_child_signal_wait(uint64_t timeout_ns)
{
	struct timespec time = { .tv_sec = (time_t)(timeout_ns / NS_PER_S),
				 .tv_nsec = (long)(timeout_ns % NS_PER_S) };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigtimedwait(&set, NULL, &time);
}

void vmat_sys_pause(uint64_t time_ns)
{
	struct timespec time = { .tv_sec = (time_t)(time_ns / NS_PER_S),
				 .tv_nsec = (long)(time_ns % NS_PER_S) };

	nanosleep(&time, NULL);
}

uint64_t vmat_sys_now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

/* What getdents64(2) fills in; libc declares it only as struct dirent. */
struct entry {
	uint64_t inode;
	int64_t next;
	uint16_t size;
	uint8_t type;
	char name[];
};

/* A decimal number that fits a pid, or -1. */
static pid_t number_of(const char *name)
{
	int64_t number = 0;

	for (const char *c = name; *c; c++) {
		if (*c < '0' || *c > '9' || number > INT32_MAX / 10)
			return -1;
		number = number * 10 + (*c - '0');
	}
	return *name && number <= INT32_MAX ? (pid_t)number : -1;
}

ssize_t vmat_sys_read_numbers(int dirfd, void *buffer, size_t size, pid_t *numbers, size_t capacity)
{
	size_t count = 0;

	if (lseek(dirfd, 0, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		long got = syscall(SYS_getdents64, dirfd, buffer, size);

		if (got <= 0)
			return got < 0 ? -errno : (ssize_t)count;
		for (char *at = buffer, *end = at + got; at < end;) {
			const struct entry *entry = (const void *)at;
			pid_t number = number_of(entry->name);

			at += entry->size;
			if (number < 0)
				continue;
			if (count == capacity)
				return -E2BIG;
			numbers[count++] = number;
		}
	}
}

int vmat_sys_channel(int ret[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret) < 0 ? -errno : 0;
}

int vmat_sys_channel_send(int fd, char byte)
{
	ssize_t sent;

	do
		sent = send(fd, &byte, 1, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* As ppoll(2): 1 when there is something to read or the other end is gone, 0 when the time is over. */
static int wait_readable(int fd, uint64_t end_ns)
{
	for (;;) {
		uint64_t now_ns = vmat_sys_now_ns();
		uint64_t left_ns = now_ns < end_ns ? end_ns - now_ns : 0;
		struct timespec time = { .tv_sec = (time_t)(left_ns / NS_PER_S),
					 .tv_nsec = (long)(left_ns % NS_PER_S) };
		struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
		int ready = ppoll(&poll_fd, 1, &time, NULL);

		if (ready >= 0)
			return ready;
		if (errno != EINTR)
			return -errno;
	}
}

int vmat_sys_channel_receive(int fd, uint64_t timeout_ns)
{
	uint64_t now_ns = vmat_sys_now_ns();
	int ready = wait_readable(fd, timeout_ns > UINT64_MAX - now_ns ? UINT64_MAX
								       : now_ns + timeout_ns);
	char byte = 0;
	ssize_t got;

	if (ready <= 0)
		return ready < 0 ? ready : -ETIMEDOUT;
	do
		got = recv(fd, &byte, 1, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == ECONNRESET ? 0 : -errno;
	return got == 0 ? 0 : (unsigned char)byte;
}

bool vmat_sys_channel_is_closed(int fd)
{
	struct pollfd poll_fd = { .fd = fd };

	/* POLLHUP is told without being asked for. */
	return poll(&poll_fd, 1, 0) > 0;
}

enum { TRACER_STACK = 256 << 10 };

struct job {
	void (*work)(void *context);
	void *context;
};

static void *run_job(void *argument)
{
	struct job *job = argument;

	job->work(job->context);
	/* At once: what libc does at the end of a thread takes as long as the kernel's part of it. */
	syscall(SYS_exit, 0);
	return NULL;
}

bool vmat_sys_tracer_thread(void (*work)(void *context), void *context)
{
	/*
	 * A stack of our own, one thread at a time: libc's would be used again with what the thread
	 * before left behind, which it had no time to clear (its specific data, for one).
	 */
	static char stack[TRACER_STACK] __attribute__((aligned(64)));
	struct job job = { work, context };
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	pthread_attr_init(&attr);
	err = pthread_attr_setstack(&attr, stack, sizeof(stack));
	if (!err)
		err = pthread_create(&thread, &attr, run_job, &job);
	pthread_attr_destroy(&attr);
	if (err)
		return false;
	pthread_join(thread, NULL);
	return true;
}

pid_t vmat_sys_tracer_start(void (*work)(void *context), void *context)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t all, old;
	pid_t pid;

	/* Blocked before the fork: no handler of the caller ever runs in the child. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0) {
		/* A kill of the caller's group must not keep the child from letting the target go. */
		setpgid(0, 0);
		/* Ignored, it would not be sent, and threads would be reaped behind our back. */
		sigaction(SIGCHLD, &plain, NULL);
		work(context);
		_exit(0);
	}
	pid = pid < 0 ? -errno : pid;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pid;
}

void vmat_sys_tracer_die(void)
{
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

void vmat_sys_tracer_reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void vmat_sys_run_first(void)
{
	const struct sched_param lowest = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest))
		setpriority(PRIO_PROCESS, 0, -20);
}

int vmat_sys_die_after(uint64_t timeout_ns)
{
	static int timer = -1; /* the kernel's number, of this process: not inherited by children */
	struct itimerspec time = {
		.it_value = { .tv_sec = (time_t)(timeout_ns / NS_PER_S),
			      .tv_nsec = (long)(timeout_ns % NS_PER_S) },
	};
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };

	/* The calls themselves: libc's timer_create may allocate. */
	if (timer < 0 && syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) < 0)
		return -errno;
	return syscall(SYS_timer_settime, timer, 0, &time, NULL) < 0 ? -errno : 0;
}
