/* SPDX-License-Identifier: GPL-2.0 */
/*
 * kmod.h: a pinned buffer, as the files of this module share it.
 *
 * A buffer is made once and does not change but for its kernel mapping. It belongs to one struct file, whose count of
 * references is its only one: descriptors hold the file, a mapping holds it by vma->vm_file, a dma-buf holds it by
 * get_file(). So no other count can disagree, and the module cannot go while any of them is left.
 */
#ifndef VMATLAS_KMOD_H
#define VMATLAS_KMOD_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/types.h>

/**
 * struct vmatlas_run - frames that follow each other
 * @page: first page, counted in the buffer
 * @pfn: its frame
 *
 * It ends where the next run, or the buffer, ends.
 */
struct vmatlas_run {
	unsigned long page;
	unsigned long pfn;
};

/**
 * struct vmatlas_buf - pinned memory
 * @pages: how many are pinned
 * @runs: the physical extents, by page
 * @runs_count: how many
 * @runs_room: for how many there is room
 * @number: see VMATLAS_NAME
 * @pin_ns: what pinning took
 * @map_ns: what mapping took
 * @charged: pages that are charged to @mm, and to @user if there is one
 * @mm: whose VmPin it is; held by mmgrab(), so that exec and exit do not matter
 * @user: whose RLIMIT_MEMLOCK it is; NULL: the owner had CAP_IPC_LOCK
 * @map_lock: one thread makes the kernel's mapping
 * @vaddr: the kernel's mapping, NULL until it is needed
 */
struct vmatlas_buf {
	unsigned long pages;
	struct vmatlas_run *runs;
	size_t runs_count;
	size_t runs_room;
	u64 number;
	u64 pin_ns;
	u64 map_ns;
	unsigned long charged;
	struct mm_struct *mm;
	struct user_struct *user;
	struct mutex map_lock;
	void *vaddr;
};

/* kmod_buffer.c */
struct vmatlas_buf *vmatlas_buf_pin(unsigned long addr, unsigned long pages);
void vmatlas_buf_free(struct vmatlas_buf *buf);
size_t vmatlas_buf_find(const struct vmatlas_buf *buf, unsigned long page);
unsigned long vmatlas_buf_run_pages(const struct vmatlas_buf *buf, size_t run);
void *vmatlas_buf_map(struct vmatlas_buf *buf);

/* kmod_mmap.c */
int vmatlas_buf_mmap(struct vmatlas_buf *buf, struct vm_area_struct *vma);

/* kmod_file.c */
int vmatlas_file_new(struct vmatlas_buf *buf);

/* kmod_dmabuf.c */
int vmatlas_dmabuf_new(struct file *file);

/* kmod_main.c */
int vmatlas_copy_in(void *to, size_t known, const void __user *from, size_t least, u32 *ret_size);

static inline u64 vmatlas_buf_bytes(const struct vmatlas_buf *buf)
{
	return (u64)buf->pages << PAGE_SHIFT;
}

#endif
