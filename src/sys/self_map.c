/* SPDX-License-Identifier: MIT */
#include "sys/self_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/feature.h>

#include "sys/procmap.h"
#include "sys/uapi_new.h"

enum {
	WIPE_ALIGN = 4096,
	NAME_SIZE = 16,  /* enough for the names that matter: [heap], [stack] */
	LINE_SIZE = 256, /* what is kept of a line; a longer one is a path that nobody looks at */
	/* Above what programs number themselves, so that a dup2(2) onto a fixed number does not hit it. */
	DESCRIPTOR_FLOOR = 200,
};

/*
 * The descriptor of this process's maps, plus 1. A page of its own in .bss: MADV_WIPEONFORK makes it 0
 * in a child (Linux 4.14), whose maps are others. 0: none. -1: it could not be wiped, so none is kept.
 */
static union {
	_Atomic int fd_plus_1;
	char page[WIPE_ALIGN];
} kept __attribute__((aligned(WIPE_ALIGN)));

static int open_text(const char *path)
{
	int fd;

	do
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/* Opens maps under a high number. A descriptor, or -1. */
static int open_maps(void)
{
	int low = open_text("/proc/self/maps");
	int high;

	if (low < 0)
		return -1;
	high = fcntl(low, F_DUPFD_CLOEXEC, DESCRIPTOR_FLOOR);
	if (high < 0)
		return low;
	close(low);
	return high;
}

/* Keeps the descriptor for later calls, unless another thread was first or it cannot be wiped. Whether it is kept. */
static bool keep(int fd)
{
	int none = 0;

	if (atomic_load_explicit(&kept.fd_plus_1, memory_order_relaxed) < 0)
		return false;
	if (madvise(&kept, sizeof(kept), MADV_WIPEONFORK)) {
		atomic_store_explicit(&kept.fd_plus_1, -1, memory_order_relaxed);
		return false;
	}
	return atomic_compare_exchange_strong_explicit(&kept.fd_plus_1, &none, fd + 1,
						       memory_order_relaxed, memory_order_relaxed);
}

static enum vmat_self_kind kind_of(const char *name)
{
	if (name[0] == '/')
		return VMAT_SELF_FILE;
	if (strcmp(name, "[heap]") == 0)
		return VMAT_SELF_HEAP;
	return strcmp(name, "[stack]") == 0 ? VMAT_SELF_STACK : VMAT_SELF_OTHER;
}

static int query(int fd, uintptr_t addr, struct vmat_self_region *ret)
{
	char name[NAME_SIZE];
	struct vmat_uapi_procmap_query query = {
		.size = sizeof(query),
		.query_addr = addr,
		.vma_name_size = sizeof(name),
		.vma_name_addr = (uintptr_t)name,
	};
	int code;

	name[0] = '\0';
	code = ioctl(fd, VMAT_UAPI_PROCMAP_QUERY, &query) < 0 ? -errno : 0;
	if (code == -ENAMETOOLONG) {
		/* A path: only files have names as long as that. */
		code = vmat_sys_procmap_query(fd, addr, &query);
		name[0] = '/';
	}
	if (code)
		return code;
	*ret = (struct vmat_self_region){
		.start = (uintptr_t)query.vma_start,
		.end = (uintptr_t)query.vma_end,
		.prot = (query.vma_flags & 1 ? PROT_READ : 0) |
			(query.vma_flags & 2 ? PROT_WRITE : 0) |
			(query.vma_flags & 4 ? PROT_EXEC : 0),
		.page_size = (size_t)query.vma_page_size,
		.kind = kind_of(name),
		.is_shared = query.vma_flags & 8,
	};
	return 0;
}

/* By PROCMAP_QUERY. -ENOTTY: the descriptor was closed by somebody and its number is another file's, or none. */
static int walk_queries(int fd, uintptr_t start, uintptr_t end,
			int (*fn)(const struct vmat_self_region *, void *), void *context)
{
	struct vmat_self_region region;

	for (uintptr_t at = start; at < end; at = region.end) {
		int code = query(fd, at, &region);

		if (code && code != -ENOENT && at == start)
			return -ENOTTY;
		if (!code)
			code = fn(&region, context);
		if (code)
			return code;
	}
	return 0;
}

/* Lines of a text of /proc, each with its first LINE_SIZE - 1 bytes. */
struct lines {
	int fd;
	char buffer[4096];
	size_t have;
	size_t at;
	char line[LINE_SIZE];
};

/* The next line into lines->line; false at the end. */
static bool next_line(struct lines *lines)
{
	size_t size = 0;

	for (;;) {
		if (lines->at == lines->have) {
			ssize_t got;

			do
				got = read(lines->fd, lines->buffer, sizeof(lines->buffer));
			while (got < 0 && errno == EINTR);
			if (got <= 0)
				return false;
			lines->have = (size_t)got;
			lines->at = 0;
		}
		if (lines->buffer[lines->at] == '\n')
			break;
		if (size < sizeof(lines->line) - 1)
			lines->line[size++] = lines->buffer[lines->at];
		lines->at++;
	}
	lines->at++;
	lines->line[size] = '\0';
	return true;
}

/* A number in base 10 or 16, and what stands behind it. */
static uintptr_t number(const char **text, unsigned base)
{
	uintptr_t value = 0;

	for (;; ++*text) {
		char c = **text;
		unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
							: 16;
		if (digit >= base)
			return value;
		value = value * base + digit;
	}
}

/* "start-end rwxp offset dev inode   path" (proc(5)). False for the properties of smaps, which begin with a capital. */
static bool parse_region(const char *line, struct vmat_self_region *ret)
{
	const char *at = line;
	uintptr_t start, end;

	if (*line >= 'A' && *line <= 'Z')
		return false;
	start = number(&at, 16);
	if (*at++ != '-')
		return false;
	end = number(&at, 16);
	if (*at++ != ' ' || !at[0] || !at[1] || !at[2] || !at[3])
		return false;
	*ret = (struct vmat_self_region){
		.start = start,
		.end = end,
		.prot = (at[0] == 'r' ? PROT_READ : 0) | (at[1] == 'w' ? PROT_WRITE : 0) |
			(at[2] == 'x' ? PROT_EXEC : 0),
		.is_shared = at[3] == 's',
	};
	/* Behind the modes stand three fields, then the name. */
	for (int field = 0; field < 4; field++)
		at += strcspn(at, " ") + strspn(at + strcspn(at, " "), " ");
	ret->kind = kind_of(at);
	return true;
}

static int walk_lines(struct lines *lines, uintptr_t at, uintptr_t end, bool want_page_size,
		      int (*fn)(const struct vmat_self_region *, void *), void *context)
{
	static const char property[] = "KernelPageSize:";
	struct vmat_self_region region = { 0 };
	bool is_pending = false; /* the region holds `at` and waits for its page size */
	int code = 0;

	while (!code && at < end && next_line(lines)) {
		const char *text = lines->line;

		if (is_pending && strncmp(text, property, sizeof(property) - 1) == 0) {
			text += sizeof(property) - 1;
			text += strspn(text, " ");
			region.page_size = number(&text, 10) * 1024;
		} else if (!parse_region(text, &region) || region.end <= at) {
			continue;
		} else if (region.start > at) {
			return -ENOENT;
		} else if (want_page_size) {
			is_pending = true;
			continue;
		}
		is_pending = false;
		code = fn(&region, context);
		at = region.end;
	}
	return code ? code : at < end ? -ENOENT : 0;
}

static int walk_text(uintptr_t start, uintptr_t end, bool want_page_size,
		     int (*fn)(const struct vmat_self_region *, void *), void *context)
{
	struct lines lines = { .fd = open_text(want_page_size ? "/proc/self/smaps"
							      : "/proc/self/maps") };
	int code;

	if (lines.fd < 0)
		return -ENOTSUP;
	code = walk_lines(&lines, start, end, want_page_size, fn, context);
	close(lines.fd);
	return code;
}

static int walk(uintptr_t start, uintptr_t end, bool want_page_size,
		int (*fn)(const struct vmat_self_region *, void *), void *context)
{
	int fd = atomic_load_explicit(&kept.fd_plus_1, memory_order_relaxed) - 1;
	bool is_kept = true;
	int code;

	if (!vmat_feature_has(VMAT_FEATURE_PROCMAP_QUERY))
		return walk_text(start, end, want_page_size, fn, context);
	if (fd >= 0) {
		code = walk_queries(fd, start, end, fn, context);
		if (code != -ENOTTY)
			return code;
		/* Not ours any more: closing it would close somebody else's file. */
		fd++;
		atomic_compare_exchange_strong_explicit(&kept.fd_plus_1, &fd, 0,
							memory_order_relaxed, memory_order_relaxed);
	}
	fd = open_maps();
	if (fd < 0)
		return -ENOTSUP;
	is_kept = keep(fd);
	code = walk_queries(fd, start, end, fn, context);
	if (!is_kept)
		close(fd);
	return code == -ENOTTY ? -ENOTSUP : code;
}

int vmat_sys_self_walk(uintptr_t start, uintptr_t end, bool want_page_size,
		       int (*fn)(const struct vmat_self_region *region, void *context),
		       void *context)
{
	int saved = errno;
	int code = walk(start, end, want_page_size, fn, context);

	errno = saved;
	return code;
}

static int take_region(const struct vmat_self_region *region, void *context)
{
	*(struct vmat_self_region *)context = *region;
	return 0;
}

int vmat_sys_self_region(uintptr_t addr, struct vmat_self_region *ret)
{
	struct vmat_self_region region;
	/* The last byte is never of a process, and a range cannot end behind it. */
	int code = addr == UINTPTR_MAX
			   ? -ENOENT
			   : vmat_sys_self_walk(addr, addr + 1, true, take_region, &region);

	if (!code)
		*ret = region;
	return code;
}
