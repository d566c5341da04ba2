/* SPDX-License-Identifier: MIT */
/*
 * cow.h: copy on write in own memory, without root: which pages of private mappings are copies of their file's, and
 * which pages are still shared with a parent or child after fork(2).
 *
 * Both functions only look: they touch no page and change nothing. They report runs of pages in ascending order; when
 * all `count` of them are filled there may be more: go on at the end of the last one.
 */
#ifndef VMATLAS_PRIM_COW_H
#define VMATLAS_PRIM_COW_H

#include <vmatlas/prim/range.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The pages of [start, start + size) that are copies: they lie in a private mapping of a file, and were
 * written, so that this process has a page of its own in the file's place, in memory or swapped out. Pages of other mappings are none.
 * What was dropped again (MADV_DONTNEED) is none any more.
 * Errors: -EINVAL not whole pages, none, or count is 0; -ENOMEM a page is not mapped; -EACCES /proc/self/pagemap may not be
 * read; -ENOTSUP there is none. Cost: 4 us, 0.5 us for each mapping, and 45 ns for each page that is there. MT-Safe, AS-Safe.
 */
VMAT_API ssize_t vmat_cow_copied(const void *start, size_t size, struct vmat_range *runs,
				 size_t count);

/*
 * The anonymous pages, copies among them, that are there and still shared with another process, after a fork of this one
 * or of its parent. A write to one makes a copy. Where both look, both see it; when one has written or ended, the other's page
 * is its own. Pages merged by KSM count, too; swapped ones do not, for the kernel does not tell. Before Linux
 * 6.7 pages that were only ever read, and so are the zero page, count as well.
 * Errors and cost as above. MT-Safe, AS-Safe.
 */
VMAT_API ssize_t vmat_cow_shared(const void *start, size_t size, struct vmat_range *runs,
				 size_t count);

#ifdef __cplusplus
}
#endif
#endif
