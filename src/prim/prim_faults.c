/* SPDX-License-Identifier: MIT */
/*
 * prim_faults.c: counts of page faults, and the log of vmatlas/prim/faults.h.
 *
 * The log is perf's own ring: a page that says how far the kernel has written and we have read, then a power of two of pages
 * with records. The kernel writes no record for which there is no room. Every fault is counted by the event whatever
 * becomes of its record, so what was lost is a difference of exact numbers.
 */
#include <errno.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/feature.h>
#include <vmatlas/prim/faults.h>

#include "base/cleanup.h"
#include "sys/sys_memory.h"
#include "sys/sys_perf.h"

enum { ROOM_USUAL = 8000, ROOM_MAX = 1000000 };

/* PERF_RECORD_SAMPLE with the fields that sys_perf.c asks for, in the kernel's order. */
struct sample {
	struct perf_event_header header;
	uint64_t ip;
	uint32_t pid, tid;
	uint64_t time;
	uint64_t addr;
};

struct vmat_fault_log {
	int fd;
	pid_t owner; /* the ring is not there in a forked child */
	uint64_t every;
	bool has_kernel;
	struct perf_event_mmap_page *ring;
	size_t ring_bytes, data_bytes;
	uint64_t read_count;
};

int vmat_faults_of_thread(struct vmat_faults *ret)
{
	return vmat_sys_faults(true, &ret->minor, &ret->major);
}

int vmat_faults_of_process(struct vmat_faults *ret)
{
	return vmat_sys_faults(false, &ret->minor, &ret->major);
}

int vmat_faults_since(const struct vmat_faults *before, struct vmat_faults *ret)
{
	struct vmat_faults now;
	int r = vmat_faults_of_thread(&now);

	if (!r)
		*ret = (struct vmat_faults){ now.minor - before->minor, now.major - before->major };
	return r;
}

static int open_event(struct vmat_fault_log *log, pid_t tid)
{
	/* With the kernel's own faults where that is allowed; its refusal is not the answer. */
	log->has_kernel = true;
	log->fd = vmat_sys_perf_faults(tid, log->every, true);
	if (log->fd == -EACCES || log->fd == -EPERM) {
		log->has_kernel = false;
		log->fd = vmat_sys_perf_faults(tid, log->every, false);
	}
	if (log->fd == -ENOENT || log->fd == -ENOSYS || log->fd == -EOPNOTSUPP)
		return -ENOTSUP;
	return log->fd < 0 ? log->fd : 0;
}

static int map_ring(struct vmat_fault_log *log, size_t room_count)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), wanted = room_count * sizeof(struct sample);
	void *ring;
	int r;

	log->data_bytes = page;
	while (log->data_bytes < wanted)
		log->data_bytes *= 2;
	log->ring_bytes = page + log->data_bytes;
	r = vmat_sys_mmap(NULL, log->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, log->fd, 0,
			  &ring);
	if (!r)
		log->ring = ring;
	return r;
}

int vmat_fault_log_open(struct vmat_fault_log **ret, pid_t tid, size_t room_count, uint64_t every)
{
	vmat_keep_errno;
	struct vmat_fault_log *log;
	int r;

	if (room_count > ROOM_MAX || tid < 0)
		return -EINVAL;
	if (vmat_feature_state(VMAT_FEATURE_PERF_FAULTS) == VMAT_FEATURE_FORCED_OFF)
		return -ENOTSUP;
	log = calloc(1, sizeof(*log));
	if (!log)
		return -ENOMEM;
	log->owner = getpid();
	log->every = every ? every : 1;
	r = open_event(log, tid);
	if (!r)
		r = map_ring(log, room_count ? room_count : ROOM_USUAL);
	if (r) {
		vmat_fault_log_close(log);
		return r;
	}
	*ret = log;
	return 0;
}

struct vmat_fault_log *vmat_fault_log_close(struct vmat_fault_log *log)
{
	vmat_keep_errno;
	if (!log)
		return NULL;
	if (log->ring && log->owner == getpid())
		vmat_sys_munmap(log->ring, log->ring_bytes);
	if (log->fd >= 0)
		close(log->fd);
	free(log);
	return NULL;
}

int vmat_fault_log_start(struct vmat_fault_log *log)
{
	return log->owner == getpid() ? vmat_sys_perf_enable(log->fd, true) : -ECHILD;
}

int vmat_fault_log_stop(struct vmat_fault_log *log)
{
	return log->owner == getpid() ? vmat_sys_perf_enable(log->fd, false) : -ECHILD;
}

/* Copies `size` bytes at a position of the ring, which may go over its end. */
static void copy_out(const struct vmat_fault_log *log, uint64_t at, void *to, size_t size)
{
	const unsigned char *data =
		(const unsigned char *)log->ring + (log->ring_bytes - log->data_bytes);
	size_t start = at & (log->data_bytes - 1), first = log->data_bytes - start;

	first = first < size ? first : size;
	memcpy(to, data + start, first);
	memcpy((unsigned char *)to + first, data, size - first);
}

/*
 * Gives the samples between our position and the kernel's to `faults` (which may be NULL: then they are only counted), at
 * most `count`; *position moves behind them.
 */
static size_t walk(const struct vmat_fault_log *log, struct vmat_fault *faults, size_t count,
		   uint64_t *position)
{
	/* Acquire: pairs with the kernel's barrier between a record and data_head. */
	uint64_t head = __atomic_load_n(&log->ring->data_head, __ATOMIC_ACQUIRE);
	size_t found = 0;

	while (*position < head && found < count) {
		struct sample sample;

		copy_out(log, *position, &sample.header, sizeof(sample.header));
		if (sample.header.size < sizeof(sample.header))
			break; /* the kernel does not write that */
		if (sample.header.type == PERF_RECORD_SAMPLE &&
		    sample.header.size >= sizeof(sample)) {
			copy_out(log, *position, &sample, sizeof(sample));
			if (faults)
				faults[found] =
					(struct vmat_fault){ sample.addr, sample.ip, sample.time,
							     (int32_t)sample.tid, 0 };
			found++;
		}
		*position += sample.header.size;
	}
	return found;
}

ssize_t vmat_fault_log_read(struct vmat_fault_log *log, struct vmat_fault *faults, size_t count)
{
	uint64_t position;
	size_t found;

	if (log->owner != getpid())
		return -ECHILD;
	position = log->ring->data_tail;
	found = walk(log, faults, count, &position);
	/* Release: the kernel may write there from now on. */
	__atomic_store_n(&log->ring->data_tail, position, __ATOMIC_RELEASE);
	log->read_count += found;
	return (ssize_t)found;
}

int vmat_fault_log_info(const struct vmat_fault_log *log, struct vmat_fault_log_info *info)
{
	vmat_keep_errno;
	struct vmat_fault_log_info made = { .size = sizeof(made) };
	uint64_t position, kept;
	int r;

	if (info->size != sizeof(*info))
		return -EINVAL;
	if (log->owner != getpid())
		return -ECHILD;
	/* In this order a fault in between is not taken for a lost one. */
	r = vmat_sys_perf_count(log->fd, &made.faults_count);
	if (r)
		return r;
	position = log->ring->data_tail;
	made.kept_count = walk(log, NULL, SIZE_MAX, &position);
	kept = log->read_count + made.kept_count;
	made.read_count = log->read_count;
	made.lost_count = made.faults_count > kept ? made.faults_count - kept : 0;
	made.room_count = log->data_bytes / sizeof(struct sample);
	made.has_kernel = log->has_kernel;
	*info = made;
	return 0;
}

const char *vmat_fault_log_why(int code)
{
	vmat_keep_errno;
	int paranoid;

	if (code == -EMFILE)
		return "too many open files: raise RLIMIT_NOFILE";
	if (code == -ENOTSUP || code == -ENOSYS)
		return "the kernel has no perf event of page faults (CONFIG_PERF_EVENTS), or VMAT_WITHOUT names it";
	if (code == -ESRCH)
		return "there is no such thread";
	if (code != -EACCES && code != -EPERM)
		return "see perf_event_open(2)";
	paranoid = vmat_sys_perf_paranoid();
	if (paranoid > 2)
		return "kernel.perf_event_paranoid is above 2: as root, sysctl kernel.perf_event_paranoid=2, or give "
		       "CAP_PERFMON";
	if (paranoid == INT_MIN)
		return "perf_event_open(2) is refused, and kernel.perf_event_paranoid cannot be read";
	if (code == -EPERM)
		return "more locked memory than kernel.perf_event_mlock_kb and RLIMIT_MEMLOCK allow (ask for less room), or "
		       "a seccomp filter, as containers have, refuses perf_event_open(2)";
	return "the thread belongs to another user, or a security module refuses perf_event_open(2)";
}
