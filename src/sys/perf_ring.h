/* SPDX-License-Identifier: MIT */
/*
 * perf_ring.h: the ring of records that the kernel writes for a perf event (perf_event_open(2): "MMAP layout").
 *
 * The records are those of vmat_sys_perf_watch(): samples of page faults, and what explains them. The kernel writes at
 * data_head, we read at data_tail; what the kernel finds no room for it drops, and says so with a later record. Nothing of
 * a record is believed before its size has been checked: a ring is memory that others write.
 */
#ifndef VMAT_PERF_RING_H
#define VMAT_PERF_RING_H

#include <stddef.h>
#include <stdint.h>

enum vmat_perf_record_type {
	VMAT_PERF_SAMPLE,   /* a fault: pid, tid, time_ns, ip, addr, id */
	VMAT_PERF_LOST,     /* `lost` records found no room */
	VMAT_PERF_THROTTLE, /* the kernel stopped sampling until its next tick */
	VMAT_PERF_FORK,     /* thread `tid` of process `pid` was begun by `parent_pid` */
	VMAT_PERF_EXIT,     /* thread `tid` of process `pid` ended */
	VMAT_PERF_EXEC,     /* `pid` executes another program */
};

struct vmat_perf_record {
	enum vmat_perf_record_type type;
	uint32_t pid, tid, parent_pid;
	uint64_t time_ns, ip, addr, id, lost;
};

typedef void vmat_perf_record_fn(const struct vmat_perf_record *record, void *context);

/*
 * Calls `fn` for each record between tail and head of a ring of `size` bytes, a power of two. Records of other types are
 * skipped. Returns how many there were, or -EBADMSG when the bytes are no records: what came before has been told.
 * Pure.
 */
long vmat_perf_records_parse(const void *ring, uint64_t size, uint64_t tail, uint64_t head,
			     vmat_perf_record_fn *fn, void *context);

struct vmat_perf_ring {
	void *memory; /* NULL: not mapped */
	size_t data_bytes;
};

/*
 * Maps the ring of an event, of `pages` pages (a power of two) or, where the kernel does not lend as much
 * (kernel.perf_event_mlock_kb), of fewer. 0 or -errno.
 */
int vmat_perf_ring_map(struct vmat_perf_ring *ret, int fd, unsigned pages);
void vmat_perf_ring_unmap(struct vmat_perf_ring *ring);

/* Reads what is there and frees its room. As vmat_perf_records_parse(). */
long vmat_perf_ring_drain(struct vmat_perf_ring *ring, vmat_perf_record_fn *fn, void *context);

#endif
