/* SPDX-License-Identifier: MIT */
/*
 * stop_repair.h: the registers of a stopped thread, and how a system call that a stop broke is repeated.
 *
 * A thread that is interrupted while it waits in the kernel leaves its system call with an error that
 * the kernel hides from the program (ERESTARTSYS and its kin) by making the call again, or, for some
 * calls, with a plain EINTR that the program gets to see. Of 41 kinds of calls that wait, 14 return
 * EINTR after a stop without any signal (tests/hostile/stop_syscalls.py). Those are made again by us,
 * as the kernel makes the others again: the number of the call back into the register of the result,
 * the instruction pointer back onto the system call instruction, which has 2 bytes everywhere on x86.
 *
 * Also when the kernel makes a call again, a signal may come on the few steps in between, and is then
 * handled without ending the call. So those are followed until they are made again, too.
 *
 * Calls with EINTR are made again only where the kernel's source shows that EINTR means that nothing has been
 * done. close(2) is none: after EINTR the descriptor is closed, and its number may be in use again.
 *
 * Pure: registers in, registers out. stopper.c knows when.
 */
#ifndef VMAT_STOP_REPAIR_H
#define VMAT_STOP_REPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	VMAT_REGISTERS_RAW_SIZE = 27 * 8,
	VMAT_REGISTERS_EXTENDED_SIZE =
		4096, /* AVX-512 and PKRU; of the tiles of AMX, the beginning */
	VMAT_REGISTERS_GENERAL = 32,
};

struct vmat_registers {
	unsigned word_size; /* 8; 4 when the thread ran 32-bit code */
	/* rax rbx rcx rdx rsi rdi rbp r8 to r15; or eax ebx ecx edx esi edi ebp */
	uint64_t general[VMAT_REGISTERS_GENERAL];
	size_t general_count;
	uint64_t sp;
	uint64_t ip;
	uint64_t thread_pointer; /* fs_base; of 32-bit code the base of gs; 0 when it has none */
	unsigned char raw[VMAT_REGISTERS_RAW_SIZE]; /* NT_PRSTATUS as the kernel gives it */
	size_t raw_size;
	unsigned char extended[VMAT_REGISTERS_EXTENDED_SIZE]; /* NT_X86_XSTATE: the vectors */
	size_t extended_size; /* 0 when the kernel does not give it */
};

struct vmat_stopped_thread {
	pid_t tid;
	bool was_in_syscall; /* it waited in the kernel, or was on the way out of it */
	struct vmat_registers registers;
};

/* Fills what a register set NT_PRSTATUS (raw, raw_size) says into the other fields. 0 or -EOPNOTSUPP. */
int vmat_registers_decode(struct vmat_registers *registers);

/* The entry of the table of segments that a 32-bit thread's gs selects, or -1. */
int vmat_registers_segment(const struct vmat_registers *registers);

/* Was the thread inside a system call when it stopped? */
bool vmat_registers_in_syscall(const struct vmat_registers *registers);

/* Has it left a system call with EINTR that may be made again without harm? */
bool vmat_registers_is_broken(const struct vmat_registers *registers);

/* Has it left a system call that the kernel is about to make again (ERESTARTSYS and its kin)? */
bool vmat_registers_is_restarting(const struct vmat_registers *registers);

/* The same, or ERESTARTNOINTR: will the kernel make the call again, whatever signals come? */
bool vmat_registers_is_repeated(const struct vmat_registers *registers);

/* Is that a call with a time-out, of which the kernel remembers how much is left (ERESTART_RESTARTBLOCK)? */
bool vmat_registers_is_timed(const struct vmat_registers *registers);

/* Is this the table of system calls (AUDIT_ARCH_*) that is_broken took the call's number for? */
bool vmat_registers_fits_arch(const struct vmat_registers *registers, uint32_t arch);

/* `raw` with the system call made again. */
void vmat_registers_rewind(const struct vmat_registers *registers,
			   unsigned char raw[VMAT_REGISTERS_RAW_SIZE]);

/*
 * Does this signal end a system call that waits? Those that do nothing do not, though a tracer gets to
 * see them. `caught` and `ignored`: SigCgt and SigIgn of /proc/PID/status.
 */
bool vmat_signal_interrupts(int signal, uint64_t caught, uint64_t ignored);

#endif
