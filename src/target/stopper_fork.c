/* SPDX-License-Identifier: MIT */
/*
 * stopper_fork.c: a fork of the stopped target, made by one of its own threads.
 *
 * What each moment means for the target if the stopper is killed right then:
 *   before the registers are set    nothing has happened
 *   until they are put back         the thread makes the call and then restores itself (inject.h)
 *   the child is not seized yet     it ends by itself, in poll(2) at first: no instruction of the target's runs
 *   the child is held               the kernel kills it (PTRACE_O_EXITKILL)
 * A zombie of the target's may then be left, which wait(2) without __WCLONE does not see; stop.c sends another
 * stopper that sees it off. It stays, until the target ends, when that one is killed as well, when somebody else holds all
 * threads for longer than REAP_MS, or when the target is stopped by ^Z and makes the call only when it is continued.
 * The order of the steps is what makes this true: the stack's bytes before the registers, these before the mask; and
 * back in the other order.
 *
 * A thread is taken only when this cannot go wrong: on a stack that is one by the kernel's word or by its
 * guard, not inside a restartable sequence (a system call in it would leave it half done), without a
 * filter of system calls or a shadow stack, and not before a signal that is being delivered.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ptrace.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/sys_file.h"
#include "sys/sys_ptrace.h"
#include "target/process.h"
#include "target/stopper.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
	TRIED_MAX = 64,    /* threads that are looked at closely */
	ROOM_SPARE = 4096, /* that stays free below the frames */
	LOOK_AGAIN_MS = 5, /* events wake us; this is for those that get lost */
	TRAPS_MAX = 4,
	SEIZE_MS = 2000,       /* the thread that traced the child has ended by then */
	END_MS = 10000,        /* a large process takes a while to end */
	REAP_STOP_MS = 250,    /* one thread, for one call */
	REAP_MS = 5000,        /* all tries together */
	HOLD_GRACE_MS = 30000, /* beyond all of these: then the kernel kills us */
};

/* Tests kill us before each step in turn. */
static void step(struct vmat_stopper *s)
{
	if (++s->steps == s->fault_step)
		vmat_sys_tracer_die();
}

/*
 * Choosing.
 */

/* The value of a line of s->text, as a decimal; false when it is not there. */
static bool find_line(const struct vmat_stopper *s, size_t size, const char *name, uint64_t *ret)
{
	const char *at = memmem(s->text, size, name, strlen(name)), *end = s->text + size;

	if (!at)
		return false;
	for (at += strlen(name); at < end && (*at == ' ' || *at == '\t'); at++)
		;
	return vmat_text_decimal(at, end, ret) != at;
}

static const char *why_not_by_status(struct vmat_stopper *s, pid_t tid)
{
	ssize_t got = vmat_stopper_read_text(s, tid, "/status");
	uint64_t seccomp;

	if (got < 0 || !find_line(s, (size_t)got, "\nSeccomp:", &seccomp))
		return "it cannot be told whether its system calls are filtered";
	if (seccomp)
		return "its system calls are filtered (seccomp)";
	if (memmem(s->text, (size_t)got, "shstk", 5))
		return "it has a shadow stack";
	return NULL;
}

/* A restartable sequence that the thread is in would not be started again after our call. */
static bool is_in_rseq(const struct vmat_stopper *s, const struct vmat_stopped_thread *thread)
{
	enum { SEQUENCE_AT = 8 }; /* struct rseq: rseq_cs */

	uint64_t addr, sequence;
	int err = vmat_sys_ptrace_rseq(thread->tid, &addr);

	/* A system call ends a sequence, so who is in one is in none. */
	if (err)
		return !thread->was_in_syscall;
	if (!addr)
		return false;
	return vmat_sys_pread(s->memory, &sequence, sizeof(sequence), addr + SEQUENCE_AT) !=
		       (ssize_t)sizeof(sequence) ||
	       sequence;
}

static bool has_room(const struct vmat_stopper *s, uint64_t sp)
{
	for (size_t i = 0; i < s->stacks_count; i++) {
		const struct vmat_stack_room *stack = &s->stacks[i];

		if (sp >= stack->start && sp < stack->end)
			return sp - stack->start > VMAT_INJECT_SIZE + ROOM_SPARE;
	}
	return false;
}

/* NULL: this thread can make a call for us. */
static const char *why_not(struct vmat_stopper *s, size_t i)
{
	const struct vmat_stopped_thread *thread = &s->threads[i];
	bool dispatches = false;

	if (thread->registers.word_size != 8)
		return "it runs 32-bit code";
	if (s->slots[i].state == VMAT_SLOT_SIGNAL)
		return "a signal is being delivered";
	if (!has_room(s, thread->registers.sp))
		return "no thread is on a stack that is known to have room";
	if (is_in_rseq(s, thread))
		return "its threads are in restartable sequences";
	if (vmat_sys_ptrace_dispatches(thread->tid, &dispatches) == 0 && dispatches)
		return "it handles its system calls itself (PR_SET_SYSCALL_USER_DISPATCH)";
	return why_not_by_status(s, thread->tid);
}

/* A thread that waits without a time-out first: its call can be made again exactly, even by rt_sigreturn. */
static bool is_preferred(const struct vmat_stopped_thread *thread)
{
	return thread->was_in_syscall && !vmat_registers_is_timed(&thread->registers);
}

/* The place of a thread that can, or -EOPNOTSUPP and fork_why. */
static ssize_t choose(struct vmat_stopper *s)
{
	size_t tried = 0;

	s->fork_why = "it has no threads";
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < s->threads_count && tried < TRIED_MAX; i++) {
			if (is_preferred(&s->threads[i]) != (round == 0))
				continue;
			s->fork_why = why_not(s, i);
			if (!s->fork_why)
				return (ssize_t)i;
			tried++;
		}
	}
	return -EOPNOTSUPP;
}

/*
 * Injecting.
 */

/* Waits until a thread that runs has stopped: 0, -ESRCH it has ended, -ETIMEDOUT. */
static int next_stop(pid_t tid, uint64_t end_ns, int *status)
{
	for (;;) {
		pid_t got = vmat_sys_ptrace_wait(tid, status);
		uint64_t now_ns = vmat_sys_now_ns(), left_ns = end_ns - now_ns;

		if (got)
			return got > 0 && WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (now_ns >= end_ns)
			return -ETIMEDOUT;
		vmat_sys_child_signal_wait(
			left_ns < LOOK_AGAIN_MS * NS_PER_MS ? left_ns : LOOK_AGAIN_MS * NS_PER_MS);
	}
}

/* Lets the thread run up to the next entry or exit of a system call. -EAGAIN: something else stopped it. */
static int run_to_syscall(struct vmat_stopper *s, struct vmat_slot *slot, uint64_t end_ns)
{
	int status, err, traps = 0;

	for (;;) {
		step(s);
		err = vmat_sys_ptrace_syscall(slot->tid, 0);
		if (err)
			return err;
		slot->state = VMAT_SLOT_RUNS;
		err = next_stop(slot->tid, end_ns, &status);
		if (err)
			return err;
		vmat_stopper_note(slot, status);
		if (slot->state == VMAT_SLOT_SYSCALL)
			return 0;
		if (status >> 16 == PTRACE_EVENT_CLONE) {
			step(s);
			vmat_sys_ptrace_clone(slot->tid, &s->child);
		} else if (status >> 16 != PTRACE_EVENT_STOP || traps++ == TRAPS_MAX) {
			return -EAGAIN;
		}
		/* A thread that was stopped by ^Z before we seized it stops once more, for our interrupt. */
	}
}

/* The call, and then to a stop from which the kernel goes on as it would have from the first one. */
static int run_call(struct vmat_stopper *s, struct vmat_slot *slot, uint64_t end_ns,
		    int64_t *result)
{
	size_t size = VMAT_REGISTERS_RAW_SIZE;
	int status, err = run_to_syscall(s, slot, end_ns);

	if (!err)
		err = run_to_syscall(s, slot, end_ns);
	if (err)
		return err;
	step(s);
	err = vmat_sys_ptrace_get(slot->tid, NT_PRSTATUS, s->injection.raw, &size);
	if (err)
		return err;
	*result = vmat_inject_result(s->injection.raw);
	/* At the exit of a call nobody would see to the one that the thread was in: get_signal does that. */
	step(s);
	vmat_sys_ptrace_interrupt(slot->tid);
	step(s);
	err = vmat_sys_ptrace_continue(slot->tid, 0);
	slot->state = VMAT_SLOT_RUNS;
	if (!err)
		err = next_stop(slot->tid, end_ns, &status);
	if (!err)
		vmat_stopper_note(slot, status);
	return err;
}

/* One call, by the thread that stands in this place. */
static int inject(struct vmat_stopper *s, size_t i, uint64_t mask, int64_t *result)
{
	struct vmat_injection *injection = &s->injection;
	const struct vmat_registers *registers = &s->threads[i].registers;
	struct vmat_slot *slot = &s->slots[i];
	uint64_t end_ns = s->begun_ns + s->max_stop_ns;
	int err;

	step(s);
	if (vmat_sys_pread(s->memory, s->saved, injection->size, injection->addr) !=
	    (ssize_t)injection->size)
		return -EFAULT;
	step(s);
	if (vmat_sys_pwrite(s->memory, injection->bytes, injection->size, injection->addr) !=
	    (ssize_t)injection->size) {
		vmat_sys_pwrite(s->memory, s->saved, injection->size, injection->addr);
		return -EFAULT;
	}
	step(s);
	err = vmat_sys_ptrace_report_clones(slot->tid, true);
	step(s);
	if (!err)
		err = vmat_sys_ptrace_set(slot->tid, NT_PRSTATUS, injection->raw,
					  registers->raw_size);
	step(s);
	if (!err)
		err = vmat_sys_ptrace_set_mask(slot->tid, UINT64_MAX);
	if (!err)
		err = run_call(s, slot, end_ns, result);
	/* It cannot be reached any more, and restores itself when it gets to it. */
	if (err == -ETIMEDOUT || err == -ESRCH) {
		slot->state = err == -ESRCH ? VMAT_SLOT_GONE : VMAT_SLOT_RUNS;
		return err;
	}
	step(s);
	vmat_sys_ptrace_set_mask(slot->tid, mask);
	step(s);
	vmat_sys_ptrace_set(slot->tid, NT_PRSTATUS, registers->raw, registers->raw_size);
	step(s);
	vmat_sys_ptrace_report_clones(slot->tid, false);
	step(s);
	vmat_sys_pwrite(s->memory, s->saved, injection->size, injection->addr);
	return err;
}

static const char *fork_failed(int code)
{
	switch (code) {
	case -EAGAIN:
		return "it may not start one more process (RLIMIT_NPROC, the cgroup's pids.max)";
	case -ENOMEM:
		return "the system has no memory for a copy of it (overcommit, or the cgroup's limit)";
	case -EINTR:
		return "a signal came in between";
	case -EFAULT:
		return "its stack cannot be written";
	default:
		return "the kernel refuses";
	}
}

int vmat_stopper_fork(struct vmat_stopper *s)
{
	uint64_t mask;
	int64_t result = 0;
	ssize_t i;
	int err;

	if (!s->can_fork)
		return -EOPNOTSUPP;
	i = choose(s);
	if (i < 0)
		return (int)i;
	step(s);
	err = vmat_sys_ptrace_get_mask(s->threads[i].tid, &mask);
	if (!err)
		err = vmat_inject_fork(&s->injection, &s->threads[i].registers, mask,
				       &s->code_addrs);
	if (err) {
		s->fork_why = "the state of its thread cannot be saved";
		return err;
	}
	s->forker = s->threads[i].tid;
	s->child = s->inner_child = 0;
	s->fork_phase = VMAT_FORK_BEGUN;
	err = inject(s, (size_t)i, mask, &result);
	if (err == -ETIMEDOUT || err == -ESRCH)
		return err;
	/* Stopped by something else before the call was made. */
	err = err == -EAGAIN ? -EINTR : err;
	if (!err && result < 0)
		err = result == -EAGAIN || result == -ENOMEM ? (int)result : -EIO;
	if (!err && !s->child)
		err = -EIO;
	if (err) {
		s->fork_phase = VMAT_FORK_NONE;
		s->fork_why = fork_failed(err);
		return err;
	}
	s->inner_child = (pid_t)result;
	return 0;
}

/*
 * Keeping.
 */

/* "/proc/CHILD/name" from the target's folder. */
static int open_of_child(const struct vmat_stopper *s, const char *name, int flags)
{
	char path[48] = "../../", digits[16], *at = digits + sizeof(digits) - 1;

	*at = '\0';
	for (pid_t rest = s->child; rest; rest /= 10)
		*--at = (char)('0' + rest % 10);
	strncat(path, at, 16);
	strncat(path, name, 16);
	return vmat_sys_open_at(s->task_dir, path, flags);
}

static void tick(void)
{
	/* No child of ours tells anything: this only sleeps. */
	vmat_sys_child_signal_wait(NS_PER_MS);
}

/* The copy is to be what the target was: without our frames. */
static void restore_child(const struct vmat_stopper *s)
{
	int fd = open_of_child(s, "/mem", O_RDWR);

	if (fd < 0)
		return;
	vmat_sys_pwrite(fd, s->saved, s->injection.size, s->injection.addr);
	close(fd);
}

/* Has it ended, as far as we or its parent are concerned? */
static bool is_child_over(struct vmat_stopper *s)
{
	int fd = open_of_child(s, "/stat", 0);
	struct vmat_stat stat;
	ssize_t got;

	if (fd < 0)
		return true;
	got = vmat_sys_read(fd, s->text, s->text_size);
	close(fd);
	return got <= 0 || vmat_stat_parse(&stat, s->text, (size_t)got) || stat.state == 'Z' ||
	       stat.state == 'X';
}

/* The kernel kills the child when the thread that does this ends. */
static void hold(void *context)
{
	struct vmat_stopper *s = context;
	uint64_t end_ns = vmat_sys_now_ns() + SEIZE_MS * NS_PER_MS;
	int status, word, err;

	step(s);
	/* -EPERM: the kernel has not let go of it yet, or it has ended. */
	while ((err = vmat_sys_ptrace_seize_for_good(s->child)) == -EPERM && !is_child_over(s) &&
	       vmat_sys_now_ns() < end_ns)
		tick();
	step(s);
	if (!err)
		err = vmat_sys_ptrace_interrupt(s->child);
	if (!err)
		err = next_stop(s->child, end_ns, &status);
	if (err) {
		s->fork_code = err;
		vmat_sys_channel_send(s->channel, VMAT_WORD_LOST);
		return;
	}
	step(s);
	restore_child(s);
	step(s);
	vmat_sys_channel_send(s->channel, VMAT_WORD_HELD);
	word = vmat_sys_channel_receive(s->channel, s->hold_ns);
	if (word == -ETIMEDOUT)
		s->is_over = true;
	else
		s->is_kept = true;
	step(s);
}

/* The target asks for the end of its child. -ESRCH: the thread has ended; all others: not by this thread, or not now. */
static int reap_by(struct vmat_stopper *s, pid_t tid)
{
	uint64_t mask;
	int64_t result = -EIO;
	int err;

	step(s);
	err = vmat_stopper_stop_one(s, tid);
	if (err)
		return err;
	err = why_not(s, 0) ? -EOPNOTSUPP : vmat_sys_ptrace_get_mask(tid, &mask);
	if (!err)
		err = vmat_inject_wait(&s->injection, &s->threads[0].registers, mask,
				       &s->code_addrs, s->inner_child);
	if (!err)
		err = inject(s, 0, mask, &result);
	step(s);
	vmat_stopper_release(s);
	if (err)
		return err;
	return result == s->inner_child || result == -ECHILD ? 0 : -EAGAIN;
}

struct reaping {
	struct vmat_stopper *s;
	pid_t tid;
	int err;
};

static void reap(void *context)
{
	struct reaping *reaping = context;

	reaping->err = reap_by(reaping->s, reaping->tid);
}

/* A thread of ours for each try: its end lets go what it traces. -ENOMEM: there is none. */
static int reap_by_thread(struct vmat_stopper *s, pid_t tid)
{
	struct reaping reaping = { .s = s, .tid = tid };

	return vmat_sys_tracer_thread(reap, &reaping) ? reaping.err : -ENOMEM;
}

/* 0 also when all have ended: then init reaps the child. */
static int reap_by_each(struct vmat_stopper *s)
{
	pid_t tids[TRIED_MAX];
	ssize_t count =
		vmat_sys_read_numbers(s->task_dir, s->text, s->text_size, s->listed, s->capacity);
	int err = 0;

	count = count > TRIED_MAX ? TRIED_MAX : count;
	for (ssize_t i = 0; i < count; i++)
		tids[i] = s->listed[i];
	for (ssize_t i = 0; i < count; i++) {
		int tried = reap_by_thread(s, tids[i]);

		if (!tried || tried == -ENOMEM)
			return tried;
		if (tried != -ESRCH)
			err = tried;
	}
	return err;
}

/*
 * By the thread that forked, if it can, else by any. Again and again for a while: each may be held by another
 * stopper, be about to get a signal, or not get a processor in time.
 */
static void reap_by_any(struct vmat_stopper *s)
{
	uint64_t end_ns = vmat_sys_now_ns() + REAP_MS * NS_PER_MS, pause_ns = NS_PER_MS;
	int err = reap_by_thread(s, s->forker);

	while (err && err != -ENOMEM && vmat_sys_now_ns() < end_ns) {
		err = reap_by_each(s);
		if (!err)
			break;
		/* Each try has set a time of its own to die after. */
		vmat_sys_die_after(HOLD_GRACE_MS * NS_PER_MS);
		vmat_sys_pause(pause_ns);
		pause_ns *= 2;
	}
	if (err != -ENOMEM)
		s->fork_phase = VMAT_FORK_NONE;
}

void vmat_stopper_keep(struct vmat_stopper *s)
{
	uint64_t end_ns;

	vmat_sys_die_after(s->hold_ns + HOLD_GRACE_MS * NS_PER_MS);
	if (s->child && !vmat_sys_tracer_thread(hold, s))
		vmat_sys_channel_send(s->channel, VMAT_WORD_LOST);
	if (!s->child || !s->inner_child)
		return;
	end_ns = vmat_sys_now_ns() + END_MS * NS_PER_MS;
	while (!is_child_over(s) && vmat_sys_now_ns() < end_ns)
		tick();
	s->max_stop_ns = REAP_STOP_MS * NS_PER_MS;
	reap_by_any(s);
}
