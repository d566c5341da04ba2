/* SPDX-License-Identifier: MIT */
/*
 * stop.h: all threads of a living process stand still for a moment, and go on as if nothing had been.
 *
 * For the layers above that need registers, or memory that does not change while it is read. Nothing
 * else stops a target.
 *
 * A stop is a window between two calls:
 *
 *     vmat_stop_begin     every thread stands, its registers are read
 *     ...                 read memory; ask vmat_stop_is_over now and then
 *     vmat_stop_end       every thread goes on
 *
 * The stopping is done by a process of its own, the stopper, which vmat_stop_begin forks and which does
 * nothing else. The target therefore goes on, with its system calls repaired, when
 *  - the caller asks for it;
 *  - the limit is reached, whatever the caller is doing, hanging or stopped by ^Z included;
 *  - the caller dies, by SIGKILL too: no signal needs to be blocked here for the target's sake.
 * When the stopper itself is killed, the kernel lets the target go (that is what PTRACE_SEIZE is for);
 * only system calls of the target that EINTR has broken are then not repaired. So that this also
 * happens when the stopper hangs or is stopped, a timer of the kernel kills it some time after the limit.
 * And a thread that does not come to a stop (in vfork, in a device's driver) can only be let go by the
 * death of its tracer (ptrace(2): PTRACE_DETACH needs a stopped thread): the stopper's, not ours.
 *
 * The caller's own memory is shared with the stopper copy on write: the first write to a page within
 * the window costs a copy. Large buffers are best mapped fresh, or with MADV_DONTFORK.
 *
 * What remains visible to the target:
 *  - time, and a time-out that began before the stop begins again when EINTR had to be repaired (14 of 41
 *    kinds of calls; epoll_wait is the common one): it ends later by at most the time waited before;
 *  - a write or read of many bytes that has moved some of them returns with those, as after any stop;
 *  - a call that returns EINTR and is not known to be repeatable (close, ioctl, ...) returns it;
 *  - in the last 10 us or so a signal that the target ignores can still end a repaired call with EINTR
 *    (a tracer's threads are woken by those, kernel/signal.c: sig_ignored). One that it handles cannot.
 *
 * Facts: ptrace(2) "Stopped states", signal(7) "Interruption of system calls", Linux kernel/signal.c
 * (get_signal: a trap comes before any signal).
 */
#ifndef VMAT_STOP_H
#define VMAT_STOP_H

#include <sys/types.h>

#include <vmatlas/target.h>

#include "target/stop_repair.h"

struct vmat_stop;

/* struct vmat_stopped_thread and struct vmat_registers: stop_repair.h */

struct vmat_stop_options {
	size_t size; /* sizeof(struct vmat_stop_options) */
	/*
	 * How long the target may stand at most, from the first thread that does; 0: 250 ms. The last
	 * thread goes on a few milliseconds later at worst, which is what the repair takes.
	 */
	uint64_t max_stop_ns;
	bool is_fork_wanted; /* vmat_stop_fork may follow: what it needs is looked for beforehand */
	uint64_t max_hold_ns; /* how long the copy is held at most; 0: 10 minutes */
	unsigned
		fault_step; /* for tests: the stopper is killed before this step of a fork; 0: never */
};

/*
 * Stops all threads of a living target and reads their registers. `options` may be NULL. A core stands
 * already: its registers are taken, the time that it stood is 0, and it is never over.
 *
 * After a failure the target runs as before. After success vmat_stop_end must be called; between the
 * two, the caller should only read. A target that is stopped by a signal (^Z) stays so.
 *
 * Errors: -EOPNOTSUPP a record, ourselves, or a processor whose registers are not known; -EBUSY another
 * process traces it (the text names it); -EPERM, -EACCES not permitted; -ESRCH it has ended; -ESTALE it
 * has executed another program; -ETIMEDOUT a thread did not stop within the limit (the text names
 * it); -EAGAIN threads came up faster than they could be stopped; -ECANCELED the stopper was killed.
 * Needs: Linux 3.4; the same rights as reading the target's memory (PTRACE_MODE_ATTACH_REALCREDS).
 * Cost: a fork of the caller, then about 10 us for each thread of the target.
 */
int vmat_stop_begin(struct vmat_stop **ret, struct vmat_target *target,
		    const struct vmat_stop_options *options, struct vmat_error *err);

/*
 * All threads that stand, or stood before the fork, in no order, the first thread of the process possibly missing
 * (it may have ended).
 */
const struct vmat_stopped_thread *vmat_stop_threads(const struct vmat_stop *stop, size_t *count);

/*
 * Does the target run again, because the limit was reached or the stopper was killed? What was read
 * before an answer of false was read while it stood. After vmat_stop_fork: is the copy gone? Cost: 1 us.
 */
bool vmat_stop_is_over(const struct vmat_stop *stop);

/*
 * Ends the stop soon and keeps the moment: one of the standing threads forks, all go on, and the child stands
 * in their place. `*ret` is a target whose memory is that of the child (snapshot.h); its registers
 * are vmat_stop_threads. It belongs to the stop and is valid until vmat_stop_end, which removes the child.
 *
 * The thread makes the system call by code and registers that restore it by themselves (inject.h), so that
 * the target is not harmed if the stopper is killed at any point; the child then ends, too. Nothing of the
 * target's program runs in the child. wait(2) in the target does not see it, except with __WALL or
 * __WCLONE, and there is no SIGCHLD (but if the target executes another program meanwhile); ps does.
 * As long as the child is there, the target pays for each page that it writes to for the first time: a fault and
 * a copy. Memory shared with others, and what fork leaves out or empties (MADV_DONTFORK, MADV_WIPEONFORK),
 * has no copy and is read from the target as it is later. Huge pages of a pool (hugetlb) may vanish
 * from the child when the target writes to them and the pool is empty.
 *
 * Errors: after all of them, vmat_stop_is_over says whether the target still stands. -EOPNOTSUPP this target
 * cannot be forked (32 bit, a filter of system calls, ...), -EAGAIN, -ENOMEM, -EINTR, -EIO the fork failed:
 * it stands. -ETIMEDOUT, -ESRCH, -ECANCELED: it runs, or has ended.
 * Needs: Linux 3.11, is_fork_wanted. Cost for the target: 0.1 ms and some 150 ns for each resident page of 4 KiB.
 */
int vmat_stop_fork(struct vmat_stop *stop, struct vmat_target **ret, struct vmat_error *err);

/* After vmat_stop_fork: does the copy have all of [start, end), as it was? Else it is read from what runs. */
bool vmat_stop_is_copied(const struct vmat_stop *stop, uint64_t start, uint64_t end);

/*
 * Lets all threads go on, and frees. `*stopped_ns` (may be NULL) is how long the target stood: from the
 * first thread that was told to stop to the last that was let go; after a fork also the short stop of
 * one thread that asks for the end of the child. Accepts NULL. The target must still be open.
 *
 * Errors: -ETIMEDOUT the limit was reached before: what was read last is not of one moment;
 * -ECANCELED the stopper was killed: the same.
 */
int vmat_stop_end(struct vmat_stop *stop, uint64_t *stopped_ns);

#endif
