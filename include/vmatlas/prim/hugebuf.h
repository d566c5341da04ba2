/* SPDX-License-Identifier: MIT */
/*
 * hugebuf.h: a buffer of huge pages in ascending physical order, for a driver or a device that wants large pieces.
 *
 * Huge pages come from the kernel's pool in any order: the second one of a buffer may lie below the first. This buffer
 * is made in the best of these ways that works:
 *   1 GiB pages, when they waste at most a fifth;
 *   2 MiB pages: more than are needed are taken, sorted by frame, the stretch with the fewest breaks is moved into
 *   order (mremap(2), Linux 5.16), and the rest goes back to the pool;
 *   2 MiB pages as they come.
 * It always says what came out of it, as physical extents. Contiguity is not made by sorting and never promised:
 * count the extents. Frame numbers need CAP_SYS_ADMIN; without it nothing is sorted, and that is said.
 *
 * In a virtual machine "physical" is the guest's. Frames stay what they are as long as nothing migrates huge pages (NUMA
 * balancing does not; memory offlining, CMA and move_pages(2) do): for a device, pin them, with VFIO or with vmatlas's own
 * driver (kmod/), if it is loaded.
 */
#ifndef VMATLAS_PRIM_HUGEBUF_H
#define VMATLAS_PRIM_HUGEBUF_H

#include <vmatlas/prim/api.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_hugebuf_flag {
	VMAT_HUGEBUF_LOCK =
		1
		<< 0, /* mlock(2), too; huge pages are never swapped, so this is for those who check */
	VMAT_HUGEBUF_ONLY_2M = 1 << 1,  /* no 1 GiB pages */
	VMAT_HUGEBUF_UNSORTED = 1 << 2, /* as they come */
};

/* A stretch of the buffer whose frames follow each other. */
struct vmat_hugebuf_extent {
	size_t offset; /* in the buffer */
	size_t bytes;
	uint64_t physical; /* address of the first byte */
};

struct vmat_hugebuf {
	unsigned char *data; /* zeroes at first */
	size_t size;         /* whole pages: at least what was asked for */
	size_t page_size;    /* 1 GiB or 2 MiB */

	bool has_frames;   /* false: nothing is known of the frames, and there are no extents */
	bool is_ascending; /* each page's frame is above that of the page before */
	struct vmat_hugebuf_extent *extents; /* by offset */
	size_t extents_count;

	const char *
		why; /* why it is not sorted, or not by larger pages; "" when nothing is to be said. Static */
	int32_t owner; /* private */

	/* The extents hold until the descriptor of vmat_hugebuf_pin, and all that came of it, are gone. */
	bool is_pinned;
};

/*
 * Makes a buffer of at least `size` bytes with all of its pages present.
 *
 * Errors: -EINVAL 0 bytes or an unknown flag; -EOVERFLOW; -ENOMEM the pool has not enough pages (vm.nr_hugepages,
 * /sys/kernel/mm/hugepages), or VMAs or addresses are used up; with VMAT_HUGEBUF_LOCK those of mlock(2). After each of them
 * the pool has all its pages.
 * MT-Safe, AS-Unsafe. After fork the child does not have the memory (MADV_DONTFORK): it only frees the structure.
 * Cost: zeroing of the pages, up to twice as many as are needed.
 */
VMAT_API int vmat_hugebuf_new(struct vmat_hugebuf **ret, size_t size, uint32_t flags);

/*
 * Pins the pages by the driver of vmatlas (/dev/vmatlas) and takes the extents from it, which then stay true. Returns a
 * descriptor that *is* the buffer: read(2) and write(2) go over the kernel's sequential view of it, mmap(2) with MAP_SHARED
 * works in each process that it is passed to, and include/uapi/vmatlas.h has what else it can do, dma-bufs for one. The
 * pages live until it, and its copies and mappings, are gone, whether or not this buffer has been freed. Not asked for the
 * driver, a buffer does without it.
 *
 * Errors: -ENOENT the driver is not loaded; -EACCES /dev/vmatlas is not for us; -ENOMEM over RLIMIT_MEMLOCK without
 * CAP_IPC_LOCK; -EBUSY too many buffers; -EINVAL larger than its administrator allows, or a child of fork; -EMFILE.
 * Needs: CAP_SYS_ADMIN to see the extents; without it those known before stay.
 * MT-Safe for different buffers, AS-Unsafe. The descriptor is close-on-exec.
 */
VMAT_API int vmat_hugebuf_pin(struct vmat_hugebuf *buf);

/* Gives the pages back. NULL is nothing. Returns NULL. */
VMAT_API struct vmat_hugebuf *vmat_hugebuf_free(struct vmat_hugebuf *buf);

#ifdef __cplusplus
}
#endif
#endif
