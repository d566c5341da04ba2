/* SPDX-License-Identifier: MIT */
/*
 * prim_track_mprotect.c: trackers by mprotect(2) and SIGSEGV: the range is read-only, the handler lets a write
 * through and sets the page's bit.
 *
 * Regions. Each separate dirty place costs two more regions, and at vm.max_map_count mprotect fails: a handler that
 * gives up there loses pages. So the places are counted ("islands"); near the limit the granule grows, so that what
 * is left of the range cannot reach it, and where mprotect fails nevertheless the whole range is let through
 * and reported: too much, never too little.
 *
 * Handlers. The handler stays installed once a tracker was open, for a fault may be under way while the last
 * one is closed, and calls whoever was there before for each fault that is not a tracker's. Who installs a handler
 * later replaces it; each open and collect looks, and goes in front again. Nodes are never freed, so that a handler
 * may look at one at any time; a tracker hangs on its node under the node's lock.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "prim/prim_track_priv.h"
#include "sys/own_limits.h"
#include "sys/self_map.h"
#include "sys/sys_memory.h"
#include "sys/sys_signal.h"

/* Nodes of closed trackers are kept so long that the faults of their time are over. */
enum { NODES_KEPT = 16, NODES_PER_BLOCK = 32, CHAIN_MAX = 8 };

struct vmat_track_node {
	_Atomic pid_t locked_by;
	struct vmat_track *track; /* NULL: closed; under the lock */
	/* Also of the closed one. Written under the lock; read without it to pass over the node. */
	_Atomic(char *) start, end;
	/* When the tracker was closed, and the protection that its range did not get back then; 0: it did. */
	uint64_t closed_at;
	int prot_owed;
	_Atomic(struct vmat_track_node *) next;
};

static _Atomic(struct vmat_track_node *) nodes;

/*
 * Who was installed before us, oldest first; the last one is asked for faults that are not ours. Who comes later and
 * calls us for what is not his, as he should, leads back here: then the next older one is asked.
 */
static struct sigaction chain[CHAIN_MAX];
static size_t chain_count;
static _Atomic pid_t handlers_locked_by; /* chain, and all changes of nodes */

/* Dirty places of all trackers of this way, and how many there may be. */
static _Atomic long islands;
static _Atomic long islands_max;

static _Atomic uint64_t closings; /* changed under the handlers' lock */

static void lock(_Atomic pid_t *locked_by)
{
	pid_t self = getpid(), owner = 0;

	/* As vmat_track_lock(). */
	while (!atomic_compare_exchange_weak_explicit(locked_by, &owner, self, memory_order_acquire,
						      memory_order_relaxed)) {
		if (owner == self) {
			owner = 0;
			vmat_sys_yield();
		}
	}
}

static void unlock(_Atomic pid_t *locked_by)
{
	atomic_store_explicit(locked_by, 0, memory_order_release);
}

/*
 * A fault in the range of a closed tracker may be of the time when it was open: it is tried again once for each
 * tracker that was closed, and is somebody else's when it comes back.
 */
static bool is_first_try(const char *addr)
{
	static __thread struct {
		const char *addr;
		uint64_t closings;
	} tried __attribute__((tls_model("initial-exec")));

	uint64_t now = atomic_load_explicit(&closings, memory_order_relaxed);

	if (tried.addr == addr && tried.closings == now)
		return false;
	tried.addr = addr;
	tried.closings = now;
	return true;
}

/* Adds to the dirty places of a tracker, and of all. Under the tracker's lock. */
static void add_islands(struct vmat_track *track, long more)
{
	track->islands += more;
	atomic_fetch_add_explicit(&islands, more, memory_order_relaxed);
}

/* How many dirty places there are more when these pages become dirty: they may join what is on either side. */
static long islands_of(const struct vmat_track *track, size_t page, size_t count)
{
	bool left = page > 0 && vmat_track_bit(track, page - 1);
	bool right = page + count < track->pages && vmat_track_bit(track, page + count);

	return 1 - left - right;
}

static int protect(struct vmat_track *track, size_t page, size_t count, int prot)
{
	return vmat_sys_mprotect(track->start + page * track->page_size, count * track->page_size,
				 prot);
}

/* With so many pages at once the rest of the range has no room for more places than are left. */
static void widen(struct vmat_track *track)
{
	long now = atomic_load_explicit(&islands, memory_order_relaxed);
	long max = atomic_load_explicit(&islands_max, memory_order_relaxed);
	size_t left = max - now > 16 ? (size_t)(max - now) : 16;

	if (now < max - max / 8)
		return;
	while (track->granule_pages < track->pages &&
	       track->pages / (2 * track->granule_pages) > left)
		track->granule_pages *= 2;
}

/* Lets a write to `page` through, and sets the bits. Under the lock. False when the kernel refuses all of it. */
static bool let_through(struct vmat_track *track, size_t page)
{
	size_t first, count;

	/* Another thread was faster; what it let through, nobody takes back while the bit is set. */
	if (vmat_track_bit(track, page) && protect(track, page, 1, track->prot) == 0)
		return true;
	widen(track);
	first = page / track->granule_pages * track->granule_pages;
	count = track->pages - first < track->granule_pages ? track->pages - first
							    : track->granule_pages;
	if (protect(track, first, count, track->prot) == 0) {
		/* Pages in the middle may be dirty already: until the next answer too many places are counted. */
		add_islands(track, islands_of(track, first, count));
		vmat_track_bits_set(track, first, count);
		return true;
	}
	if (protect(track, 0, track->pages, track->prot))
		return false;
	vmat_track_bits_set(track, 0, track->pages);
	atomic_fetch_add_explicit(&track->overflows, 1, memory_order_relaxed);
	return true;
}

static bool is_write(const void *context)
{
#if defined(__x86_64__)
	/* The page fault's error code: bit 1 is a write. */
	return ((const ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2;
#else
	(void)context;
	return true;
#endif
}

static bool holds(const struct vmat_track_node *node, const char *addr)
{
	return addr >= atomic_load_explicit(&node->start, memory_order_relaxed) &&
	       addr < atomic_load_explicit(&node->end, memory_order_relaxed);
}

/* Whether the fault was this node's. Under its lock. */
static bool handle(struct vmat_track_node *node, char *addr)
{
	struct vmat_track *track = node->track;
	bool is_ours;

	if (!holds(node, addr))
		return false;
	if (!track && node->prot_owed) {
		char *start = atomic_load(&node->start), *end = atomic_load(&node->end);

		if (vmat_sys_mprotect(start, (size_t)(end - start), node->prot_owed))
			return false;
		node->prot_owed = 0;
		return true;
	}
	if (!track)
		return is_first_try(addr);
	vmat_track_lock(track);
	is_ours = let_through(track, (size_t)(addr - track->start) / track->page_size);
	vmat_track_unlock(track);
	return is_ours;
}

static struct vmat_track_node *next_of(const struct vmat_track_node *node)
{
	return atomic_load_explicit(node ? &node->next : &nodes, memory_order_acquire);
}

/* With all signals blocked. */
static bool find_and_handle(const siginfo_t *info, const void *context)
{
	bool is_ours = false;

	/* Not when another process sent it, nor for memory that is not there. */
	if (info->si_code != SEGV_ACCERR || (context && !is_write(context)))
		return false;
	for (struct vmat_track_node *node = next_of(NULL); node && !is_ours; node = next_of(node)) {
		/* Who writes to a tracked range has it from the one who opened the tracker, node and all. */
		if (!holds(node, info->si_addr))
			continue;
		lock(&node->locked_by);
		is_ours = handle(node, info->si_addr);
		unlock(&node->locked_by);
	}
	return is_ours;
}

bool vmat_track_fault(const void *info, const void *context)
{
	sigset_t mask;
	bool is_ours;

	vmat_sys_signals_block(&mask);
	is_ours = find_and_handle(info, context);
	vmat_sys_signals_set(&mask);
	return is_ours;
}

/* What the kernel does with a SIGSEGV that nobody handles: the fault comes again, a sent one is sent again. */
static void by_default(int sig, const siginfo_t *info)
{
	const struct sigaction fallback = { .sa_handler = SIG_DFL };

	vmat_sys_sigaction(sig, &fallback, NULL);
	if (info->si_code <= 0)
		vmat_sys_raise(sig);
}

/* The handler to ask: number `back` from the last. Under no lock of ours. */
static struct sigaction handler_before(size_t back)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	lock(&handlers_locked_by);
	if (back < chain_count) {
		struct sigaction *theirs = &chain[chain_count - 1 - back];

		action = *theirs;
		if (theirs->sa_flags & SA_RESETHAND)
			*theirs = (struct sigaction){ .sa_handler = SIG_DFL };
	}
	unlock(&handlers_locked_by);
	return action;
}

/* Calls who was there before us as the kernel would have called him. */
static void forward(int sig, siginfo_t *info, void *context, size_t back)
{
	sigset_t mask = ((ucontext_t *)context)->uc_sigmask, all;
	struct sigaction theirs;

	vmat_sys_signals_block(&all);
	theirs = handler_before(back);
	vmat_sys_signals_set(&all);
	if (theirs.sa_handler == SIG_DFL || (theirs.sa_handler == SIG_IGN && info->si_code > 0)) {
		by_default(sig, info);
		return;
	}
	if (theirs.sa_handler == SIG_IGN)
		return;
	sigorset(&mask, &mask, &theirs.sa_mask);
	if (!(theirs.sa_flags & SA_NODEFER))
		sigaddset(&mask, sig);
	vmat_sys_signals_set(&mask);
	if (theirs.sa_flags & SA_SIGINFO)
		theirs.sa_sigaction(sig, info, context);
	else
		theirs.sa_handler(sig);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	/* The fault that is being forwarded. Called for the same one from further down the stack, we were called by the
	 * one we asked. A new fault in the same place has the same frame, not one further down. */
	static __thread struct {
		const siginfo_t *info;
		const char *frame;
		size_t back;
	} asked __attribute__((tls_model("initial-exec")));

	const char *frame = __builtin_frame_address(0);

	if (find_and_handle(info, context))
		return;
	if (asked.info == info && frame < asked.frame)
		asked.back++;
	else
		asked.back = 0;
	asked.info = info;
	asked.frame = frame;
	forward(sig, info, context, asked.back);
}

/* Under the handlers' lock. The oldest stays, whatever comes. */
static void remember(const struct sigaction *action)
{
	if (chain_count && chain[chain_count - 1].sa_handler == action->sa_handler) {
		chain[chain_count - 1] = *action;
		return;
	}
	if (chain_count == CHAIN_MAX) {
		memmove(chain + 1, chain + 2, (CHAIN_MAX - 2) * sizeof(*chain));
		chain_count--;
	}
	chain[chain_count++] = *action;
}

/* Puts our handler in front, where it is not. */
static int install(void)
{
	struct sigaction ours = { .sa_sigaction = on_fault }, now;
	sigset_t mask;
	int err;

	vmat_sys_signals_block(&mask);
	lock(&handlers_locked_by);
	err = vmat_sys_sigaction(SIGSEGV, NULL, &now);
	if (!err && !((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault)) {
		/* On the alternate stack where there is one: the stack itself may be tracked. No signal comes in
		 * between, for its handler could write to tracked memory. */
		ours.sa_flags = SA_SIGINFO | SA_ONSTACK | (now.sa_flags & SA_RESTART);
		sigfillset(&ours.sa_mask);
		remember(&now);
		err = vmat_sys_sigaction(SIGSEGV, &ours, NULL);
	}
	unlock(&handlers_locked_by);
	vmat_sys_signals_set(&mask);
	return err;
}

/* Under the handlers' lock. */
static bool is_tracked(const struct vmat_track *track)
{
	for (struct vmat_track_node *node = next_of(NULL); node; node = next_of(node))
		if (node->track && node->start < track->end && track->start < node->end)
			return true;
	return false;
}

static int check_free(const struct vmat_track *track)
{
	sigset_t mask;
	int err;

	vmat_sys_signals_block(&mask);
	lock(&handlers_locked_by);
	err = is_tracked(track) ? -EBUSY : 0;
	unlock(&handlers_locked_by);
	vmat_sys_signals_set(&mask);
	return err;
}

struct survey {
	const struct vmat_track *track;
	int prot; /* of the range; -1: not known yet */
};

static int look_at(const struct vmat_self_region *region, void *context)
{
	struct survey *survey = context;
	char *start = (char *)region->start;

	if (survey->prot >= 0 && survey->prot != region->prot)
		return -EACCES;
	survey->prot = region->prot;
	/* Private memory that nobody has written to gets an anon_vma of its own in each piece that is cut
	 * off and written to, and such pieces never become one region again (mm/vma.c). So it gets one first;
	 * where that fails it only costs regions. */
	if ((region->prot & PROT_WRITE) && !region->is_shared)
		vmat_sys_madvise(start > survey->track->start ? start : survey->track->start,
				 survey->track->page_size, MADV_POPULATE_WRITE);
	return 0;
}

/* The protection of the range, and how many dirty places the process has room for. */
static int survey_range(struct vmat_track *track)
{
	struct survey survey = { .track = track, .prot = -1 };
	long regions = vmat_sys_own_regions(), room;
	int err = vmat_sys_self_walk((uintptr_t)track->start, (uintptr_t)track->end, false, look_at,
				     &survey);

	if (err || regions < 0)
		return err ? err : (int)regions;
	if ((survey.prot & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE))
		return -EACCES;
	room = (vmat_sys_own_regions_max() - regions) / 2 + atomic_load(&islands);
	atomic_store(&islands_max, room > 64 ? room - room / 16 : 64);
	track->prot = survey.prot;
	return 0;
}

/* More nodes. Those of the first block cost no system call, and one that fails leaves no memory behind. */
static int add_nodes(void)
{
	static struct vmat_track_node first_block[NODES_PER_BLOCK];
	struct vmat_track_node *block = first_block;

	if (next_of(NULL)) {
		void *memory;
		int err = vmat_sys_mmap(NULL, NODES_PER_BLOCK * sizeof(*block),
					PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0,
					&memory);

		if (err)
			return err;
		block = memory;
	}
	for (size_t i = 0; i < NODES_PER_BLOCK; i++) {
		/* As if closed long ago: an empty range that no fault lies in. */
		block[i].closed_at = closings - NODES_KEPT;
		atomic_store_explicit(&block[i].next,
				      i + 1 < NODES_PER_BLOCK ? &block[i + 1] : next_of(NULL),
				      memory_order_relaxed);
	}
	atomic_store_explicit(&nodes, block, memory_order_release);
	return 0;
}

/* A node that nobody can still mean: that of a tracker closed long ago, or a new one. Under the handlers' lock. */
static int find_node(struct vmat_track_node **ret)
{
	int err;

	for (struct vmat_track_node *node = next_of(NULL); node; node = next_of(node)) {
		if (!node->track && !node->prot_owed && closings - node->closed_at >= NODES_KEPT) {
			*ret = node;
			return 0;
		}
	}
	err = add_nodes();
	if (!err)
		*ret = next_of(NULL);
	return err;
}

/* Hangs the tracker on a node. */
static int enter(struct vmat_track *track)
{
	struct vmat_track_node *node = NULL;
	sigset_t mask;
	int err;

	vmat_sys_signals_block(&mask);
	lock(&handlers_locked_by);
	err = is_tracked(track) ? -EBUSY : find_node(&node);
	if (!err) {
		lock(&node->locked_by);
		node->start = track->start;
		node->end = track->end;
		node->track = track;
		node->prot_owed = 0;
		unlock(&node->locked_by);
		track->node = node;
	}
	unlock(&handlers_locked_by);
	vmat_sys_signals_set(&mask);
	return err;
}

/* Lets all writes through, and takes the tracker off its node. */
static void leave(struct vmat_track *track)
{
	struct vmat_track_node *node = track->node;
	sigset_t mask;

	vmat_sys_signals_block(&mask);
	lock(&handlers_locked_by);
	lock(&node->locked_by);
	node->prot_owed = protect(track, 0, track->pages, track->prot) ? track->prot : 0;
	add_islands(track, -track->islands);
	node->closed_at = closings++;
	node->track = NULL;
	unlock(&node->locked_by);
	unlock(&handlers_locked_by);
	vmat_sys_signals_set(&mask);
}

/* Makes the range read-only. Protects with ever greater first steps, for hugetlb takes whole pages only. */
static int arm_all(struct vmat_track *track)
{
	size_t size = (size_t)(track->end - track->start), page_size = track->page_size;
	int err = -EINVAL;

	for (; (size | (uintptr_t)track->start) % page_size == 0; page_size *= 2) {
		err = vmat_sys_mprotect(track->start, page_size, PROT_READ);
		if (err != -EINVAL)
			break;
	}
	if (err)
		return err;
	track->page_size = page_size;
	track->pages = size / page_size;
	return protect(track, 0, track->pages, track->prot & ~PROT_WRITE);
}

static int mprotect_open(struct vmat_track *track)
{
	/* Before the protection is looked at, which is not the caller's where another tracker is. */
	int err = check_free(track);

	if (!err)
		err = survey_range(track);
	if (!err)
		err = install();
	if (!err)
		err = enter(track);
	if (err)
		return err;
	err = arm_all(track);
	if (err)
		leave(track);
	return err;
}

static void mprotect_close(struct vmat_track *track, bool is_child)
{
	/* A child has a copy of all of it: its pages, its handler and its node. */
	(void)is_child;
	leave(track);
}

/* A region that is read-only already costs mprotect nothing but the look (mprotect_fixup() in mm/mprotect.c). */
static int arm(struct vmat_track *track, size_t page, size_t count)
{
	return protect(track, page, count, track->prot & ~PROT_WRITE);
}

/* The count of places is what the bits say; the granule shrinks again where there is room for all places. */
static void recount(struct vmat_track *track)
{
	sigset_t mask;

	vmat_sys_signals_block(&mask);
	vmat_track_lock(track);
	add_islands(track, (long)vmat_track_bits_runs(track) - track->islands);
	if (atomic_load(&islands) < atomic_load(&islands_max) / 2)
		track->granule_pages = track->first_granule_pages;
	vmat_track_unlock(track);
	vmat_sys_signals_set(&mask);
}

static ssize_t mprotect_collect(struct vmat_track *track, struct vmat_range *runs, size_t count)
{
	int err = install();
	ssize_t have;

	if (err)
		return err;
	have = vmat_track_table_collect(track, runs, count);
	recount(track);
	return have;
}

const struct vmat_track_ops vmat_track_mprotect_ops = {
	.name = "mprotect",
	.misses =
		"A system call that writes to a page not written since the last answer fails with EFAULT. A thread "
		"that has SIGSEGV blocked is killed by its write. A SIGSEGV handler installed later must call "
		"vmat_track_fault().",
	.backend = VMAT_TRACK_MPROTECT,
	.has_table = true,
	.arms_spans = true,
	.open = mprotect_open,
	.close = mprotect_close,
	.arm = arm,
	.collect = mprotect_collect,
};
