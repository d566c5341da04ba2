/* SPDX-License-Identifier: MIT */
/*
 * prim_hugebuf.c: the physically ordered buffer of vmatlas/prim/hugebuf.h.
 *
 * A pile is a mapping of more huge pages than are needed, with the frame of each. A buffer is new, so when something fails
 * on the way the pile is unmapped and the next way is tried: there are no contents to save. A page that was
 * moved out of the pile leaves a hole in which another thread may map something, so the pile is unmapped page by page.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/feature.h>
#include <vmatlas/prim/hugebuf.h>

#include "base/cleanup.h"
#include "sys/pagemap.h"
#include "sys/sys_driver.h"
#include "sys/sys_file.h"
#include "sys/sys_memory.h"

#define GIB        ((size_t)1 << 30)
#define MIB2       ((size_t)2 << 20)
#define HUGE_SHIFT 26 /* MAP_HUGE_SHIFT */

/* One page of a pile. */
struct page {
	unsigned char *at; /* NULL when it has been moved out */
	uint64_t frame;    /* in base pages; 0: not known */
};

struct pile {
	struct page *pages;
	size_t count;
	size_t page_size;
	bool has_frames;
};

static void drop_pile(struct pile *pile)
{
	for (size_t i = 0; i < pile->count; i++)
		if (pile->pages[i].at)
			vmat_sys_munmap(pile->pages[i].at, pile->page_size);
	free(pile->pages);
	*pile = (struct pile){ 0 };
}

/* The state of each page in /proc/self/pagemap. */
static int read_frames(struct pile *pile)
{
	size_t base = (size_t)sysconf(_SC_PAGESIZE);
	int fd = vmat_sys_open_at(AT_FDCWD, "/proc/self/pagemap", 0);
	int r = 0;

	/* Without pagemap the pages are as present as the kernel said when it was asked for them. */
	if (fd < 0)
		return 0;
	pile->has_frames = vmat_feature_has(VMAT_FEATURE_PAGE_FRAMES);
	for (size_t i = 0; i < pile->count && !r; i++) {
		struct page *page = &pile->pages[i];
		uint64_t entry = 0;

		if (vmat_sys_pagemap_read(fd, (uintptr_t)page->at / base, &entry, 1) != 1)
			pile->has_frames = false;
		else if (!(entry & VMAT_PM_PRESENT))
			r = -ENOMEM; /* a limit of the cgroup: the first touch would be a SIGBUS */
		else
			page->frame = VMAT_PM_PFN(entry);
		pile->has_frames = pile->has_frames && page->frame;
	}
	close(fd);
	return r;
}

/* Takes `count` huge pages out of the pool and makes them present. -ENOMEM: there are not so many. */
static int take_pile(struct pile *ret, size_t count, size_t page_size)
{
	struct pile pile = { .count = count, .page_size = page_size };
	bool can_populate = vmat_feature_has(VMAT_FEATURE_MADV_POPULATE);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
		    __builtin_ctzll(page_size) << HUGE_SHIFT;
	void *got;
	int r;

	pile.pages = calloc(count, sizeof(*pile.pages));
	if (!pile.pages)
		return -ENOMEM;
	r = vmat_sys_mmap(NULL, count * page_size, PROT_READ | PROT_WRITE,
			  flags | (can_populate ? 0 : MAP_POPULATE), -1, 0, &got);
	if (r) {
		free(pile.pages);
		/* What is said where there are no huge pages of this size at all. */
		return r == -EINVAL || r == -ENOENT ? -ENOMEM : r;
	}
	for (size_t i = 0; i < count; i++)
		pile.pages[i].at = (unsigned char *)got + i * page_size;
	if (can_populate)
		r = vmat_sys_madvise(got, count * page_size, MADV_POPULATE_WRITE);
	if (!r)
		r = read_frames(&pile);
	if (r) {
		drop_pile(&pile);
		return r == -EFAULT ? -ENOMEM : r;
	}
	*ret = pile;
	return 0;
}

static int by_frame(const void *a, const void *b)
{
	uint64_t x = ((const struct page *)a)->frame, y = ((const struct page *)b)->frame;

	return (x > y) - (x < y);
}

static bool follows(const struct pile *pile, size_t i)
{
	return pile->pages[i].frame ==
	       pile->pages[i - 1].frame + pile->page_size / (size_t)sysconf(_SC_PAGESIZE);
}

/* Of the sorted pages the first one of the `count` that have the fewest breaks between them. */
static size_t best_stretch(const struct pile *pile, size_t count)
{
	size_t breaks = 0, best = 0, fewest;

	for (size_t i = 1; i < count; i++)
		breaks += !follows(pile, i);
	fewest = breaks;
	for (size_t first = 1; first + count <= pile->count; first++) {
		/* The window loses the step behind its old first page and gains that to its new last one. */
		if (count > 1) {
			breaks -= !follows(pile, first);
			breaks += !follows(pile, first + count - 1);
		}
		if (breaks < fewest) {
			fewest = breaks;
			best = first;
		}
	}
	return best;
}

/* Moves the best `count` pages of a pile with frames into one range, in order, and drops the rest. */
static int sort_pile(struct pile *pile, size_t count, unsigned char **ret)
{
	unsigned char *data;
	size_t first, moved = 0;
	void *got;
	int r;

	qsort(pile->pages, pile->count, sizeof(pile->pages[0]), by_frame);
	first = best_stretch(pile, count);
	r = vmat_sys_reserve(count * pile->page_size, pile->page_size, &got);
	if (r)
		return r;
	data = got;
	for (; moved < count && !r; moved += !r) {
		struct page *page = &pile->pages[first + moved];
		void *at;

		r = vmat_sys_mremap(page->at, pile->page_size, pile->page_size,
				    MREMAP_MAYMOVE | MREMAP_FIXED, data + moved * pile->page_size,
				    &at);
		if (!r)
			page->at = NULL;
	}
	if (r) {
		vmat_sys_munmap(data, count * pile->page_size);
		return r;
	}
	*ret = data;
	return 0;
}

/* What came out: the frames are read again where the pages are now. */
static int describe(struct vmat_hugebuf *buf)
{
	size_t count = buf->size / buf->page_size, base = (size_t)sysconf(_SC_PAGESIZE);
	struct pile pile = { .count = count, .page_size = buf->page_size };
	int r;

	pile.pages = calloc(count, sizeof(*pile.pages));
	if (!pile.pages)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		pile.pages[i].at = buf->data + i * buf->page_size;
	r = read_frames(&pile);
	buf->has_frames = !r && pile.has_frames;
	if (buf->has_frames) {
		buf->extents = calloc(count, sizeof(*buf->extents));
		r = buf->extents ? 0 : -ENOMEM;
		buf->is_ascending = true;
	}
	for (size_t i = 0; !r && buf->has_frames && i < count; i++) {
		if (i && pile.pages[i].frame < pile.pages[i - 1].frame)
			buf->is_ascending = false;
		if (!i || !follows(&pile, i))
			buf->extents[buf->extents_count++] =
				(struct vmat_hugebuf_extent){ i * buf->page_size, 0,
							      pile.pages[i].frame * base };
		buf->extents[buf->extents_count - 1].bytes += buf->page_size;
	}
	free(pile.pages);
	return r;
}

/* How many pages to take for `needed`: what sorting can choose from, and the pool can spare. */
static size_t pile_count(size_t needed, size_t page_size)
{
	size_t wanted = needed < 16 ? needed + 16 : 2 * needed,
	       free_pages = vmat_sys_huge_pages_free(page_size);

	if (free_pages < needed)
		return needed; /* the kernel says no, or it can make more (nr_overcommit_hugepages) */
	return wanted < free_pages ? wanted : free_pages;
}

/* Pages as they come, in one mapping. */
static int take_unsorted(struct vmat_hugebuf *buf, size_t count)
{
	struct pile pile;
	int r = take_pile(&pile, count, buf->page_size);

	if (r)
		return r;
	buf->data = pile.pages[0].at;
	free(pile.pages);
	return 0;
}

static int take_sorted(struct vmat_hugebuf *buf, size_t count)
{
	size_t wanted = pile_count(count, buf->page_size);
	struct pile pile;
	int r = take_pile(&pile, wanted, buf->page_size);

	if (r && wanted > count)
		r = take_pile(&pile, count, buf->page_size);
	if (r)
		return r;
	r = pile.has_frames ? sort_pile(&pile, count, &buf->data) : -EPERM;
	drop_pile(&pile);
	return r;
}

/* Fills the buffer with pages of one size. */
static int fill(struct vmat_hugebuf *buf, size_t size, size_t page_size, uint32_t flags)
{
	size_t count = (size + page_size - 1) / page_size;
	static const char no_frames[] = "frame numbers need CAP_SYS_ADMIN: nothing is sorted";
	int r = -EPERM;

	buf->page_size = page_size;
	buf->size = count * page_size;
	if (flags & VMAT_HUGEBUF_UNSORTED) {
		buf->why = "not asked to be sorted";
	} else if (!vmat_feature_has(VMAT_FEATURE_PAGE_FRAMES)) {
		buf->why = no_frames;
	} else {
		r = take_sorted(buf, count);
		if (r == -EPERM)
			buf->why = no_frames;
		else if (r)
			buf->why =
				"the pages could not be moved into order (mremap of huge pages, Linux 5.16): as they came";
	}
	return r ? take_unsorted(buf, count) : 0;
}

static int finish(struct vmat_hugebuf *buf, uint32_t flags)
{
	/* A child that wrote to a copy would take pages from the pool, or die of SIGBUS. */
	int r = vmat_sys_madvise(buf->data, buf->size, MADV_DONTFORK);

	if (!r && flags & VMAT_HUGEBUF_LOCK)
		r = vmat_sys_mlock(buf->data, buf->size);
	return r ? r : describe(buf);
}

int vmat_hugebuf_new(struct vmat_hugebuf **ret, size_t size, uint32_t flags)
{
	vmat_keep_errno;
	const uint32_t known = VMAT_HUGEBUF_LOCK | VMAT_HUGEBUF_ONLY_2M | VMAT_HUGEBUF_UNSORTED;
	struct vmat_hugebuf *buf;
	int r = -ENOMEM;

	if (!size || flags & ~known)
		return -EINVAL;
	if (size > SIZE_MAX / 8)
		return -EOVERFLOW;
	buf = calloc(1, sizeof(*buf));
	if (!buf)
		return -ENOMEM;
	buf->owner = getpid();
	buf->why = "";
	if (!(flags & VMAT_HUGEBUF_ONLY_2M) && (size + GIB - 1) / GIB * GIB - size <= size / 4) {
		r = fill(buf, size, GIB, flags);
		if (r)
			buf->why = "";
	}
	if (r)
		r = fill(buf, size, MIB2, flags);
	if (!r)
		r = finish(buf, flags);
	if (r) {
		vmat_hugebuf_free(buf);
		return r;
	}
	*ret = buf;
	return 0;
}

/* The driver's extents instead of those read before. Without the right to see frames there were none, and are none. */
static int take_extents(struct vmat_hugebuf *buf, const struct vmatlas_extent *told, size_t count)
{
	struct vmat_hugebuf_extent *extents;

	if (told[0].physical == VMATLAS_PHYSICAL_HIDDEN)
		return 0;
	extents = calloc(count, sizeof(*extents));
	if (!extents)
		return -ENOMEM;
	buf->is_ascending = true;
	for (size_t i = 0; i < count; i++) {
		extents[i] = (struct vmat_hugebuf_extent){ told[i].offset, told[i].bytes,
							   told[i].physical };
		if (i && told[i].physical < told[i - 1].physical)
			buf->is_ascending = false;
	}
	free(buf->extents);
	buf->extents = extents;
	buf->extents_count = count;
	buf->has_frames = true;
	return 0;
}

int vmat_hugebuf_pin(struct vmat_hugebuf *buf)
{
	vmat_keep_errno;
	vmat_autofree struct vmatlas_extent *told = NULL;
	vmat_autoclose int fd = -1;
	size_t count;
	int r;

	if (buf->owner != getpid())
		return -EINVAL;
	fd = vmat_sys_driver_pin(buf->data, buf->size);
	if (fd < 0)
		return fd;
	r = vmat_sys_driver_extents(fd, &told, &count);
	if (!r)
		r = take_extents(buf, told, count);
	if (r)
		return r;
	buf->is_pinned = true;
	return vmat_take_fd(&fd);
}

struct vmat_hugebuf *vmat_hugebuf_free(struct vmat_hugebuf *buf)
{
	vmat_keep_errno;
	if (!buf)
		return NULL;
	if (buf->data && buf->owner == getpid())
		vmat_sys_munmap(buf->data, buf->size);
	free(buf->extents);
	free(buf);
	return NULL;
}
