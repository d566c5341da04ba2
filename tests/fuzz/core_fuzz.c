/* SPDX-License-Identifier: MIT */
/*
 * The input is a core file: whatever it holds, it is refused with a reason, or map, stacks, pages, heap and leaks come
 * to an end over it.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core_all.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("core", MFD_CLOEXEC);
	char path[40];

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	core_ask_all(path);
	close(fd);
	return 0;
}
