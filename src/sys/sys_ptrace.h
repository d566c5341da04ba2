/* SPDX-License-Identifier: MIT */
/*
 * sys_ptrace.h: ptrace(2), and what a process needs whose only work is to trace another one.
 *
 * All calls return -errno. None of them allocates, locks or prints, except vmat_sys_tracer_start.
 * A thread is traced by the thread of ours that seized it, so these calls belong to one thread.
 */
#ifndef VMAT_SYS_PTRACE_H
#define VMAT_SYS_PTRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* PTRACE_SEIZE: traces the thread and lets it run. System call stops will be told apart (TRACESYSGOOD). */
int vmat_sys_ptrace_seize(pid_t tid);

/* The same; and the kernel kills the thread's process when we end (PTRACE_O_EXITKILL, Linux 3.8). */
int vmat_sys_ptrace_seize_for_good(pid_t tid);

/* Is a stopped thread to report the threads and processes that it starts, which are then traced as well? */
int vmat_sys_ptrace_report_clones(pid_t tid, bool is_on);

/* PTRACE_GETEVENTMSG after such a report: the new one's id, as we see it. */
int vmat_sys_ptrace_clone(pid_t tid, pid_t *ret);

/* PTRACE_GETSIGMASK and PTRACE_SETSIGMASK of a stopped thread (Linux 3.11). */
int vmat_sys_ptrace_get_mask(pid_t tid, uint64_t *ret);
int vmat_sys_ptrace_set_mask(pid_t tid, uint64_t mask);

/* The address of the thread's struct rseq (rseq(2)), 0 when it has none; -EIO before Linux 5.13. */
int vmat_sys_ptrace_rseq(pid_t tid, uint64_t *ret_addr);

/* Are system calls of the thread sent to a handler of its own (PR_SET_SYSCALL_USER_DISPATCH)? -EIO before 6.4. */
int vmat_sys_ptrace_dispatches(pid_t tid, bool *ret);

/* PTRACE_INTERRUPT: a seized thread stops as soon as it can; it is waited for with vmat_sys_ptrace_wait. */
int vmat_sys_ptrace_interrupt(pid_t tid);

/* PTRACE_DETACH of a stopped thread, which goes on with this signal; 0: with none. */
int vmat_sys_ptrace_detach(pid_t tid, int signal);

/* PTRACE_SYSCALL: goes on with this signal up to the entry or the exit of a system call. */
int vmat_sys_ptrace_syscall(pid_t tid, int signal);

/* PTRACE_CONT: goes on with this signal, and stays traced. */
int vmat_sys_ptrace_continue(pid_t tid, int signal);

/* PTRACE_GETREGSET of a set (NT_PRSTATUS, ...) of a stopped thread; *size says how much fits and then what came. */
int vmat_sys_ptrace_get(pid_t tid, unsigned set, void *registers, size_t *size);

/* PTRACE_SETREGSET. */
int vmat_sys_ptrace_set(pid_t tid, unsigned set, const void *registers, size_t size);

/* Where the segment of a 32-bit thread begins that entry `index` of its table describes (PTRACE_GET_THREAD_AREA). */
int vmat_sys_ptrace_segment(pid_t tid, unsigned index, uint64_t *ret_addr);

/* By which table of system calls (AUDIT_ARCH_*) the thread made its last one; -EIO before Linux 5.3. */
int vmat_sys_ptrace_arch(pid_t tid, uint32_t *ret);

/*
 * What has happened to a traced thread (tid -1: to any): its id and a status as of waitpid(2); 0 when
 * nothing has yet; -ECHILD when we trace no such thread (any more). Does not wait.
 */
pid_t vmat_sys_ptrace_wait(pid_t tid, int *status);

/* Waits until a child or a traced thread has something to tell, or the time is over. SIGCHLD must be blocked. */
void vmat_sys_child_signal_wait(uint64_t timeout_ns);

/* Sleeps. */
void vmat_sys_pause(uint64_t time_ns);

/* CLOCK_MONOTONIC. */
uint64_t vmat_sys_now_ns(void);

/*
 * The names of an open folder that are decimal numbers, in its order, from its beginning: how many, at
 * most `capacity`; -E2BIG when there are more. `buffer` holds what the kernel says; aligned as a uint64_t.
 */
ssize_t vmat_sys_read_numbers(int dirfd, void *buffer, size_t size, pid_t *numbers,
			      size_t capacity);

/* Two ends of a channel of bytes (O_CLOEXEC). An end that is closed, or whose process has died, is seen by the other. */
int vmat_sys_channel(int ret[2]);

/* Sends one byte; -EPIPE when the other end is gone. */
int vmat_sys_channel_send(int fd, char byte);

/* The next byte, 0 when the other end is gone, -ETIMEDOUT, or -errno. */
int vmat_sys_channel_receive(int fd, uint64_t timeout_ns);

/* Is the other end gone? */
bool vmat_sys_channel_is_closed(int fd);

/*
 * Starts work(context) in a child process, in a process group of its own, with all signals blocked. It
 * sees the memory as it is now, and shares what is mapped shared. It must not allocate or lock. A pid for
 * vmat_sys_tracer_reap, or -errno.
 *
 * What is to be let go at once is traced by a thread (vmat_sys_tracer_thread): when that ends, the kernel
 * lets go what it still traces. A process that ends first tears its memory down, which takes milliseconds
 * when that is large.
 */
pid_t vmat_sys_tracer_start(void (*work)(void *context), void *context);

/* Within the child: work(context) in one more thread, until that has ended. False when there can be none. */
bool vmat_sys_tracer_thread(void (*work)(void *context), void *context);

/* Within the child, for tests: it dies by SIGKILL. */
void vmat_sys_tracer_die(void);

/* Waits for the end of the child. Also fine when somebody else has reaped it. */
void vmat_sys_tracer_reap(pid_t pid);

/*
 * From now on this thread runs before others, where we may ask for that (CAP_SYS_NICE, RLIMIT_RTPRIO, RLIMIT_NICE): for a moment, in
 * which others wait for what it does. Measured: on two processors with 13 threads that want to run, one that needed 0.3 ms waited
 * for 485 ms.
 */
void vmat_sys_run_first(void);

/*
 * The kernel kills this process after that time, also when it hangs or is stopped; 0: never mind.
 * For a tracer: the kernel lets the traced threads go.
 */
int vmat_sys_die_after(uint64_t timeout_ns);

#endif
