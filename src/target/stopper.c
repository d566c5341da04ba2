/* SPDX-License-Identifier: MIT */
#include "target/stopper.h"

#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/sys_file.h"
#include "sys/sys_ptrace.h"
#include "target/process.h"
#include "target/stop_repair.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
	LISTINGS_MAX = 1000, /* of threads, each after all known ones stand */
	LOOK_AGAIN_MS = 5,   /* a thread that ends quietly is noticed after so long */
	REPAIR_MS =
		2000, /* for all threads; it takes 10 us each, and as long as they wait for a processor */
	GRACE_MS =
		1250, /* beyond the limit, and beyond the time for repairs: then the kernel kills us */
	SIGNALS_MAX = 1000, /* that do nothing, in a row, to one thread that is being repaired */
	PASS_LONG_NS = 100000,
};

/*
 * Threads by id.
 */

static uint32_t *place_of(struct vmat_stopper *s, pid_t tid)
{
	size_t at = (uint32_t)tid * UINT32_C(2654435761) & (s->table_size - 1);

	while (s->table[at] && s->slots[s->table[at] - 1].tid != tid)
		at = (at + 1) & (s->table_size - 1);
	return &s->table[at];
}

static struct vmat_slot *slot_find(struct vmat_stopper *s, pid_t tid)
{
	uint32_t place = *place_of(s, tid);

	return place ? &s->slots[place - 1] : NULL;
}

/* There is room: capacity was looked at when the threads were listed. */
static struct vmat_slot *slot_add(struct vmat_stopper *s, pid_t tid, enum vmat_slot_state state)
{
	struct vmat_slot *slot = s->slots + s->slots_count;

	assert(s->slots && s->slots_count < s->capacity);
	*slot = (struct vmat_slot){ .tid = tid, .state = state, .seen = s->listings };
	*place_of(s, tid) = (uint32_t)++s->slots_count;
	return slot;
}

static bool stands(const struct vmat_slot *slot)
{
	return slot->state != VMAT_SLOT_RUNS && slot->state != VMAT_SLOT_GONE;
}

ssize_t vmat_stopper_read_text(struct vmat_stopper *s, pid_t tid, const char *name)
{
	char path[40], *at = path + 16;
	size_t length = strlen(name);
	ssize_t got;
	int fd;

	assert(length < sizeof(path) - 16);
	memcpy(at, name, length + 1);
	for (pid_t rest = tid; rest; rest /= 10)
		*--at = (char)('0' + rest % 10);
	fd = vmat_sys_open_at(s->task_dir, at, 0);
	if (fd < 0)
		return fd;
	got = vmat_sys_read(fd, s->text, s->text_size);
	close(fd);
	return got;
}

/* Ended, but not yet asked for by its parent or by its debugger. Also when it has vanished. */
static bool has_ended(struct vmat_stopper *s, pid_t tid)
{
	ssize_t got = vmat_stopper_read_text(s, tid, "/stat");
	struct vmat_stat stat;

	if (got < 0)
		return got == -ENOENT || got == -ESRCH;
	return vmat_stat_parse(&stat, s->text, (size_t)got) == 0 &&
	       (stat.state == 'Z' || stat.state == 'X');
}

/*
 * Waiting.
 */

/* Takes note of what waitpid said of a thread. */
void vmat_stopper_note(struct vmat_slot *slot, int status)
{
	int signal = WSTOPSIG(status);

	if (!WIFSTOPPED(status)) {
		slot->state = VMAT_SLOT_GONE;
	} else if (status >> 16 == PTRACE_EVENT_STOP) {
		slot->state = signal == SIGTRAP ? VMAT_SLOT_TRAP : VMAT_SLOT_GROUP;
	} else if (signal == (SIGTRAP | 0x80)) {
		slot->state = VMAT_SLOT_SYSCALL;
	} else if (status >> 16 == 0) {
		slot->state = VMAT_SLOT_SIGNAL;
		slot->signal = signal;
	} else {
		slot->state = VMAT_SLOT_TRAP;
	}
}

/*
 * Takes note of all threads about which there is something to know. One that waits in exec for the end
 * of the others waits until we have taken note of that, so asking for one thread alone could be in vain.
 */
static void note_all(struct vmat_stopper *s)
{
	int status;
	pid_t tid;

	while ((tid = vmat_sys_ptrace_wait(-1, &status)) > 0) {
		struct vmat_slot *slot = slot_find(s, tid);

		/* A thread that executes a program becomes the first one, which we may not have seized. */
		if (!slot && s->slots_count < s->capacity)
			slot = slot_add(s, tid, VMAT_SLOT_RUNS);
		if (slot)
			vmat_stopper_note(slot, status);
	}
}

/* Waits until a thread stands or is gone: 0, or -ETIMEDOUT. */
static int wait_for(struct vmat_stopper *s, struct vmat_slot *slot, uint64_t end_ns)
{
	while (slot->state == VMAT_SLOT_RUNS) {
		uint64_t now_ns, left_ns;
		int status;
		pid_t got = vmat_sys_ptrace_wait(slot->tid, &status);

		if (got > 0) {
			vmat_stopper_note(slot, status);
			break;
		}
		if (got < 0) { /* reaped as another one, or renamed by exec */
			slot->state = VMAT_SLOT_GONE;
			break;
		}
		note_all(s);
		if (slot->state != VMAT_SLOT_RUNS)
			break;
		now_ns = vmat_sys_now_ns();
		if (now_ns >= end_ns)
			return -ETIMEDOUT;
		left_ns = end_ns - now_ns;
		vmat_sys_child_signal_wait(
			left_ns < LOOK_AGAIN_MS * NS_PER_MS ? left_ns : LOOK_AGAIN_MS * NS_PER_MS);
		/* Of the first thread of a process nobody is told when it ends before the others. */
		if (vmat_sys_now_ns() - now_ns >= LOOK_AGAIN_MS * NS_PER_MS &&
		    has_ended(s, slot->tid))
			slot->state = VMAT_SLOT_GONE;
	}
	return 0;
}

/*
 * Gathering.
 */

static int trouble(struct vmat_stopper *s, pid_t tid, int code)
{
	s->trouble = tid;
	return code;
}

/* Seizes the threads that are listed and not known yet. */
static int seize_new(struct vmat_stopper *s, size_t listed)
{
	for (size_t i = 0; i < listed; i++) {
		pid_t tid = s->listed[i];
		struct vmat_slot *slot = slot_find(s, tid);
		int err;

		if (slot) {
			slot->seen = s->listings;
			continue;
		}
		if (s->slots_count == s->capacity)
			return -EAGAIN;
		err = vmat_sys_ptrace_seize(tid);
		/* -ESRCH: it ended in between. -EPERM: it is ending, or we may not. */
		if (err == -ESRCH || (err == -EPERM && has_ended(s, tid)))
			slot_add(s, tid, VMAT_SLOT_GONE);
		else if (err)
			return trouble(s, tid, err);
		else
			slot_add(s, tid, VMAT_SLOT_RUNS);
	}
	return 0;
}

/* Is this still the process that was opened, and does it have no more threads than were listed? */
static int check_process(struct vmat_stopper *s, size_t listed)
{
	struct vmat_stat stat;
	ssize_t got = vmat_sys_pread(s->stat, s->text, s->text_size, 0);
	int err = got < 0 ? (int)got : vmat_stat_parse(&stat, s->text, (size_t)got);

	if (err)
		return err == -EINVAL ? -ESRCH : err;
	/* Whoever ends gives its memory back first, the address of its stack with it. */
	if (stat.start_ticks != s->start_ticks || stat.state == 'Z' || stat.state == 'X' ||
	    (stat.stack_addr == 0 && s->stack_addr != 0))
		return -ESRCH;
	if (stat.stack_addr != s->stack_addr)
		return -ESTALE;
	return stat.threads > listed ? -EAGAIN : 0;
}

static int interrupt_from(struct vmat_stopper *s, size_t first)
{
	size_t end = s->slots_count;
	uint64_t end_ns;

	if (!s->begun_ns) {
		/* Two things end us when nothing else does; this is the second, for when we cannot act. */
		int err = vmat_sys_die_after(s->max_stop_ns + GRACE_MS * NS_PER_MS);

		if (err)
			return err;
		s->begun_ns = vmat_sys_now_ns();
	}
	end_ns = s->begun_ns + s->max_stop_ns;
	for (size_t i = first; i < end; i++) {
		struct vmat_slot *slot = &s->slots[i];

		if (slot->state == VMAT_SLOT_RUNS && vmat_sys_ptrace_interrupt(slot->tid) == -ESRCH)
			note_all(s); /* it ended */
	}
	for (size_t i = first; i < s->slots_count; i++) {
		int err = wait_for(s, &s->slots[i], end_ns);

		if (err)
			return trouble(s, s->slots[i].tid, err);
	}
	return 0;
}

/* Threads start threads: lists, seizes and stops them until there is no other. */
static int gather(struct vmat_stopper *s)
{
	for (s->listings = 1; s->listings <= LISTINGS_MAX; s->listings++) {
		size_t first = s->slots_count;
		ssize_t listed = vmat_sys_read_numbers(s->task_dir, s->text, s->text_size,
						       s->listed, s->capacity);
		int err;

		if (listed < 0)
			return listed == -E2BIG    ? -EAGAIN
			       : listed == -ENOENT ? -ESRCH
						   : (int)listed;
		err = seize_new(s, (size_t)listed);
		if (err)
			return err;
		if (s->slots_count == first && s->begun_ns) {
			err = check_process(s, (size_t)listed);
			if (err != -EAGAIN)
				return err;
		}
		err = interrupt_from(s, first);
		if (err)
			return err;
		if (vmat_sys_now_ns() - s->begun_ns >= s->max_stop_ns)
			break;
	}
	return -EAGAIN;
}

/*
 * Registers.
 */

static int read_registers(struct vmat_stopped_thread *thread)
{
	struct vmat_registers *r = &thread->registers;
	size_t size = sizeof(r->raw);
	int segment, err = vmat_sys_ptrace_get(thread->tid, NT_PRSTATUS, r->raw, &size);

	if (err)
		return err;
	r->raw_size = size;
	err = vmat_registers_decode(r);
	if (err)
		return err;
	segment = vmat_registers_segment(r);
	if (segment >= 0)
		vmat_sys_ptrace_segment(thread->tid, (unsigned)segment, &r->thread_pointer);
	size = sizeof(r->extended);
	err = vmat_sys_ptrace_get(thread->tid, NT_X86_XSTATE, r->extended, &size);
	r->extended_size = err ? 0 : size;
	thread->was_in_syscall = vmat_registers_in_syscall(r);
	return err == -ESRCH ? err : 0;
}

/* The masks of SigIgn and SigCgt. */
static void read_signals(struct vmat_stopper *s)
{
	ssize_t got = vmat_sys_pread(s->status, s->text, s->text_size - 1, 0);
	const char *end, *line;

	if (got < 0)
		return;
	s->text[got] = '\0';
	end = s->text + got;
	line = strstr(s->text, "\nSigIgn:\t");
	if (line)
		vmat_text_hex(line + 9, end, &s->ignored);
	line = strstr(s->text, "\nSigCgt:\t");
	if (line)
		vmat_text_hex(line + 9, end, &s->caught);
}

/* Fills in the threads that stand. Their slots come to lie at the same places. */
static int read_threads(struct vmat_stopper *s)
{
	size_t count = 0;

	for (size_t i = 0; i < s->slots_count; i++) {
		struct vmat_slot *slot = &s->slots[i], moved;
		int err;

		/* Not in the last list: its number was another process's when we seized it. */
		if (stands(slot) && slot->seen != s->listings) {
			vmat_sys_ptrace_detach(slot->tid,
					       slot->state == VMAT_SLOT_SIGNAL ? slot->signal : 0);
			slot->state = VMAT_SLOT_GONE;
		}
		if (!stands(slot))
			continue;
		s->threads[count].tid = slot->tid;
		err = read_registers(&s->threads[count]);
		if (err && err != -ESRCH)
			return trouble(s, slot->tid, err);
		if (err) { /* killed while it stood */
			slot->state = VMAT_SLOT_GONE;
			continue;
		}
		moved = *slot;
		*slot = s->slots[count];
		s->slots[count++] = moved;
	}
	/* The table does not know of the exchange. */
	memset(s->table, 0, s->table_size * sizeof(*s->table));
	for (size_t i = 0; i < s->slots_count; i++)
		*place_of(s, s->slots[i].tid) = (uint32_t)i + 1;
	s->threads_count = count;
	return count ? 0 : -ESRCH;
}

/*
 * Letting go.
 *
 * A thread whose call EINTR has broken is set back onto its system call and sent off up to the entry
 * of it. When it gets there, no signal was pending, so the EINTR was ours. When a signal that counts
 * comes first, the EINTR was that signal's: the old registers are put back. Setting back and letting
 * go at once is not enough: a signal that had ended the call would be handled, and the call would then
 * wait on (measured: 184 of 2,906 signals).
 *
 * A call that the kernel makes again by itself is followed up to its entry as well: a signal on the last
 * steps in user space would be handled without ending the call (measured: 3 of 66,756 signals). With
 * the registers put back, the kernel decides between EINTR and another try as it does at any signal.
 *
 * At the entry the thread must not be detached either: detaching a stopped thread marks it as having
 * signals to look at (kernel/ptrace.c: __ptrace_unlink), and the call would end with EINTR again before
 * it has waited; only calls that change the signal mask forget the mark (measured: of 14 kinds, the 11
 * that do not broke in each of 300 stops). So it goes on traced, and the kernel lets go of it when our
 * thread ends, which does not mark a thread that is not stopped. A signal that comes in between stops
 * it, which is looked for as late as can be; one that is not seen any more, the kernel delivers.
 */

static void let_go(struct vmat_slot *slot, int signal)
{
	vmat_sys_ptrace_detach(slot->tid, signal);
	slot->state = VMAT_SLOT_GONE;
}

/* Beyond the entry of its system call. */
static void enter(struct vmat_slot *slot)
{
	slot->has_entered = true;
	slot->state = vmat_sys_ptrace_continue(slot->tid, 0) ? VMAT_SLOT_GONE : VMAT_SLOT_RUNS;
}

static void send_off(struct vmat_slot *slot, int signal)
{
	slot->state = vmat_sys_ptrace_syscall(slot->tid, signal) ? VMAT_SLOT_GONE : VMAT_SLOT_RUNS;
}

static bool is_to_follow(const struct vmat_stopper *s, const struct vmat_slot *slot,
			 const struct vmat_registers *registers)
{
	uint32_t arch;

	if (slot->state == VMAT_SLOT_GROUP)
		return false;
	if (slot->state == VMAT_SLOT_SIGNAL &&
	    vmat_signal_interrupts(slot->signal, s->caught, s->ignored))
		return false;
	if (!vmat_registers_is_broken(registers))
		return vmat_registers_is_restarting(registers);
	/* 64-bit code may call by i386's numbers (int $0x80), which mean other calls. */
	return vmat_sys_ptrace_arch(slot->tid, &arch) || vmat_registers_fits_arch(registers, arch);
}

static int pending_signal(const struct vmat_slot *slot)
{
	return slot->state == VMAT_SLOT_SIGNAL ? slot->signal : 0;
}

/* The first step for a thread that stands: it is let go, or still stands and is followed. */
static void leave(const struct vmat_stopper *s, struct vmat_slot *slot,
		  const struct vmat_registers *registers)
{
	unsigned char raw[VMAT_REGISTERS_RAW_SIZE];

	slot->is_followed = registers && is_to_follow(s, slot, registers);
	if (slot->is_followed && vmat_registers_is_broken(registers)) {
		vmat_registers_rewind(registers, raw);
		slot->is_rewound =
			!vmat_sys_ptrace_set(slot->tid, NT_PRSTATUS, raw, registers->raw_size);
		slot->is_followed = slot->is_rewound;
	}
	if (!slot->is_followed)
		let_go(slot, pending_signal(slot));
}

/* Before a signal: it finds the thread as the interrupted call left it. */
static void put_back(const struct vmat_slot *slot, const struct vmat_registers *registers)
{
	vmat_sys_ptrace_set(slot->tid, NT_PRSTATUS, registers->raw, registers->raw_size);
}

/* The next step of one that stands. Afterwards it has entered its system call, is gone, or runs up to the next step. */
static void step(struct vmat_stopper *s, struct vmat_slot *slot,
		 const struct vmat_registers *registers)
{
	switch (slot->state) {
	case VMAT_SLOT_TRAP:
		send_off(slot, 0);
		break;
	case VMAT_SLOT_SIGNAL:
		if (!vmat_signal_interrupts(slot->signal, s->caught, s->ignored) &&
		    slot->signals++ < SIGNALS_MAX) {
			send_off(slot, slot->signal);
			break;
		}
		put_back(slot, registers);
		let_go(slot, slot->signal);
		break;
	case VMAT_SLOT_GROUP:
		put_back(slot, registers);
		let_go(slot, 0);
		break;
	case VMAT_SLOT_SYSCALL:
		enter(slot);
		break;
	case VMAT_SLOT_RUNS:
	case VMAT_SLOT_GONE:
		break;
	}
}

static bool is_on_its_way(const struct vmat_slot *slot)
{
	return slot->is_followed && !slot->has_entered && slot->state != VMAT_SLOT_GONE;
}

/* A thread that was stopped by a signal after it had entered its call: the same once more, as it is now. */
static void repeat(struct vmat_stopper *s, struct vmat_slot *slot, uint64_t end_ns)
{
	size_t size = sizeof(s->scratch.raw);

	slot->is_rewound = slot->has_entered = false;
	if (vmat_sys_ptrace_get(slot->tid, NT_PRSTATUS, s->scratch.raw, &size)) {
		let_go(slot, slot->signal);
		return;
	}
	s->scratch.raw_size = size;
	leave(s, slot, vmat_registers_decode(&s->scratch) ? NULL : &s->scratch);
	if (!slot->is_followed)
		return;
	send_off(slot, pending_signal(slot));
	while (is_on_its_way(slot) && wait_for(s, slot, end_ns) == 0)
		step(s, slot, &s->scratch);
}

/* One step for each thread that has come to stand; the first of those that have not, or NULL when all have arrived. */
static struct vmat_slot *step_all(struct vmat_stopper *s, bool is_rewound)
{
	struct vmat_slot *first = NULL;

	for (size_t i = 0; i < s->threads_count; i++) {
		struct vmat_slot *slot = &s->slots[i];
		int status;
		pid_t got;

		if (slot->is_rewound != is_rewound || !is_on_its_way(slot))
			continue;
		got = slot->state == VMAT_SLOT_RUNS ? vmat_sys_ptrace_wait(slot->tid, &status) : 0;
		if (got > 0)
			vmat_stopper_note(slot, status);
		else if (got < 0) /* reaped as another one, or renamed by exec */
			slot->state = VMAT_SLOT_GONE;
		step(s, slot, &s->threads[i].registers);
		if (is_on_its_way(slot) && !first)
			first = slot;
	}
	return first;
}

/*
 * Sends off and follows the threads whose calls the kernel makes again, or those where we do. Each step is made as soon as it can
 * be: one thread that waits for a processor must not keep the others standing.
 */
static void follow_all(struct vmat_stopper *s, bool is_rewound, uint64_t end_ns)
{
	uint64_t start_ns = vmat_sys_now_ns(), now_ns;
	struct vmat_slot *first;

	for (size_t i = 0; i < s->threads_count; i++) {
		struct vmat_slot *slot = &s->slots[i];

		if (slot->is_followed && slot->is_rewound == is_rewound)
			send_off(slot, pending_signal(slot));
	}
	for (; (first = step_all(s, is_rewound)); start_ns = vmat_sys_now_ns()) {
		now_ns = vmat_sys_now_ns();
		if (now_ns >= end_ns)
			return;
		/* Of thousands each would call us, and each call looks at all: they gather meanwhile. */
		if (now_ns - start_ns > PASS_LONG_NS)
			vmat_sys_pause(now_ns - start_ns);
		vmat_sys_child_signal_wait(LOOK_AGAIN_MS * NS_PER_MS);
		note_all(s);
		if (vmat_sys_now_ns() - now_ns >= LOOK_AGAIN_MS * NS_PER_MS &&
		    first->state == VMAT_SLOT_RUNS && has_ended(s, first->tid))
			first->state = VMAT_SLOT_GONE;
	}
}

/*
 * What still runs traced after this, the kernel lets go when we end.
 *
 * Threads with a repaired call come last. A signal that does nothing is not dropped when the thread that
 * it is sent to is traced, but wakes another one of the process that does not stand: none that shows it
 * must be about by then (seen: SIGCHLD of a thread that forks ended the accept of another).
 */
void vmat_stopper_release(struct vmat_stopper *s)
{
	uint64_t end_ns = vmat_sys_now_ns() + REPAIR_MS * NS_PER_MS;
	bool is_again;

	/* Nobody stands for long from here on, but who waits for a processor takes as long as it takes. */
	vmat_sys_die_after((REPAIR_MS + GRACE_MS) * NS_PER_MS);
	for (size_t i = 0; i < s->slots_count; i++) {
		if (stands(&s->slots[i]))
			leave(s, &s->slots[i],
			      i < s->threads_count ? &s->threads[i].registers : NULL);
	}
	follow_all(s, false, end_ns);
	follow_all(s, true, end_ns);
	s->ended_ns = vmat_sys_now_ns();
	s->stood_ns += s->ended_ns - s->begun_ns;
	do {
		is_again = false;
		note_all(s);
		for (size_t i = 0; i < s->slots_count; i++) {
			if (!s->slots[i].has_entered || !stands(&s->slots[i]))
				continue;
			repeat(s, &s->slots[i], end_ns);
			is_again = true;
		}
	} while (is_again && vmat_sys_now_ns() < end_ns);
}

/* After a failure: the threads that did come to stand are repaired like all others. */
static void give_up(struct vmat_stopper *s, int code)
{
	pid_t about = s->trouble;

	s->code = code;
	s->listings = 0;
	for (size_t i = 0; i < s->slots_count; i++)
		s->slots[i].seen = 0;
	read_signals(s);
	read_threads(s);
	s->trouble = about;
	vmat_stopper_release(s);
}

int vmat_stopper_stop_one(struct vmat_stopper *s, pid_t tid)
{
	int code;

	s->slots_count = s->threads_count = 0;
	memset(s->table, 0, s->table_size * sizeof(*s->table));
	s->listings = 1;
	s->begun_ns = 0;
	s->listed[0] = tid;
	code = seize_new(s, 1);
	if (!code)
		code = interrupt_from(s, 0);
	if (!code)
		code = read_threads(s);
	if (code && s->begun_ns)
		vmat_stopper_release(s);
	return code;
}

int vmat_stopper_stop_all(struct vmat_stopper *s)
{
	int code = gather(s);

	if (!code)
		code = read_threads(s);
	if (code)
		give_up(s, code);
	else
		read_signals(s);
	return code;
}
