/* SPDX-License-Identifier: MIT */
#include "sys/own_limits.h"

#include <errno.h>
#include <fcntl.h>

#include "base/cleanup.h"
#include "sys/sys_file.h"

/* A small window: the stack may be a coroutine's. */
enum { WINDOW = 1024, DEFAULT_MAX = 65530 };

static long count_lines(void)
{
	vmat_autoclose int fd = vmat_sys_open_at(AT_FDCWD, "/proc/self/maps", 0);
	char window[WINDOW];
	long lines = 0;
	ssize_t got;

	if (fd < 0)
		return fd;
	while ((got = vmat_sys_read(fd, window, sizeof(window))) > 0)
		for (ssize_t i = 0; i < got; i++)
			lines += window[i] == '\n';
	return got < 0 ? got : lines;
}

static long read_max(void)
{
	vmat_autoclose int fd = vmat_sys_open_at(AT_FDCWD, "/proc/sys/vm/max_map_count", 0);
	char text[32];
	ssize_t got = fd < 0 ? fd : vmat_sys_read(fd, text, sizeof(text));
	long max = 0;

	for (ssize_t i = 0; i < got && text[i] >= '0' && text[i] <= '9'; i++)
		max = max * 10 + text[i] - '0';
	return max ? max : DEFAULT_MAX;
}

long vmat_sys_own_regions(void)
{
	int saved = errno;
	long lines = count_lines();

	errno = saved;
	return lines;
}

long vmat_sys_own_regions_max(void)
{
	int saved = errno;
	long max = read_max();

	errno = saved;
	return max;
}
