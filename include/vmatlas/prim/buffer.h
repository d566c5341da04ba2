/* SPDX-License-Identifier: MIT */
/*
 * buffer.h: a byte buffer that grows without being copied and without moving.
 *
 *   reservation  a range of addresses without memory (PROT_NONE) that the buffer will grow into. As long as
 *                the contents fit, their address never changes.
 *   capacity     the part that may be written. Pages of it that were never written take no memory.
 *   contents     [data, data + size)
 *
 * Behind the end of its reservation the buffer is one mapping that mremap(2) grows, in place where it can, else by
 * moving page tables: data may then change with each growth. Contents are never copied.
 *
 * MT-Safe as long as one thread at a time uses a buffer; different buffers are independent. AS-Safe on a
 * buffer that the interrupted code does not use. After fork the child owns a copy (copy-on-write) and
 * must release it like its own; the two never see each other's changes.
 */
#ifndef VMATLAS_PRIM_BUFFER_H
#define VMATLAS_PRIM_BUFFER_H

#include <vmatlas/prim/api.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_buf_flag {
	/* Begin at a huge page and ask for huge pages (MADV_HUGEPAGE): `huge_error` says whether that was taken. */
	VMAT_BUF_HUGE = 1 << 0,
};

/* Fields are for reading; the functions below change them. All zero: an empty buffer, as by vmat_buf_init(). */
struct vmat_buf {
	unsigned char
		*data; /* NULL before the first growth of a buffer of zeroes, and after a take */
	size_t size;
	size_t capacity;
	size_t reserved;      /* data stays while the capacity that is needed fits in this */
	uint64_t moves_count; /* how often the contents have got another address */
	uint32_t flags;       /* enum vmat_buf_flag */
	int huge_error;       /* 0, or the negative errno of MADV_HUGEPAGE */

	/* Private: no byte from dirty_end on was ever written; no page below present_end has to be asked for. */
	size_t dirty_end, present_end, reserve_bytes, room_bytes;
};

/*
 * Begins an empty buffer with a reservation of reserve_bytes. 0 chooses: 16 GiB, or an eighth of RLIMIT_AS,
 * or what is left of it.
 * Errors: -ENOMEM, -EAGAIN (mlockall) no such range of addresses; -EINVAL an unknown flag;
 * -EOVERFLOW. Cost: one mmap.
 */
VMAT_API int vmat_buf_init(struct vmat_buf *buf, size_t reserve_bytes, uint32_t flags);

/* Releases everything and leaves a buffer of zeroes. NULL is nothing. */
VMAT_API void vmat_buf_deinit(struct vmat_buf *buf);

/*
 * Makes room for `more` further bytes behind the contents, and puts the address of that room in *ret (which may
 * be NULL). vmat_buf_commit() then says how many of them were written: a recv(2) goes straight into
 * the buffer.
 * Errors: -ENOMEM (also RLIMIT_AS, RLIMIT_DATA, vm.overcommit_memory=2), -EOVERFLOW; the contents are as they were.
 * Cost: no system call while they fit in the capacity, which at least doubles up to 64 MiB and then grows by an
 * eighth.
 */
VMAT_API int vmat_buf_reserve(struct vmat_buf *buf, size_t more, void **ret);

/* The contents now include `count` bytes of that room. -EINVAL: more than the last reserve gave. */
VMAT_API int vmat_buf_commit(struct vmat_buf *buf, size_t count);

/* Adds bytes, which may be some of the buffer itself. Errors: as vmat_buf_reserve(). */
VMAT_API int vmat_buf_append(struct vmat_buf *buf, const void *bytes, size_t count);

/* read(2) of at most `count` bytes behind the contents. How many, 0 at the end of the file, or a negative errno. */
VMAT_API ssize_t vmat_buf_read(struct vmat_buf *buf, int fd, size_t count);

/* Cuts the contents, or adds zeroes. Errors: as vmat_buf_reserve(). Cutting releases no memory: vmat_buf_shrink(). */
VMAT_API int vmat_buf_resize(struct vmat_buf *buf, size_t size);

/*
 * Gives the memory behind the contents back to the kernel; the reservation stays.
 * Errors: those of madvise(2); the contents are as they were.
 */
VMAT_API int vmat_buf_shrink(struct vmat_buf *buf);

/*
 * Makes `count` bytes at `offset` zero and gives the whole pages among them back to the kernel. The size stays.
 * Errors: -EINVAL not inside of the contents; those of madvise(2), and nothing was changed.
 */
VMAT_API int vmat_buf_punch(struct vmat_buf *buf, size_t offset, size_t count);

/* Contents that have left their buffer. munmap(data, mapped_bytes) releases them, if there are any. */
struct vmat_buf_taken {
	unsigned char *data; /* NULL when the buffer was empty */
	size_t size;
	size_t mapped_bytes;
};

/*
 * Hands the contents over, without what was reserved behind them. The buffer is empty then and may go on: it
 * gets a new reservation when it grows. Errors: those of munmap(2), and nothing was changed.
 */
VMAT_API int vmat_buf_take(struct vmat_buf *buf, struct vmat_buf_taken *ret);

/* Releases what was taken, and empties *taken. NULL is nothing. */
VMAT_API void vmat_buf_taken_free(struct vmat_buf_taken *taken);

#ifdef __cplusplus
}
#endif
#endif
