/* SPDX-License-Identifier: MIT */
#include "target/inject.h"

#include <errno.h>
#include <string.h>

#ifdef __x86_64__

#include <cpuid.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <sys/user.h>

enum {
	RED_ZONE = 128,
	UC_SIZE = 304, /* the kernel's struct ucontext: its signal mask has 8 bytes */
	UC_MASK_AT = 296,
	FRAME_SIZE = 8 + UC_SIZE,
	/* arch/x86/include/uapi/asm/ucontext.h */
	UC_FLAGS = 1 | 2 | 4,     /* vectors by XSAVE; ss is told, and is to be restored */
	SS_FLAGS_INVALID = 0x100, /* no mode: sigaltstack(2) fails, which rt_sigreturn ignores */
	CODE_SEGMENT = 0x33,
	STACK_SEGMENT = 0x2b,
	EFLAGS_PLAIN = 0x202,
	TRAP_FLAG = 0x100,
	/* struct _fpx_sw_bytes in the reserved end of the FXSAVE area; arch/x86/include/uapi/asm/sigcontext.h */
	SOFTWARE_AT = 464,
	XSTATE_BV_AT = 512,
	XSTATE_MIN = 512 + 64,
	FEATURES_MAX = 63,
	FEATURES_TILES = 3 << 17, /* AMX: XTILECFG and XTILEDATA */
};

#define XSTATE_MAGIC1 UINT32_C(0x46505853)
#define XSTATE_MAGIC2 UINT32_C(0x46505845)

struct software_bytes {
	uint32_t magic1, extended_size;
	uint64_t features;
	uint32_t size, padding[7];
};

/* How many bytes of the XSAVE area these features take. */
static size_t xstate_size(uint64_t features)
{
	size_t size = XSTATE_MIN;

	for (unsigned i = 2; i < FEATURES_MAX; i++) {
		unsigned length, offset, c, d;

		if (features >> i & 1 && __get_cpuid_count(0xd, i, &length, &offset, &c, &d) &&
		    offset + length > size)
			size = offset + length;
	}
	return size;
}

/* The vectors as a signal frame has them: how many bytes, 0 when they cannot be told. */
static size_t put_vectors(unsigned char *bytes, size_t room, const struct vmat_registers *registers)
{
	struct software_bytes software = { .magic1 = XSTATE_MAGIC1 };
	uint32_t magic2 = XSTATE_MAGIC2;
	uint64_t in_use;
	size_t size;

	if (registers->extended_size < XSTATE_MIN)
		return 0;
	memcpy(&software.features, registers->extended + SOFTWARE_AT, sizeof(software.features));
	memcpy(&in_use, registers->extended + XSTATE_BV_AT, sizeof(in_use));
	/* Tiles that are not in use are left out: a frame of theirs must be asked for (arch_prctl(2)). */
	software.features &= ~(uint64_t)FEATURES_TILES;
	size = xstate_size(software.features);
	if (in_use & ~software.features || size > registers->extended_size ||
	    size + sizeof(magic2) > room)
		return 0;
	software.size = (uint32_t)size;
	software.extended_size = software.size + sizeof(magic2);
	memcpy(bytes, registers->extended, size);
	memcpy(bytes + SOFTWARE_AT, &software, sizeof(software));
	memcpy(bytes + size, &magic2, sizeof(magic2));
	return software.extended_size;
}

/* A frame that rt_sigreturn makes these registers of. */
static void put_frame(unsigned char *bytes, uint64_t restore_addr,
		      const struct user_regs_struct *regs, uint64_t vectors_addr, uint64_t mask)
{
	ucontext_t context;
	greg_t *to = context.uc_mcontext.gregs;

	memset(&context, 0, sizeof(context));
	context.uc_flags = UC_FLAGS;
	context.uc_stack.ss_flags = SS_FLAGS_INVALID;
	to[REG_R8] = (greg_t)regs->r8;
	to[REG_R9] = (greg_t)regs->r9;
	to[REG_R10] = (greg_t)regs->r10;
	to[REG_R11] = (greg_t)regs->r11;
	to[REG_R12] = (greg_t)regs->r12;
	to[REG_R13] = (greg_t)regs->r13;
	to[REG_R14] = (greg_t)regs->r14;
	to[REG_R15] = (greg_t)regs->r15;
	to[REG_RDI] = (greg_t)regs->rdi;
	to[REG_RSI] = (greg_t)regs->rsi;
	to[REG_RBP] = (greg_t)regs->rbp;
	to[REG_RBX] = (greg_t)regs->rbx;
	to[REG_RDX] = (greg_t)regs->rdx;
	to[REG_RAX] = (greg_t)regs->rax;
	to[REG_RCX] = (greg_t)regs->rcx;
	to[REG_RSP] = (greg_t)regs->rsp;
	to[REG_RIP] = (greg_t)regs->rip;
	to[REG_EFL] = (greg_t)regs->eflags;
	to[REG_CSGSFS] = (greg_t)(regs->cs | regs->ss << 48);
	memcpy(&context.uc_mcontext.fpregs, &vectors_addr, sizeof(vectors_addr));
	memcpy(bytes, &restore_addr, sizeof(restore_addr));
	memcpy(bytes + 8, &context, UC_MASK_AT);
	memcpy(bytes + 8 + UC_MASK_AT, &mask, sizeof(mask));
}

/* What the child of a fork does when nobody seizes it: two frames. */
static void put_child(unsigned char *bytes, uint64_t addr, const struct vmat_inject_code *code)
{
	struct user_regs_struct regs = {
		.cs = CODE_SEGMENT,
		.ss = STACK_SEGMENT,
		.eflags = EFLAGS_PLAIN,
		.rip = code->syscall_addr,
		.rax = SYS_poll,
		.rdx = VMAT_INJECT_CHILD_WAITS_MS,
		.rsp = addr + FRAME_SIZE,
	};

	put_frame(bytes, code->restore_addr, &regs, 0, UINT64_MAX);
	regs.rax = SYS_exit_group;
	regs.rdx = 0;
	put_frame(bytes + FRAME_SIZE, code->restore_addr, &regs, 0, UINT64_MAX);
}

/* Everything but the call itself. Lowest first: the child's frames, the thread's, the vectors. */
static int put_all(struct vmat_injection *ret, const struct vmat_registers *registers,
		   uint64_t mask, const struct vmat_inject_code *code,
		   struct user_regs_struct *call)
{
	const size_t vectors_at = (size_t)(3 * FRAME_SIZE + 63) & ~(size_t)63;
	unsigned char resumed[VMAT_REGISTERS_RAW_SIZE];
	struct user_regs_struct regs;
	size_t vectors;

	if (registers->word_size != 8)
		return -EOPNOTSUPP;
	vectors = put_vectors(ret->bytes + vectors_at, sizeof(ret->bytes) - vectors_at, registers);
	if (!vectors)
		return -EOPNOTSUPP;
	ret->size = vectors_at + vectors;
	ret->addr = (registers->sp - RED_ZONE - ret->size) & ~(uint64_t)63;
	if (vmat_registers_is_broken(registers) || vmat_registers_is_repeated(registers))
		vmat_registers_rewind(registers, resumed);
	else
		memcpy(resumed, registers->raw, sizeof(resumed));
	memcpy(&regs, resumed, sizeof(regs));
	if (regs.cs != CODE_SEGMENT)
		return -EOPNOTSUPP;
	memset(ret->bytes, 0, vectors_at);
	put_child(ret->bytes, ret->addr, code);
	put_frame(ret->bytes + 2 * (size_t)FRAME_SIZE, code->restore_addr, &regs,
		  ret->addr + vectors_at, mask);
	*call = regs;
	call->rip = code->syscall_addr;
	call->rsp = ret->addr + 2 * (size_t)FRAME_SIZE;
	call->eflags = EFLAGS_PLAIN;
	call->orig_rax = UINT64_MAX;
	return 0;
}

int vmat_inject_fork(struct vmat_injection *ret, const struct vmat_registers *registers,
		     uint64_t mask, const struct vmat_inject_code *code)
{
	struct user_regs_struct call;
	int err = put_all(ret, registers, mask, code, &call);

	if (err)
		return err;
	call.rax = SYS_clone;
	call.rdi = CLONE_FILES; /* and 0 as the signal of its end */
	call.rsi = ret->addr;
	call.rdx = call.r10 = call.r8 = 0;
	memcpy(ret->raw, &call, sizeof(call));
	return 0;
}

int vmat_inject_wait(struct vmat_injection *ret, const struct vmat_registers *registers,
		     uint64_t mask, const struct vmat_inject_code *code, pid_t pid)
{
	/* include/uapi/linux/wait.h. __WCLONE: never one of the target's usual children. */
	enum { NO_HANG = 1 };

	const uint32_t only_clones = 0x80000000;
	struct user_regs_struct call;
	int err = put_all(ret, registers, mask, code, &call);

	if (err)
		return err;
	call.rax = SYS_wait4;
	call.rdi = (uint64_t)pid;
	call.rsi = 0;
	call.rdx = NO_HANG | only_clones;
	call.r10 = 0;
	memcpy(ret->raw, &call, sizeof(call));
	return 0;
}

int64_t vmat_inject_result(const unsigned char raw[VMAT_REGISTERS_RAW_SIZE])
{
	struct user_regs_struct regs;

	memcpy(&regs, raw, sizeof(regs));
	return (int64_t)regs.rax;
}

static ssize_t find(const unsigned char *code, size_t size, const char *what, size_t length)
{
	const unsigned char *at = memmem(code, size, what, length);

	return at ? at - code : -1;
}

ssize_t vmat_inject_find_syscall(const unsigned char *code, size_t size)
{
	return find(code, size, "\x0f\x05\xc3", 3);
}

ssize_t vmat_inject_find_restore(const unsigned char *code, size_t size)
{
	/* mov $15, %rax or mov $15, %eax; syscall */
	ssize_t at = find(code, size, "\x48\xc7\xc0\x0f\0\0\0\x0f\x05", 9);

	return at >= 0 ? at : find(code, size, "\xb8\x0f\0\0\0\x0f\x05", 7);
}

#else /* no processor whose frames are known */

int vmat_inject_fork(struct vmat_injection *ret, const struct vmat_registers *registers,
		     uint64_t mask, const struct vmat_inject_code *code)
{
	(void)ret, (void)registers, (void)mask, (void)code;
	return -EOPNOTSUPP;
}

int vmat_inject_wait(struct vmat_injection *ret, const struct vmat_registers *registers,
		     uint64_t mask, const struct vmat_inject_code *code, pid_t pid)
{
	(void)ret, (void)registers, (void)mask, (void)code, (void)pid;
	return -EOPNOTSUPP;
}

int64_t vmat_inject_result(const unsigned char raw[VMAT_REGISTERS_RAW_SIZE])
{
	(void)raw;
	return -EOPNOTSUPP;
}

ssize_t vmat_inject_find_syscall(const unsigned char *code, size_t size)
{
	(void)code, (void)size;
	return -1;
}

ssize_t vmat_inject_find_restore(const unsigned char *code, size_t size)
{
	(void)code, (void)size;
	return -1;
}

#endif
