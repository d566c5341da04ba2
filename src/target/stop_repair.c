/* SPDX-License-Identifier: MIT */
#include "target/stop_repair.h"

#include <errno.h>
#include <linux/audit.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#ifdef __x86_64__

enum { SYSCALL_SIZE = 2 }; /* syscall 0f 05, sysenter 0f 34, int $0x80 cd 80 */

/* Places in struct user_regs_struct (64 bit), as 8-byte words, and in that of i386, as 4-byte words. */
enum { AX64 = 10, ORIG_AX64 = 15, IP64 = 16, SP64 = 19, FS_BASE64 = 21, WORDS64 = 27 };

enum { AX32 = 6, GS32 = 10, ORIG_AX32 = 11, IP32 = 12, SP32 = 15, WORDS32 = 17 };

/* rax rbx rcx rdx rsi rdi rbp r8 to r15 */
static const unsigned char general64[] = { 10, 5, 11, 12, 13, 14, 4, 9, 8, 7, 6, 3, 2, 1, 0 };
/* eax ebx ecx edx esi edi ebp */
static const unsigned char general32[] = { 6, 0, 1, 2, 3, 4, 5 };

/*
 * Calls whose EINTR means that nothing was done (the man pages of each, and signal(7)); the kernel's
 * places are fs/eventpoll.c, fs/aio.c, io_uring/io_uring.c, ipc/sem.c, kernel/signal.c (sigtimedwait),
 * and for sockets with a time-out include/net/sock.h (sock_intr_errno). Never close or ioctl.
 */
static const uint16_t repeatable64[] = {
	SYS_read,       SYS_write,       SYS_readv,           SYS_writev,         SYS_sendfile,
	SYS_splice,     SYS_connect,     SYS_accept,          SYS_accept4,        SYS_sendto,
	SYS_recvfrom,   SYS_sendmsg,     SYS_recvmsg,         SYS_sendmmsg,       SYS_recvmmsg,
	SYS_semop,      SYS_semtimedop,  SYS_rt_sigtimedwait, SYS_io_getevents,   SYS_io_pgetevents,
	SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2,    SYS_io_uring_enter,
};

/* The same by i386's numbers (arch/x86/entry/syscalls/syscall_32.tbl), and its calls that are many in one. */
static const uint16_t repeatable32[] = {
	3 /* read */,
	4 /* write */,
	145 /* readv */,
	146 /* writev */,
	187 /* sendfile */,
	239 /* sendfile64 */,
	313 /* splice */,
	362 /* connect */,
	364 /* accept4 */,
	369 /* sendto */,
	371 /* recvfrom */,
	370 /* sendmsg */,
	372 /* recvmsg */,
	345 /* sendmmsg */,
	337 /* recvmmsg */,
	417 /* recvmmsg_t64 */,
	420 /* semtimedop_t64 */,
	177 /* rt_sigtimedwait */,
	421 /* the same, t64 */,
	247 /* io_getevents */,
	385 /* io_pgetevents */,
	416 /* the same, t64 */,
	256 /* epoll_wait */,
	319 /* epoll_pwait */,
	441 /* epoll_pwait2 */,
	426 /* io_uring_enter */,
	102 /* socketcall */,
	117 /* ipc */,
};

static uint64_t word_at(const struct vmat_registers *registers, size_t place)
{
	uint64_t value64;
	uint32_t value32;

	if (registers->word_size == 8) {
		memcpy(&value64, registers->raw + 8 * place, sizeof(value64));
		return value64;
	}
	memcpy(&value32, registers->raw + 4 * place, sizeof(value32));
	return value32;
}

/* The same as a signed number. */
static int64_t signed_at(const struct vmat_registers *registers, size_t place)
{
	uint64_t value = word_at(registers, place);

	return registers->word_size == 8 ? (int64_t)value : (int32_t)(uint32_t)value;
}

static void put(unsigned char *raw, unsigned word_size, size_t place, uint64_t value)
{
	uint32_t value32 = (uint32_t)value;

	if (word_size == 8)
		memcpy(raw + 8 * place, &value, sizeof(value));
	else
		memcpy(raw + 4 * place, &value32, sizeof(value32));
}

int vmat_registers_decode(struct vmat_registers *registers)
{
	bool is_64 = registers->raw_size == 8 * (size_t)WORDS64;
	const unsigned char *general = is_64 ? general64 : general32;

	if (!is_64 && registers->raw_size != 4 * (size_t)WORDS32)
		return -EOPNOTSUPP;
	registers->word_size = is_64 ? 8 : 4;
	registers->general_count = is_64 ? sizeof(general64) : sizeof(general32);
	for (size_t i = 0; i < registers->general_count; i++)
		registers->general[i] = word_at(registers, general[i]);
	registers->ip = word_at(registers, is_64 ? IP64 : IP32);
	registers->sp = word_at(registers, is_64 ? SP64 : SP32);
	registers->thread_pointer = is_64 ? word_at(registers, FS_BASE64) : 0;
	return 0;
}

int vmat_registers_segment(const struct vmat_registers *registers)
{
	uint64_t selector = registers->word_size == 4 ? word_at(registers, GS32) & 0xffff : 0;

	return selector ? (int)(selector >> 3) : -1;
}

bool vmat_registers_in_syscall(const struct vmat_registers *registers)
{
	return signed_at(registers, registers->word_size == 8 ? ORIG_AX64 : ORIG_AX32) >= 0;
}

bool vmat_registers_is_broken(const struct vmat_registers *registers)
{
	bool is_64 = registers->word_size == 8;
	int64_t call = signed_at(registers, is_64 ? ORIG_AX64 : ORIG_AX32);
	const uint16_t *table = is_64 ? repeatable64 : repeatable32;
	size_t count = is_64 ? sizeof(repeatable64) : sizeof(repeatable32);

	if (signed_at(registers, is_64 ? AX64 : AX32) != -EINTR)
		return false;
	for (size_t i = 0; i < count / sizeof(*table); i++) {
		if (call == table[i])
			return true;
	}
	return false;
}

bool vmat_registers_is_restarting(const struct vmat_registers *registers)
{
	/* include/linux/errno.h. ERESTARTNOINTR (513) is repeated after a signal as well. */
	enum { RESTART_SYS = -512, RESTART_NO_HAND = -514, RESTART_BLOCK = -516 };

	int64_t result = signed_at(registers, registers->word_size == 8 ? AX64 : AX32);

	return vmat_registers_in_syscall(registers) &&
	       (result == RESTART_SYS || result == RESTART_NO_HAND || result == RESTART_BLOCK);
}

bool vmat_registers_is_repeated(const struct vmat_registers *registers)
{
	enum { RESTART_NO_INTR = -513 };

	return vmat_registers_is_restarting(registers) ||
	       (vmat_registers_in_syscall(registers) &&
		signed_at(registers, registers->word_size == 8 ? AX64 : AX32) == RESTART_NO_INTR);
}

bool vmat_registers_is_timed(const struct vmat_registers *registers)
{
	enum { RESTART_BLOCK = -516 };

	return vmat_registers_in_syscall(registers) &&
	       signed_at(registers, registers->word_size == 8 ? AX64 : AX32) == RESTART_BLOCK;
}

bool vmat_registers_fits_arch(const struct vmat_registers *registers, uint32_t arch)
{
	return arch == (registers->word_size == 8 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_I386);
}

void vmat_registers_rewind(const struct vmat_registers *registers,
			   unsigned char raw[VMAT_REGISTERS_RAW_SIZE])
{
	bool is_64 = registers->word_size == 8;
	size_t orig_ax = is_64 ? ORIG_AX64 : ORIG_AX32;

	memcpy(raw, registers->raw, registers->raw_size);
	put(raw, registers->word_size, is_64 ? AX64 : AX32, word_at(registers, orig_ax));
	put(raw, registers->word_size, is_64 ? IP64 : IP32, registers->ip - SYSCALL_SIZE);
	/* No system call any more, so that the kernel does not restart it a second time. */
	put(raw, registers->word_size, orig_ax, UINT64_MAX);
}

#else /* no layout of registers is known: vmat_stop_begin refuses */

int vmat_registers_decode(struct vmat_registers *registers)
{
	(void)registers;
	return -EOPNOTSUPP;
}

int vmat_registers_segment(const struct vmat_registers *registers)
{
	(void)registers;
	return -1;
}

bool vmat_registers_in_syscall(const struct vmat_registers *registers)
{
	(void)registers;
	return false;
}

bool vmat_registers_is_broken(const struct vmat_registers *registers)
{
	(void)registers;
	return false;
}

bool vmat_registers_is_restarting(const struct vmat_registers *registers)
{
	(void)registers;
	return false;
}

bool vmat_registers_is_repeated(const struct vmat_registers *registers)
{
	(void)registers;
	return false;
}

bool vmat_registers_is_timed(const struct vmat_registers *registers)
{
	(void)registers;
	return false;
}

bool vmat_registers_fits_arch(const struct vmat_registers *registers, uint32_t arch)
{
	(void)registers, (void)arch;
	return false;
}

void vmat_registers_rewind(const struct vmat_registers *registers,
			   unsigned char raw[VMAT_REGISTERS_RAW_SIZE])
{
	memcpy(raw, registers->raw, registers->raw_size);
}

#endif

bool vmat_signal_interrupts(int signal, uint64_t caught, uint64_t ignored)
{
	uint64_t bit;

	if (signal < 1 || signal > 64)
		return true;
	bit = (uint64_t)1 << (signal - 1);
	if (caught & bit)
		return true;
	if (ignored & bit)
		return false;
	/* signal(7): the default of these is to do nothing; of all others, to end or to stop. */
	return signal != SIGCHLD && signal != SIGURG && signal != SIGWINCH && signal != SIGCONT;
}
