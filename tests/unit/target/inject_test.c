/* SPDX-License-Identifier: MIT */
/*
 * inject_test.c: what is put onto the stack of a thread that makes a system call for us, as plain data.
 *
 * That the kernel makes of it what the thread was, tests/hostile/stop_fork.py shows.
 */
#include "target/inject.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "cmocka_all.h"

#ifdef __x86_64__

#include <sys/ucontext.h>
#include <sys/user.h>

enum { XSTATE_SIZE = 4096, FRAME = 312, CALLER_FRAME = 2 * FRAME };

static const struct vmat_inject_code code = { .syscall_addr = 0x1000, .restore_addr = 0x2000 };

/* A thread that has left a call with this result. */
static struct vmat_registers after_call(uint64_t number, int64_t result)
{
	struct user_regs_struct regs = {
		.rax = (uint64_t)result,
		.orig_rax = number,
		.rbx = 11,
		.rdi = 22,
		.rip = 0x5002,
		.rsp = 0x7fff0000,
		.cs = 0x33,
		.ss = 0x2b,
		.eflags = 0x246,
	};
	struct vmat_registers registers = { .raw_size = sizeof(regs),
					    .extended_size = XSTATE_SIZE };
	uint64_t features = 3;

	memcpy(registers.raw, &regs, sizeof(regs));
	memcpy(registers.extended + 464, &features, sizeof(features));
	memcpy(registers.extended + 512, &features, sizeof(features));
	assert_int_equal(vmat_registers_decode(&registers), 0);
	return registers;
}

static struct user_regs_struct set_off(const struct vmat_injection *injection)
{
	struct user_regs_struct regs;

	memcpy(&regs, injection->raw, sizeof(regs));
	return regs;
}

/* The frame that begins at this address. */
static ucontext_t frame_at(const struct vmat_injection *injection, uint64_t addr)
{
	ucontext_t context;
	uint64_t restore_addr;

	assert_in_range(addr, injection->addr, injection->addr + injection->size - FRAME);
	memcpy(&restore_addr, injection->bytes + (addr - injection->addr), sizeof(restore_addr));
	assert_int_equal(restore_addr, code.restore_addr);
	memset(&context, 0, sizeof(context));
	memcpy(&context, injection->bytes + (addr - injection->addr) + 8, FRAME - 8);
	return context;
}

static void fork_restores_the_thread(void **state)
{
	struct vmat_registers registers = after_call(SYS_epoll_wait, -EINTR);
	struct vmat_injection injection;
	struct user_regs_struct regs;
	uint64_t mask, vectors_addr;
	ucontext_t context;

	(void)state;
	assert_int_equal(vmat_inject_fork(&injection, &registers, 0x1234, &code), 0);
	regs = set_off(&injection);
	assert_int_equal(regs.rip, code.syscall_addr);
	assert_int_equal(regs.rax, SYS_clone);
	assert_int_equal(regs.rdi & 0xff, 0); /* no exit signal */
	assert_int_equal(regs.orig_rax, UINT64_MAX);
	assert_true(injection.addr + injection.size <= 0x7fff0000 - 128); /* the red zone stays */
	context = frame_at(&injection, regs.rsp);
	/* The call that EINTR has broken is made again. */
	assert_int_equal(context.uc_mcontext.gregs[REG_RAX], SYS_epoll_wait);
	assert_int_equal(context.uc_mcontext.gregs[REG_RIP], 0x5000);
	assert_int_equal(context.uc_mcontext.gregs[REG_RSP], 0x7fff0000);
	assert_int_equal(context.uc_mcontext.gregs[REG_RBX], 11);
	assert_int_equal(context.uc_mcontext.gregs[REG_EFL], 0x246);
	memcpy(&mask, &context.uc_sigmask, sizeof(mask));
	assert_int_equal(mask, 0x1234);
	memcpy(&vectors_addr, &context.uc_mcontext.fpregs, sizeof(vectors_addr));
	assert_int_equal(vectors_addr % 64, 0);
	assert_in_range(vectors_addr, regs.rsp + FRAME, injection.addr + injection.size);
}

static void child_sleeps_and_exits(void **state)
{
	struct vmat_registers registers = after_call(SYS_read, -512);
	struct vmat_injection injection;
	ucontext_t context;

	(void)state;
	assert_int_equal(vmat_inject_fork(&injection, &registers, 0, &code), 0);
	context = frame_at(&injection, set_off(&injection).rsi);
	assert_int_equal(context.uc_mcontext.gregs[REG_RAX], SYS_poll);
	assert_int_equal(context.uc_mcontext.gregs[REG_RIP], code.syscall_addr);
	assert_null(context.uc_mcontext.fpregs);
	context = frame_at(&injection, (uint64_t)context.uc_mcontext.gregs[REG_RSP]);
	assert_int_equal(context.uc_mcontext.gregs[REG_RAX], SYS_exit_group);
	assert_int_equal(context.uc_mcontext.gregs[REG_RIP], code.syscall_addr);
}

static void wait_is_for_one_clone(void **state)
{
	struct vmat_registers registers = after_call(UINT64_MAX, 7);
	struct vmat_injection injection;
	struct user_regs_struct regs;
	ucontext_t context;

	(void)state;
	assert_int_equal(vmat_inject_wait(&injection, &registers, 0, &code, 4711), 0);
	regs = set_off(&injection);
	assert_int_equal(regs.rax, SYS_wait4);
	assert_int_equal(regs.rdi, 4711);
	assert_int_equal(regs.rdx, 0x80000001); /* __WCLONE, WNOHANG */
	/* It was in no call: it goes on where it was. */
	context = frame_at(&injection, regs.rsp);
	assert_int_equal(context.uc_mcontext.gregs[REG_RAX], 7);
	assert_int_equal(context.uc_mcontext.gregs[REG_RIP], 0x5002);
}

static void what_cannot_be_saved_is_refused(void **state)
{
	struct vmat_registers registers = after_call(SYS_read, -512);
	struct vmat_injection injection;
	uint64_t tiles = 3 | UINT64_C(1) << 18;

	(void)state;
	memcpy(registers.extended + 464, &tiles, sizeof(tiles));
	assert_int_equal(vmat_inject_fork(&injection, &registers, 0, &code), 0);
	memcpy(registers.extended + 512, &tiles, sizeof(tiles)); /* in use */
	assert_int_equal(vmat_inject_fork(&injection, &registers, 0, &code), -EOPNOTSUPP);
	registers = after_call(SYS_read, -512);
	registers.extended_size = 0;
	assert_int_equal(vmat_inject_fork(&injection, &registers, 0, &code), -EOPNOTSUPP);
	registers = after_call(SYS_read, -512);
	registers.word_size = 4;
	assert_int_equal(vmat_inject_fork(&injection, &registers, 0, &code), -EOPNOTSUPP);
}

static void code_is_found(void **state)
{
	static const unsigned char bytes[] = { 0x90, 0x0f, 0x05, 0x48, 0x0f, 0x05, 0xc3, 0x48,
					       0xc7, 0xc0, 0x0f, 0,    0,    0,    0x0f, 0x05 };

	(void)state;
	assert_int_equal(vmat_inject_find_syscall(bytes, sizeof(bytes)), 4);
	assert_int_equal(vmat_inject_find_syscall(bytes, 6), -1);
	assert_int_equal(vmat_inject_find_restore(bytes, sizeof(bytes)), 7);
	assert_int_equal(vmat_inject_find_restore(bytes, sizeof(bytes) - 1), -1);
}

#endif

int main(void)
{
#ifdef __x86_64__
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fork_restores_the_thread),
		cmocka_unit_test(child_sleeps_and_exits),
		cmocka_unit_test(wait_is_for_one_clone),
		cmocka_unit_test(what_cannot_be_saved_is_refused),
		cmocka_unit_test(code_is_found),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
#else
	return 0;
#endif
}
