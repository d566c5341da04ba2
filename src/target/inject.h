/* SPDX-License-Identifier: MIT */
/*
 * inject.h: system calls that a stopped thread of a stranger makes for us, as registers and bytes of stack.
 *
 * No code is written. The thread is set onto a `syscall; ret` that the target has (in its libc), and finds
 * on its own stack, below the red zone, what a signal handler would find there: the address of libc's
 * `mov $15, %rax; syscall` (rt_sigreturn) and a frame with all that the thread was. So it makes our call,
 * "returns" into rt_sigreturn and is, by one system call, back where it stood: registers, vectors, signal
 * mask. This happens also when nobody traces it any more, whenever that came about. Whoever still traces
 * it after the call puts the registers back himself, and the frame is not used.
 *
 * An injected fork gives the child another stack, with two more frames: rt_sigreturn into poll(2) for some
 * seconds, and from that into exit_group(2). A child that nobody seizes ends by itself, without having
 * run an instruction of the target's own.
 *
 * rt_sigreturn forgets how a call with a time-out was to go on (restart_block): in the frame, such a call
 * is made again as it was made first, and returns EINTR if it was being gone on with already
 * (restart_syscall(2)). A frame never changes the thread's signal stack (its ss_flags are none).
 *
 * Pure: plain data in and out. stopper_fork.c knows when. Facts: arch/x86/kernel/signal_64.c
 * (restore_sigcontext), arch/x86/kernel/fpu/signal.c (check_xstate_in_sigframe).
 */
#ifndef VMAT_INJECT_H
#define VMAT_INJECT_H

#include "target/stop_repair.h"

enum {
	VMAT_INJECT_SIZE = 6144, /* frames of 312 bytes and the vectors without AMX's tiles */
	VMAT_INJECT_CHILD_WAITS_MS = 10000,
};

/* Where the target has the code that is needed. */
struct vmat_inject_code {
	uint64_t syscall_addr; /* syscall; ret */
	uint64_t restore_addr; /* rt_sigreturn, as signal handlers return to it */
};

struct vmat_injection {
	uint64_t addr; /* where the bytes go: below the red zone */
	size_t size;
	unsigned char bytes[VMAT_INJECT_SIZE];
	unsigned char raw[VMAT_REGISTERS_RAW_SIZE]; /* NT_PRSTATUS of the thread that sets off */
};

/*
 * The thread forks. `mask` is its signal mask. The child has no exit signal, so neither a handler of
 * SIGCHLD nor wait(2) gets to know it, and shares the descriptors, so closing works as before.
 *
 * -EOPNOTSUPP: 32-bit code, or vectors that do not fit (AMX in use).
 */
int vmat_inject_fork(struct vmat_injection *ret, const struct vmat_registers *registers,
		     uint64_t mask, const struct vmat_inject_code *code);

/* The thread makes wait4(pid) for such a child, without waiting; `pid` as the target knows it. */
int vmat_inject_wait(struct vmat_injection *ret, const struct vmat_registers *registers,
		     uint64_t mask, const struct vmat_inject_code *code, pid_t pid);

/* The result of the call, out of NT_PRSTATUS. */
int64_t vmat_inject_result(const unsigned char raw[VMAT_REGISTERS_RAW_SIZE]);

/* In machine code: the offset of the first syscall; ret, or of rt_sigreturn; -1 when there is none. */
ssize_t vmat_inject_find_syscall(const unsigned char *code, size_t size);
ssize_t vmat_inject_find_restore(const unsigned char *code, size_t size);

#endif
