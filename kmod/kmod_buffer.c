// SPDX-License-Identifier: GPL-2.0
/*
 * kmod_buffer.c: pinning, charging, and the kernel's sequential view of a buffer.
 *
 * The pages themselves are kept as runs of frames and not as an array of struct page pointers: 16 bytes for each run
 * instead of 8 for each page, which for huge pages is a thousandth. unpin_user_page_range_dirty_lock() takes runs as they are.
 */
#include <linux/cred.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "kmod.h"

/* Pages that are pinned at once: an array of one page, so that a signal waits for two huge pages at most. */
#define BATCH (PAGE_SIZE / sizeof(struct page *))

/* Of all users together; each has RLIMIT_MEMLOCK besides. */
static unsigned int max_buffers = 1024;
module_param(max_buffers, uint, 0644);
MODULE_PARM_DESC(max_buffers, "how many buffers may be pinned at once");

static atomic_t buffers = ATOMIC_INIT(0);

static struct vmatlas_buf *new_buf(void)
{
	struct vmatlas_buf *buf;

	if ((unsigned int)atomic_inc_return(&buffers) > READ_ONCE(max_buffers)) {
		atomic_dec(&buffers);
		return ERR_PTR(-EBUSY);
	}
	buf = kzalloc(sizeof(*buf), GFP_KERNEL_ACCOUNT);
	if (!buf) {
		atomic_dec(&buffers);
		return ERR_PTR(-ENOMEM);
	}
	mutex_init(&buf->map_lock);
	return buf;
}

/*
 * To the user and not to the process: a process that pins, executes itself anew with the descriptor and pins again would get
 * past a limit that is counted in its mm. VmPin of the process is for those who look.
 */
static int charge(struct vmatlas_buf *buf, unsigned long pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;

	if (!capable(CAP_IPC_LOCK)) {
		struct user_struct *user = get_uid(current_user());
		long now = atomic_long_read(&user->locked_vm);

		do {
			if (now + pages > limit) {
				free_uid(user);
				return -ENOMEM;
			}
		} while (!atomic_long_try_cmpxchg(&user->locked_vm, &now, now + pages));
		buf->user = user;
	}
	mmgrab(current->mm);
	buf->mm = current->mm;
	atomic64_add(pages, &buf->mm->pinned_vm);
	buf->charged = pages;
	return 0;
}

static void uncharge(struct vmatlas_buf *buf)
{
	if (buf->user) {
		atomic_long_sub(buf->charged, &buf->user->locked_vm);
		free_uid(buf->user);
	}
	if (buf->mm) {
		atomic64_sub(buf->charged, &buf->mm->pinned_vm);
		mmdrop(buf->mm);
	}
}

static int add_run(struct vmatlas_buf *buf, unsigned long pfn)
{
	if (buf->runs_count == buf->runs_room) {
		size_t room = buf->runs_room ? 2 * buf->runs_room : 8;
		struct vmatlas_run *more =
			kvmalloc_array(room, sizeof(*more), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);

		if (!more)
			return -ENOMEM;
		if (buf->runs)
			memcpy(more, buf->runs, buf->runs_count * sizeof(*more));
		kvfree(buf->runs);
		buf->runs = more;
		buf->runs_room = room;
	}
	buf->runs[buf->runs_count++] = (struct vmatlas_run){ buf->pages, pfn };
	return 0;
}

/*
 * Can this page be pinned for long? The pages of a file are written back and made clean behind a pin that goes on writing
 * to them; since 6.5 the kernel refuses that itself, with the same errno. Anonymous, hugetlb and shared memory have no such backing.
 */
static bool is_plain_memory(struct page *page)
{
	struct folio *folio = page_folio(page);

	return folio_test_anon(folio) || folio_test_hugetlb(folio) || folio_test_swapbacked(folio);
}

/*
 * Takes pinned pages over into runs; those that it does not take are unpinned.
 *
 * A run grows by a page only if the frame of *this page* is the next one. That two pages are of one folio does not say it:
 * a folio can be mapped piecewise and in any order (CVE-2023-2598 was that mistake).
 */
static int take_over(struct vmatlas_buf *buf, struct page **pages, unsigned long count)
{
	unsigned long i;
	int err = 0;

	for (i = 0; i < count; i++) {
		const struct vmatlas_run *last = buf->runs + buf->runs_count - 1;
		unsigned long pfn = page_to_pfn(pages[i]);

		err = is_plain_memory(pages[i]) ? 0 : -EFAULT;
		if (!err && (!buf->runs_count || last->pfn + (buf->pages - last->page) != pfn))
			err = add_run(buf, pfn);
		if (err)
			break;
		buf->pages++;
	}
	if (err)
		unpin_user_pages(pages + i, count - i);
	return err;
}

/*
 * FOLL_WRITE even for those who will only read: a pin for reading may be of a page that a later write copies away (copy on
 * write breaks either way, CVE-2020-29374). FOLL_LONGTERM moves pages out of CMA and movable memory first.
 */
static int pin(struct vmatlas_buf *buf, unsigned long addr, unsigned long pages)
{
	struct page **batch = (struct page **)__get_free_page(GFP_KERNEL);
	int err = batch ? 0 : -ENOMEM;

	while (!err && buf->pages < pages) {
		unsigned long want = min_t(unsigned long, pages - buf->pages, BATCH);
		int got = pin_user_pages_fast(addr + (buf->pages << PAGE_SHIFT), want,
					      FOLL_WRITE | FOLL_LONGTERM, batch);

		/* 0 does not happen for a count above 0, and must not become an endless loop. */
		if (got <= 0)
			err = got ? got : -EFAULT;
		else
			err = take_over(buf, batch, got);
		/* Pages that were made present stay so: who comes again is faster, and a timer cannot stop it for ever. */
		if (!err && buf->pages < pages && signal_pending(current))
			err = -ERESTARTSYS;
		cond_resched();
	}
	free_page((unsigned long)batch);
	return err;
}

/**
 * vmatlas_buf_pin() - pin memory of the current process
 * @addr: address of a page
 * @pages: how many, above 0; the end does not overflow
 *
 * Return: the buffer, or an ERR_PTR: then nothing is pinned or charged.
 */
struct vmatlas_buf *vmatlas_buf_pin(unsigned long addr, unsigned long pages)
{
	struct vmatlas_buf *buf = new_buf();
	u64 start = ktime_get_ns();
	int err;

	if (IS_ERR(buf))
		return buf;
	err = charge(buf, pages);
	if (!err)
		err = pin(buf, addr, pages);
	if (err) {
		vmatlas_buf_free(buf);
		return ERR_PTR(err);
	}
	buf->pin_ns = ktime_get_ns() - start;
	return buf;
}

/**
 * vmatlas_buf_free() - unpin, unmap, uncharge
 * @buf: one that nobody uses any more; may be half made
 *
 * Context: may sleep. Runs in whichever process put the last reference, perhaps long after the owner is gone.
 */
void vmatlas_buf_free(struct vmatlas_buf *buf)
{
	if (buf->vaddr)
		vm_unmap_ram(buf->vaddr, buf->pages);
	for (size_t i = 0; i < buf->runs_count; i++) {
		unpin_user_page_range_dirty_lock(pfn_to_page(buf->runs[i].pfn),
						 vmatlas_buf_run_pages(buf, i), true);
		cond_resched();
	}
	uncharge(buf);
	kvfree(buf->runs);
	kfree(buf);
	atomic_dec(&buffers);
}

/* The pages of a run. */
unsigned long vmatlas_buf_run_pages(const struct vmatlas_buf *buf, size_t run)
{
	unsigned long end = run + 1 < buf->runs_count ? buf->runs[run + 1].page : buf->pages;

	return end - buf->runs[run].page;
}

/* The run that holds a page of the buffer. */
size_t vmatlas_buf_find(const struct vmatlas_buf *buf, unsigned long page)
{
	size_t low = 0, high = buf->runs_count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (buf->runs[middle].page <= page)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static void *map_runs(const struct vmatlas_buf *buf)
{
	struct page **pages = kvmalloc_array(buf->pages, sizeof(*pages), GFP_KERNEL | __GFP_NOWARN);
	void *vaddr;

	if (!pages)
		return NULL;
	for (size_t run = 0, at = 0; run < buf->runs_count; run++)
		for (unsigned long i = 0; i < vmatlas_buf_run_pages(buf, run); i++)
			pages[at++] = pfn_to_page(buf->runs[run].pfn + i);
	vaddr = vm_map_ram(pages, buf->pages, page_to_nid(pages[0]));
	kvfree(pages);
	return vaddr;
}

/**
 * vmatlas_buf_map() - the buffer as the kernel sees it: in one piece
 * @buf: a buffer
 *
 * Made on first need, for it costs 8 bytes of page table per 4 KiB, and many buffers never need it.
 *
 * Return: the address of the first byte, valid as long as the buffer, or NULL without memory.
 */
void *vmatlas_buf_map(struct vmatlas_buf *buf)
{
	/* Pairs with the release below: who sees the address sees the page tables behind it. */
	void *vaddr = smp_load_acquire(&buf->vaddr);

	if (vaddr)
		return vaddr;
	mutex_lock(&buf->map_lock);
	vaddr = buf->vaddr;
	if (!vaddr) {
		u64 start = ktime_get_ns();

		vaddr = map_runs(buf);
		buf->map_ns = ktime_get_ns() - start;
		smp_store_release(&buf->vaddr, vaddr);
	}
	mutex_unlock(&buf->map_lock);
	return vaddr;
}
