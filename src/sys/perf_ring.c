/* SPDX-License-Identifier: MIT */
/* perf_ring.c: see perf_ring.h. The layouts are those of perf_event_open(2) without sample_id_all. */
#include "sys/perf_ring.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/sys_memory.h"

enum { HEADER = 8, LARGEST = 48 /* of what is looked at of a record: a sample */ };

/* The first bytes of a record, which may reach over the end of the ring. */
static void copy_out(unsigned char to[LARGEST], const unsigned char *ring, uint64_t size,
		     uint64_t at, uint64_t bytes)
{
	uint64_t offset = at & (size - 1), first = size - offset;

	if (first > bytes)
		first = bytes;
	memcpy(to, ring + offset, first);
	memcpy(to + first, ring, bytes - first);
}

static uint32_t half(const unsigned char *record, size_t at)
{
	uint32_t value;

	memcpy(&value, record + HEADER + at, sizeof(value));
	return value;
}

static uint64_t word(const unsigned char *record, size_t at)
{
	uint64_t value;

	memcpy(&value, record + HEADER + at, sizeof(value));
	return value;
}

/* 1: *ret is filled; 0: of no interest; -EBADMSG: too short for its type. `body`: without the header. */
static int read_record(struct vmat_perf_record *ret, const struct perf_event_header *header,
		       const unsigned char *r, size_t body)
{
	*ret = (struct vmat_perf_record){ .pid = 0 };
	switch (header->type) {
	case PERF_RECORD_SAMPLE: /* ip, pid, tid, time, addr, id */
		if (body < 40)
			return -EBADMSG;
		ret->type = VMAT_PERF_SAMPLE;
		ret->ip = word(r, 0);
		ret->pid = half(r, 8);
		ret->tid = half(r, 12);
		ret->time_ns = word(r, 16);
		ret->addr = word(r, 24);
		ret->id = word(r, 32);
		return 1;
	case PERF_RECORD_LOST: /* id, lost */
		if (body < 16)
			return -EBADMSG;
		ret->type = VMAT_PERF_LOST;
		ret->lost = word(r, 8);
		return 1;
	case PERF_RECORD_THROTTLE:
		ret->type = VMAT_PERF_THROTTLE;
		return 1;
	case PERF_RECORD_FORK: /* pid, ppid, tid, ptid, time */
	case PERF_RECORD_EXIT:
		if (body < 24)
			return -EBADMSG;
		ret->type = header->type == PERF_RECORD_FORK ? VMAT_PERF_FORK : VMAT_PERF_EXIT;
		ret->pid = half(r, 0);
		ret->parent_pid = half(r, 4);
		ret->tid = half(r, 8);
		ret->time_ns = word(r, 16);
		return 1;
	case PERF_RECORD_COMM: /* pid, tid, name */
		if (body < 8)
			return -EBADMSG;
		if (!(header->misc & PERF_RECORD_MISC_COMM_EXEC))
			return 0;
		ret->type = VMAT_PERF_EXEC;
		ret->pid = half(r, 0);
		ret->tid = half(r, 4);
		return 1;
	default:
		return 0;
	}
}

long vmat_perf_records_parse(const void *ring, uint64_t size, uint64_t tail, uint64_t head,
			     vmat_perf_record_fn *fn, void *context)
{
	unsigned char bytes[LARGEST] = { 0 };
	long count = 0;

	if (size < LARGEST || (size & (size - 1)) || head - tail > size)
		return -EBADMSG;
	while (tail != head) {
		struct perf_event_header header;
		struct vmat_perf_record record;
		uint64_t left = head - tail;
		int is_wanted;

		if (left < HEADER)
			return -EBADMSG;
		copy_out(bytes, ring, size, tail, HEADER);
		memcpy(&header, bytes, sizeof(header));
		/* The kernel keeps records at multiples of 8 bytes. */
		if (header.size < HEADER || header.size > left || header.size % 8)
			return -EBADMSG;
		copy_out(bytes, ring, size, tail, header.size < LARGEST ? header.size : LARGEST);
		is_wanted = read_record(&record, &header, bytes, header.size - (size_t)HEADER);
		if (is_wanted < 0)
			return is_wanted;
		if (is_wanted)
			fn(&record, context);
		count++;
		tail += header.size;
	}
	return count;
}

int vmat_perf_ring_map(struct vmat_perf_ring *ret, int fd, unsigned pages)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	int err = -EINVAL;

	for (; pages; pages /= 2) {
		void *memory;

		err = vmat_sys_mmap(NULL, (1 + (size_t)pages) * page_bytes, PROT_READ | PROT_WRITE,
				    MAP_SHARED, fd, 0, &memory);
		if (!err) {
			*ret = (struct vmat_perf_ring){ memory, pages * page_bytes };
			return 0;
		}
		if (err != -EPERM && err != -ENOMEM && err != -EAGAIN)
			break;
	}
	return err;
}

void vmat_perf_ring_unmap(struct vmat_perf_ring *ring)
{
	if (ring->memory)
		vmat_sys_munmap(ring->memory, ring->data_bytes + (size_t)sysconf(_SC_PAGESIZE));
	*ring = (struct vmat_perf_ring){ NULL };
}

long vmat_perf_ring_drain(struct vmat_perf_ring *ring, vmat_perf_record_fn *fn, void *context)
{
	struct perf_event_mmap_page *page = ring->memory;
	/* Pairs with the kernel's barrier between the records and data_head (perf_output_put_handle). */
	uint64_t head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE);
	long count =
		vmat_perf_records_parse((const char *)ring->memory + (size_t)sysconf(_SC_PAGESIZE),
					ring->data_bytes, page->data_tail, head, fn, context);

	__atomic_store_n(&page->data_tail, head, __ATOMIC_RELEASE);
	return count;
}
