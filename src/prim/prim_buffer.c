/* SPDX-License-Identifier: MIT */
/*
 * prim_buffer.c: the growable buffer of vmatlas/prim/buffer.h.
 *
 * Invariant: [data, data + reserved) is ours and anonymous; its first `capacity` bytes are one readable and
 * writable mapping, the rest is PROT_NONE, which no limit on memory counts (RLIMIT_AS does). The buffer has left
 * its reservation when capacity == reserved; from then on it is one mapping that mremap grows.
 *
 * A buffer above 1 MiB has its pages made present 16 at a time just before they are written: one call instead of
 * 16 faults. At most 60 KiB are present too early.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/feature.h>
#include <vmatlas/prim/buffer.h>

#include "base/cleanup.h"
#include "sys/sys_file.h"
#include "sys/sys_memory.h"

#define RESERVE_BYTES ((size_t)16 << 30)
#define HUGE_BYTES    ((size_t)2 << 20)
#define GROW_MIN      ((size_t)64 << 10)
#define GROW_MAX      ((size_t)64 << 20)
#define POPULATE_FROM ((size_t)1 << 20)
#define POPULATE_STEP ((size_t)64 << 10)

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t round_up(size_t size, size_t unit)
{
	return (size + unit - 1) & ~(unit - 1);
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Capacity grows by whole units: so the border between it and the reservation never splits a huge page. */
static size_t unit_of(const struct vmat_buf *buf)
{
	return buf->flags & VMAT_BUF_HUGE ? HUGE_BYTES : page_bytes();
}

/* What is reserved when the caller leaves it to us: others need addresses, too, where they are limited. */
static size_t default_reserve(void)
{
	return smaller(RESERVE_BYTES, vmat_sys_address_limit() / 8);
}

/* Reserves at least `needed` bytes. */
static int reserve_range(struct vmat_buf *buf, size_t needed)
{
	size_t unit = unit_of(buf),
	       size = buf->reserve_bytes ? buf->reserve_bytes : default_reserve();
	void *data;
	int r;

	needed = round_up(larger(needed, 1), unit);
	if (size > SIZE_MAX / 2)
		return -EOVERFLOW;
	size = larger(round_up(size, unit), needed);
	while ((r = vmat_sys_reserve(size, unit, &data))) {
		if ((r != -ENOMEM && r != -EAGAIN) || buf->reserve_bytes || size == needed)
			return r;
		size = larger(round_up(size / 2, unit), needed);
	}
	buf->huge_error = 0;
	if (buf->flags & VMAT_BUF_HUGE)
		buf->huge_error = vmat_sys_madvise(data, size, MADV_HUGEPAGE);
	buf->data = data;
	buf->reserved = size;
	buf->capacity = buf->dirty_end = buf->present_end = 0;
	return 0;
}

int vmat_buf_init(struct vmat_buf *buf, size_t reserve_bytes, uint32_t flags)
{
	struct vmat_buf made = { .flags = flags, .reserve_bytes = reserve_bytes };
	int r;

	if (flags & ~(uint32_t)VMAT_BUF_HUGE)
		return -EINVAL;
	r = reserve_range(&made, 0);
	if (!r)
		*buf = made;
	return r;
}

void vmat_buf_deinit(struct vmat_buf *buf)
{
	if (!buf)
		return;
	if (buf->data)
		vmat_sys_munmap(buf->data, buf->reserved);
	*buf = (struct vmat_buf){ 0 };
}

/* Makes the first `capacity` bytes of the reservation writable. */
static int commit_range(struct vmat_buf *buf, size_t capacity)
{
	int r = vmat_sys_mprotect(buf->data + buf->capacity, capacity - buf->capacity,
				  PROT_READ | PROT_WRITE);

	if (!r)
		buf->capacity = capacity;
	return r;
}

/* The reservation is too small: mremap the writable part, which then is all there is. */
static int move_range(struct vmat_buf *buf, size_t capacity)
{
	unsigned char *rest = buf->data + buf->capacity;
	size_t rest_size = buf->reserved - buf->capacity;
	void *got;
	int r = vmat_sys_mremap(buf->data, buf->capacity, capacity, MREMAP_MAYMOVE, NULL, &got);

	/* What mremap says of a size that no address space has. */
	if (r)
		return r == -EINVAL ? -ENOMEM : r;
	/* A mapping as a whole: to unmap it needs no further one, so it cannot fail. */
	if (rest_size)
		vmat_sys_munmap(rest, rest_size);
	buf->moves_count += buf->size && got != buf->data;
	buf->data = got;
	buf->capacity = buf->reserved = capacity;
	return 0;
}

/* Nothing can be moved yet: a reservation that is large enough from the start. */
static int replace_reservation(struct vmat_buf *buf, size_t needed)
{
	struct vmat_buf made = *buf;
	int r = reserve_range(&made, needed);

	if (r)
		return r;
	if (buf->data)
		vmat_sys_munmap(buf->data, buf->reserved);
	*buf = made;
	return 0;
}

/* Capacity for `needed` bytes: more than that while it costs nothing, exactly that when there is no more. */
static int grow(struct vmat_buf *buf, size_t needed)
{
	size_t step, wanted, least;
	int r = 0;

	if (needed > SIZE_MAX / 4)
		return -EOVERFLOW;
	if (!buf->data || (!buf->capacity && needed > buf->reserved))
		r = replace_reservation(buf, needed);
	if (r)
		return r;
	step = smaller(larger(buf->capacity, GROW_MIN), larger(GROW_MAX, buf->capacity / 8));
	least = round_up(needed, unit_of(buf));
	wanted = larger(least, round_up(buf->capacity + step, unit_of(buf)));
	if (needed <= buf->reserved) {
		r = commit_range(buf, smaller(wanted, buf->reserved));
		return r ? commit_range(buf, least) : 0;
	}
	r = move_range(buf, larger(least, 2 * buf->capacity));
	return r ? move_range(buf, least) : 0;
}

/* Makes the pages up to `end`, which are written next, present: see the head of this file. */
static void populate(struct vmat_buf *buf, size_t end)
{
	size_t start = larger(buf->present_end, buf->size & ~(page_bytes() - 1));

	if (end <= buf->present_end || buf->size < POPULATE_FROM || buf->flags & VMAT_BUF_HUGE)
		return;
	end = smaller(round_up(end, POPULATE_STEP), buf->capacity);
	/* What cannot be made present now is faulted in when it is written, or fails there as it would have. */
	if (end > start && vmat_feature_has(VMAT_FEATURE_MADV_POPULATE))
		vmat_sys_madvise(buf->data + start, end - start, MADV_POPULATE_WRITE);
	buf->present_end = end;
}

int vmat_buf_reserve(struct vmat_buf *buf, size_t more, void **ret)
{
	int r = 0;

	if (more > SIZE_MAX - buf->size)
		return -EOVERFLOW;
	if (!buf->data || more > buf->capacity - buf->size)
		r = grow(buf, buf->size + more);
	if (r)
		return r;
	buf->room_bytes = more;
	buf->dirty_end = larger(buf->dirty_end, buf->size + more);
	/* How much of the room will be written is not known. */
	populate(buf, buf->size + smaller(more, POPULATE_STEP));
	if (ret)
		*ret = buf->data + buf->size;
	return 0;
}

int vmat_buf_commit(struct vmat_buf *buf, size_t count)
{
	if (count > buf->room_bytes)
		return -EINVAL;
	buf->size += count;
	buf->room_bytes -= count;
	return 0;
}

int vmat_buf_append(struct vmat_buf *buf, const void *bytes, size_t count)
{
	const unsigned char *from = bytes;
	bool is_own = buf->data && from >= buf->data && from < buf->data + buf->size;
	size_t offset = is_own ? (size_t)(from - buf->data) : 0;
	int r = vmat_buf_reserve(buf, count, NULL);

	if (r)
		return r;
	/* Piece by piece: what was just zeroed by the kernel is still in the cache. */
	for (size_t done = 0, piece; done < count; done += piece) {
		piece = smaller(count - done, POPULATE_STEP);
		populate(buf, buf->size + piece);
		memmove(buf->data + buf->size, (is_own ? buf->data + offset : from) + done, piece);
		buf->size += piece;
	}
	buf->room_bytes = 0;
	return 0;
}

ssize_t vmat_buf_read(struct vmat_buf *buf, int fd, size_t count)
{
	vmat_keep_errno;
	void *room;
	ssize_t got = vmat_buf_reserve(buf, count, &room);

	if (got)
		return got;
	got = vmat_sys_read(fd, room, count);
	vmat_buf_commit(buf, got > 0 ? (size_t)got : 0);
	return got;
}

/* Zeroes bytes; whole pages of them by giving them back. Nothing is changed when that fails. */
static int clear_range(struct vmat_buf *buf, size_t start, size_t end)
{
	size_t first = round_up(start, page_bytes()), last = end & ~(page_bytes() - 1);
	int r;

	if (first >= last) {
		memset(buf->data + start, 0, end - start);
		return 0;
	}
	r = vmat_sys_drop_pages(buf->data + first, last - first);
	if (r)
		return r;
	memset(buf->data + start, 0, first - start);
	memset(buf->data + last, 0, end - last);
	return 0;
}

int vmat_buf_resize(struct vmat_buf *buf, size_t size)
{
	size_t end = smaller(size, buf->dirty_end);
	int r;

	if (size > buf->capacity && (r = grow(buf, size)))
		return r;
	/* Behind the contents may stand what was cut off. */
	if (end > buf->size && clear_range(buf, buf->size, end))
		memset(buf->data + buf->size, 0, end - buf->size);
	buf->room_bytes = 0;
	buf->size = size;
	buf->dirty_end = larger(buf->dirty_end, size);
	return 0;
}

int vmat_buf_shrink(struct vmat_buf *buf)
{
	size_t keep = round_up(buf->size, page_bytes());
	size_t end = smaller(larger(round_up(buf->dirty_end, page_bytes()), buf->present_end),
			     buf->capacity);
	int r;

	/* A huge page may be present as a whole, wherever it was touched. */
	if (buf->flags & VMAT_BUF_HUGE)
		end = smaller(round_up(end, HUGE_BYTES), buf->capacity);
	if (end <= keep)
		return 0;
	r = vmat_sys_drop_pages(buf->data + keep, end - keep);
	if (r)
		return r;
	buf->room_bytes = 0;
	buf->dirty_end = smaller(buf->dirty_end, keep);
	buf->present_end = smaller(buf->present_end, keep);
	return 0;
}

int vmat_buf_punch(struct vmat_buf *buf, size_t offset, size_t count)
{
	size_t end = offset + count;

	if (end < offset || end > buf->size)
		return -EINVAL;
	return count ? clear_range(buf, offset, end) : 0;
}

int vmat_buf_take(struct vmat_buf *buf, struct vmat_buf_taken *ret)
{
	struct vmat_buf_taken taken = { 0 };
	size_t keep = round_up(buf->size, page_bytes());
	int r;

	if (buf->size) {
		if (buf->reserved > keep &&
		    (r = vmat_sys_munmap(buf->data + keep, buf->reserved - keep)))
			return r;
		taken = (struct vmat_buf_taken){ buf->data, buf->size, keep };
		*buf = (struct vmat_buf){ .flags = buf->flags,
					  .reserve_bytes = buf->reserve_bytes };
	}
	*ret = taken;
	return 0;
}

void vmat_buf_taken_free(struct vmat_buf_taken *taken)
{
	if (!taken)
		return;
	if (taken->data)
		vmat_sys_munmap(taken->data, taken->mapped_bytes);
	*taken = (struct vmat_buf_taken){ 0 };
}
