/* SPDX-License-Identifier: MIT */
#include "preload/span_change.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "preload/span_table.h"
#include "sys/self_map.h"

/* 0 free, 1 held, 2 held and waited for ("Futexes are tricky", mutex 2). Not a pthread mutex: that is no thing for a signal handler. */
static _Atomic int lock_word;

/*
 * How often this thread is between lock and unlock: more than once in a signal handler that interrupted
 * it. It is counted up before the lock is taken and down after it is given back, so a handler never waits
 * for its own thread; in those few instructions it writes beside another writer, which is why all that is
 * written is atomic, and why vmat_span_learn looks again.
 */
static __thread unsigned held __attribute__((tls_model("initial-exec")));

/* Calls that are under way, and how many have ended. */
static _Atomic unsigned changes_open;
static _Atomic uint64_t changes_ended;

static void futex(int op, int value)
{
	syscall(SYS_futex, &lock_word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static bool try_lock(void)
{
	int free_word = 0;

	if (held++ > 0 ||
	    atomic_compare_exchange_strong_explicit(&lock_word, &free_word, 1, memory_order_acquire,
						    memory_order_relaxed))
		return true;
	held--;
	return false;
}

static void lock(void)
{
	int free_word = 0;

	if (held++ > 0)
		return;
	if (atomic_compare_exchange_strong_explicit(&lock_word, &free_word, 1, memory_order_acquire,
						    memory_order_relaxed))
		return;
	while (atomic_exchange_explicit(&lock_word, 2, memory_order_acquire) != 0)
		futex(FUTEX_WAIT, 2);
}

static void unlock(void)
{
	if (held == 1 && atomic_exchange_explicit(&lock_word, 0, memory_order_release) == 2)
		futex(FUTEX_WAKE, 1);
	held--;
}

static void before_fork(void)
{
	lock();
}

static void after_fork_in_parent(void)
{
	unlock();
}

/* The calls of the other threads are not under way here, for there are no other threads. */
static void after_fork_in_child(void)
{
	changes_open = 0;
	unlock();
}

void vmat_span_start(void)
{
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void vmat_span_change_begin(const void *addr, size_t size)
{
	vmat_keep_errno;
	uintptr_t start = (uintptr_t)addr;

	lock();
	changes_open++;
	if (size && size <= UINTPTR_MAX - start)
		vmat_span_set(start, start + size, 0);
	unlock();
}

void vmat_span_change_end(void)
{
	vmat_keep_errno;

	lock();
	changes_ended++;
	if (changes_open) /* 0 in the child of a fork that a signal handler made in between */
		changes_open--;
	unlock();
}

static void put_in(uintptr_t start, uintptr_t end, enum vmat_span_kind kind, size_t page_size)
{
	vmat_span_set(start, end, vmat_span_code(kind, (unsigned)__builtin_ctzl(page_size)));
}

void vmat_span_mapped(const void *addr, size_t size, size_t page_size)
{
	vmat_keep_errno;
	uintptr_t start = (uintptr_t)addr;

	lock();
	put_in(start, start + size, VMAT_SPAN_SET, page_size);
	unlock();
}

void vmat_span_mapped_ask(const void *addr, size_t size)
{
	uintptr_t start = (uintptr_t)addr;
	struct vmat_self_region region;

	/* The region may have grown together with neighbours that nobody told us of: only the part that was mapped. */
	if (vmat_sys_self_region(start, &region) || !region.page_size)
		return;
	size = (size + region.page_size - 1) & ~(region.page_size - 1);
	if (size > region.end - start)
		size = region.end - start;
	vmat_span_mapped(addr, size, region.page_size);
}

void vmat_span_unloaded(void)
{
	vmat_keep_errno;

	lock();
	changes_ended++;
	vmat_span_forget(VMAT_SPAN_FILE);
	unlock();
}

/* What may be put in though we saw no call map it: what stays until a call that we do see. */
static bool may_put_in(const struct vmat_self_region *region, enum vmat_span_kind *kind)
{
	*kind = region->kind == VMAT_SELF_HEAP ? VMAT_SPAN_HEAP : VMAT_SPAN_FILE;
	return region->kind != VMAT_SELF_OTHER;
}

/* No call was under way at `ended`, and none has begun or ended since. */
static bool is_unchanged(uint64_t ended)
{
	return !changes_open && changes_ended == ended;
}

/* Whoever holds the lock is not waited for: this is only a look. */
static void learn(const struct vmat_self_region *region, uint64_t ended)
{
	enum vmat_span_kind kind;

	if (!may_put_in(region, &kind) || !is_unchanged(ended) || !try_lock())
		return;
	put_in(region->start, region->end, kind, region->page_size);
	if (!is_unchanged(ended))
		vmat_span_set(region->start, region->end, 0);
	unlock();
}

ssize_t vmat_span_learn(uintptr_t addr)
{
	vmat_keep_errno;
	uint64_t ended = changes_ended;
	struct vmat_self_region region;
	bool may_learn = !changes_open;
	int code = vmat_sys_self_region(addr, &region);

	if (code)
		return code == -ENOENT ? -EFAULT : code;
	if (!region.page_size)
		return -ENOTSUP;
	if (may_learn)
		learn(&region, ended);
	return (ssize_t)region.page_size;
}
