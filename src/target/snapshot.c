/* SPDX-License-Identifier: MIT */
#include "target/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "sys/sys_file.h"
#include "sys/sys_process.h"
#include "target/live_memory.h"
#include "target/live_scan.h"
#include "target/target_ops.h"
#include "target/text_lines.h"

/* A range that the child has a copy of. */
struct vmat_copied {
	uint64_t start;
	uint64_t end;
	bool is_file; /* pages that were not written to are not there */
};

struct reading {
	struct vmat_target *copy;
	size_t capacity;
	struct vmat_copied next;
	bool has_next;
	bool has_failed;
};

static bool add(struct reading *reading)
{
	struct vmat_target *copy = reading->copy;

	if (!reading->has_next)
		return true;
	reading->has_next = false;
	if (copy->copied_count == reading->capacity) {
		size_t capacity = reading->capacity ? 2 * reading->capacity : 256;
		struct vmat_copied *more = realloc(copy->copied, capacity * sizeof(*more));

		if (!more) {
			reading->has_failed = true;
			return false;
		}
		copy->copied = more;
		reading->capacity = capacity;
	}
	copy->copied[copy->copied_count++] = reading->next;
	return true;
}

/* smaps: the line of a mapping as in maps, then its counters, then "VmFlags: rd wr ... wf". */
static bool look_at_line(const char *text, size_t size, void *context)
{
	struct reading *reading = context;
	const char *end = text + size, *dash, *space;
	struct vmat_copied range = { 0 };

	if (size > 8 && memcmp(text, "VmFlags:", 8) == 0) {
		if (memmem(text, size, " wf", 3))
			reading->has_next = false;
		return true;
	}
	dash = vmat_text_hex(text, end, &range.start);
	if (dash == text || dash == end || *dash != '-')
		return true;
	space = vmat_text_hex(dash + 1, end, &range.end);
	if (end - space < 6 || *space != ' ')
		return true;
	if (!add(reading))
		return false;
	range.is_file = memchr(space, '/', (size_t)(end - space)) != NULL;
	reading->next = range;
	reading->has_next = space[4] == 'p';
	return true;
}

/* The range that holds addr, or NULL; `*end`: up to where this is so, at most as it was. */
static const struct vmat_copied *copied_at(const struct vmat_target *copy, uint64_t addr,
					   uint64_t *end)
{
	size_t low = 0, high = copy->copied_count;
	const struct vmat_copied *range;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (copy->copied[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == copy->copied_count)
		return NULL;
	range = &copy->copied[low];
	if (range->start > addr) {
		*end = range->start < *end ? range->start : *end;
		return NULL;
	}
	*end = range->end < *end ? range->end : *end;
	return range;
}

bool vmat_snapshot_has(const struct vmat_target *copy, uint64_t start, uint64_t end)
{
	while (start < end) {
		uint64_t until = end;

		if (!copied_at(copy, start, &until))
			return false;
		start = until;
	}
	return true;
}

static int snapshot_scan(struct vmat_target *copy, uint64_t *addr, uint64_t end, uint32_t want,
			 struct vmat_page_run *runs, size_t count, uint32_t *known)
{
	const struct vmat_copied *range = copied_at(copy, *addr, &end);

	return vmat_live_scan(range ? copy : copy->original, addr, end, want, runs, count, known);
}

static int snapshot_pagemap(struct vmat_target *copy, uint64_t addr, uint64_t *entries,
			    size_t count)
{
	enum { PAGE_SIZE = 4096 };

	uint64_t end = addr + count * PAGE_SIZE;
	const struct vmat_copied *range = copied_at(copy, addr, &end);

	count = (size_t)((end - addr + PAGE_SIZE - 1) / PAGE_SIZE);
	return vmat_live_pagemap(range ? copy : copy->original, addr, entries, count);
}

static ssize_t snapshot_read(struct vmat_target *copy, uint64_t addr, void *buffer, size_t size)
{
	uint64_t end = addr + size, at = addr;
	ssize_t total = 0;

	if (size == 0 || end < addr)
		return -EINVAL;
	while (at < end) {
		uint64_t until = end;
		const struct vmat_copied *range = copied_at(copy, at, &until);
		char *to = (char *)buffer + (at - addr);
		ssize_t got =
			vmat_live_read(range ? copy : copy->original, at, to, (size_t)(until - at));

		if (got == 0 && range && range->is_file)
			got = vmat_live_read(copy->original, at, to, (size_t)(until - at));
		if (got < 0)
			return total ? total : got;
		total += got;
		at += (uint64_t)got;
		if (got == 0)
			break;
	}
	return total;
}

static int snapshot_read_pieces(struct vmat_target *copy, struct vmat_piece *pieces, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		ssize_t got = snapshot_read(copy, pieces[i].addr, pieces[i].buffer, pieces[i].size);

		if (got == -ESRCH || got == -EACCES || got == -EPERM)
			return (int)got;
		pieces[i].got = got == (ssize_t)pieces[i].size ? pieces[i].size : 0;
	}
	return 0;
}

static int snapshot_open_file(struct vmat_target *copy, const char *path, uint32_t dev_major,
			      uint32_t dev_minor, uint64_t inode)
{
	return vmat_source_open_file(copy->original, path, dev_major, dev_minor, inode);
}

static int snapshot_check(struct vmat_target *copy, struct vmat_error *err)
{
	return vmat_target_check(copy->original, err);
}

static void snapshot_deinit(struct vmat_target *copy)
{
	vmat_live_ops.deinit(copy);
	free(copy->copied);
}

static const struct vmat_target_ops snapshot_ops = {
	.is_live = true,
	.scan = snapshot_scan,
	.pagemap = snapshot_pagemap,
	.read = snapshot_read,
	.read_pieces = snapshot_read_pieces,
	.open_file = snapshot_open_file,
	.check = snapshot_check,
	.deinit = snapshot_deinit,
};

int vmat_snapshot_open(struct vmat_target **ret, struct vmat_target *original, pid_t child)
{
	struct vmat_target *copy = vmat_target_new(&snapshot_ops);
	struct reading reading = { .copy = copy };
	char path[32];
	int err;

	if (!copy)
		return -ENOMEM;
	copy->original = original;
	copy->process = original->process;
	copy->process.exe = original->process.exe ? strdup(original->process.exe) : NULL;
	copy->pidfd = vmat_sys_pidfd_open(child);
	copy->dir = vmat_sys_open_at(original->dir, ".", O_DIRECTORY);
	snprintf(path, sizeof(path), "../%d", (int)child);
	copy->memory_dir = vmat_sys_open_at(original->dir, path, O_DIRECTORY);
	err = copy->dir < 0          ? copy->dir
	      : copy->memory_dir < 0 ? copy->memory_dir
				     : vmat_text_lines(copy, "smaps", look_at_line, &reading);
	if (!err && (reading.has_failed || !add(&reading)))
		err = -ENOMEM;
	if (err) {
		vmat_target_close(copy);
		return err;
	}
	*ret = copy;
	return 0;
}
