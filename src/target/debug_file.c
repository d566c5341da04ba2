/* SPDX-License-Identifier: MIT */
/*
 * debug_file.c: the files that describe a program: its own, which maps names with its device and inode, and separate
 * debug files, where distributions install them: by build id, so that the right one is found whatever the
 * program's name is. Facts: gdb, "Debugging Information in Separate Files".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "sys/sys_file.h"
#include "target/device.h"
#include "target/text_lines.h"

/* The debug file at a path of one root; only a regular file, for others may hang who reads them. */
static int open_regular(int root, const char *path)
{
	vmat_autoclose int fd = root >= 0 ? vmat_sys_open_in_root(root, path, 0)
					  : vmat_sys_open_at(AT_FDCWD, path, 0);
	struct stat stat;
	int err = fd < 0 ? fd : vmat_sys_fstat(fd, &stat);

	if (err)
		return err;
	return S_ISREG(stat.st_mode) ? vmat_take_fd(&fd) : -ENOENT;
}

int vmat_source_open_debug(struct vmat_target *target, const uint8_t *build_id, size_t size)
{
	char path[160] = "/usr/lib/debug/.build-id/";
	size_t at = strlen(path);
	int fd = -ENOENT;

	if (size < 2 || size > 64)
		return -ENOENT;
	for (size_t i = 0; i < size; i++) {
		snprintf(path + at, 3, "%02x", build_id[i]);
		at += 2;
		if (i == 0)
			path[at++] = '/';
	}
	snprintf(path + at, sizeof(path) - at, ".debug");
	if (target->ops->is_live && !vmat_device_may_hang(target, path, 0, 0))
		fd = open_regular(vmat_device_root(target), path);
	return fd >= 0 ? fd : open_regular(-1, path);
}

/* Looks for the mapping of the program: only maps says on which device its file lies. */
struct program_search {
	struct vmat_target *target;
	int fd;
};

/* "start-end perms offset major:minor inode   path" */
static bool open_if_program(const char *line, size_t size, void *context)
{
	struct program_search *search = context;
	const char *exe = search->target->process.exe, *end = line + size, *c = line;
	uint64_t major, minor, inode;

	for (unsigned field = 0; field < 3; field++) {
		c = memchr(c, ' ', (size_t)(end - c));
		if (!c++)
			return true;
	}
	c = vmat_text_hex(c, end, &major);
	c = vmat_text_hex(c + (c < end), end, &minor);
	c = vmat_text_decimal(c + (c < end), end, &inode);
	while (c < end && *c == ' ')
		c++;
	if ((size_t)(end - c) != strlen(exe) || memcmp(c, exe, (size_t)(end - c)) != 0)
		return true;
	search->fd =
		vmat_source_open_file(search->target, exe, (uint32_t)major, (uint32_t)minor, inode);
	return false;
}

int vmat_source_open_program(struct vmat_target *target)
{
	struct program_search search = { .target = target, .fd = -ENOENT };
	int code;

	if (target->ops->open_program)
		return target->ops->open_program(target);
	if (!target->process.exe)
		return -ENOENT;
	code = vmat_text_lines(target, "maps", open_if_program, &search);
	return code ? code : search.fd;
}
