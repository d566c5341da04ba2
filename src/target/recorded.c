/* SPDX-License-Identifier: MIT */
/*
 * recorded.c: a process as a folder of texts, made by scripts/record-fixture.
 *
 * A bug report becomes a test this way. The folder looks like /proc/PID; beside the kernel's texts it may
 * hold "pages", one run a line: start, end (hexadecimal) and the names of its flags with commas between
 * them, as `vmatlas pages --all -rn -o START,END,FLAGS` prints them. Memory is never recorded.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "sys/sys_file.h"
#include "target/target_ops.h"

enum { PAGES_LIMIT = 256 << 20 };

static const struct {
	const char *name;
	uint32_t flag;
} flag_names[] = {
	{ "present", VMAT_PAGE_PRESENT },     { "swapped", VMAT_PAGE_SWAPPED },
	{ "file", VMAT_PAGE_FILE },           { "zero", VMAT_PAGE_ZERO },
	{ "huge", VMAT_PAGE_HUGE },           { "guard", VMAT_PAGE_GUARD },
	{ "exclusive", VMAT_PAGE_EXCLUSIVE },
};

static const char *parse_flags(const char *c, const char *end, uint32_t *ret)
{
	uint32_t flags = 0;

	while (c < end && *c != '\n') {
		size_t length = 0;

		while (c + length < end && c[length] >= 'a' && c[length] <= 'z')
			length++;
		for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
			if (strlen(flag_names[i].name) == length &&
			    memcmp(flag_names[i].name, c, length) == 0)
				flags |= flag_names[i].flag;
		}
		c += length ? length : 1;
	}
	*ret = flags;
	return c;
}

static const char *parse_address(const char *c, const char *end, uint64_t *ret)
{
	while (c < end && *c == ' ')
		c++;
	if (end - c > 2 && c[0] == '0' && c[1] == 'x')
		c += 2;
	return vmat_text_hex(c, end, ret);
}

/* Lines that are not ascending, aligned runs end the reading with -EINVAL. */
static int parse_pages(struct vmat_target *target, const char *text, size_t size)
{
	const char *c = text, *end = text + size;
	size_t capacity = 0;
	uint64_t last = 0;

	while (c < end) {
		struct vmat_page_run run;

		c = parse_address(c, end, &run.start);
		c = parse_address(c, end, &run.end);
		c = parse_flags(c, end, &run.flags);
		c += c < end;
		if (run.start < last || run.end <= run.start || (run.start | run.end) & 4095)
			return -EINVAL;
		last = run.end;
		if (target->runs_count == capacity) {
			struct vmat_page_run *more;

			capacity = capacity ? 2 * capacity : 256;
			more = realloc(target->runs, capacity * sizeof(*more));
			if (!more)
				return -ENOMEM;
			target->runs = more;
		}
		target->runs[target->runs_count++] = run;
	}
	return 0;
}

static int read_pages(struct vmat_target *target)
{
	struct vmat_buffer text = { 0 };
	int err = vmat_sys_read_file_at(target->dir, "pages", &text, PAGES_LIMIT);

	target->runs_count = 0; /* of an attempt that failed */
	if (!err)
		err = parse_pages(target, text.data, text.size);
	vmat_buffer_deinit(&text);
	target->are_runs_read = !err;
	return err;
}

static int recorded_scan(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
			 struct vmat_page_run *runs, size_t count, uint32_t *known)
{
	size_t low = 0, high, found = 0;
	int err = target->are_runs_read ? 0 : read_pages(target);

	if (err)
		return err;
	if (count == 0 || *addr >= end)
		return -EINVAL;
	*known = want & ~(uint32_t)(VMAT_PAGE_SOFT_DIRTY | VMAT_PAGE_LEFT_OUT | VMAT_PAGE_DUMPED);
	for (high = target->runs_count; low < high;) {
		size_t middle = low + (high - low) / 2;

		if (target->runs[middle].end <= *addr)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < target->runs_count && target->runs[low].start < end; low++) {
		struct vmat_page_run run = target->runs[low];

		run.flags &= want;
		if (!run.flags)
			continue;
		if (found == count) {
			*addr = run.start > *addr ? run.start : *addr;
			return (int)found;
		}
		run.start = run.start < *addr ? *addr : run.start;
		run.end = run.end > end ? end : run.end;
		runs[found++] = run;
	}
	*addr = end;
	return (int)found;
}

static int recorded_pagemap(struct vmat_target *target, uint64_t addr, uint64_t *entries,
			    size_t count)
{
	(void)target;
	(void)addr;
	(void)entries;
	(void)count;
	return -ENOENT;
}

static ssize_t recorded_read(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	(void)target;
	(void)addr;
	(void)buffer;
	(void)size;
	return -ENOENT;
}

static int recorded_read_pieces(struct vmat_target *target, struct vmat_piece *pieces, size_t count)
{
	(void)target;
	(void)pieces;
	(void)count;
	return -ENOENT;
}

static int recorded_open_file(struct vmat_target *target, const char *path, uint32_t dev_major,
			      uint32_t dev_minor, uint64_t inode)
{
	(void)target;
	(void)path;
	(void)dev_major;
	(void)dev_minor;
	(void)inode;
	return -ENOENT;
}

static int recorded_check(struct vmat_target *target, struct vmat_error *err)
{
	(void)target;
	(void)err;
	return 0;
}

static void recorded_deinit(struct vmat_target *target)
{
	free(target->runs);
}

const struct vmat_target_ops vmat_recorded_ops = {
	.is_live = false,
	.scan = recorded_scan,
	.pagemap = recorded_pagemap,
	.read = recorded_read,
	.read_pieces = recorded_read_pieces,
	.open_file = recorded_open_file,
	.check = recorded_check,
	.deinit = recorded_deinit,
};
