/*
 * Maps, touches and names memory. Constants of newer kernels are declared here: the headers of the
 * build machine, and musl's, lack them.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "factory.h"

/* Linux 6.13, commit 662df3e5c376. */
#define MADVISE_GUARD_INSTALL 102

/* Linux 5.17, commit 9a10064f5625; needs CONFIG_ANON_VMA_NAME. */
#define PRCTL_SET_VMA           0x53564d41
#define PRCTL_SET_VMA_ANON_NAME 0

size_t page_size;

uintptr_t page_floor(uintptr_t address)
{
	return address & ~(uintptr_t)(page_size - 1);
}

char *map_anywhere(size_t bytes, int prot, int flags, int fd)
{
	void *start = mmap(NULL, bytes, prot, flags, fd, 0);

	if (start == MAP_FAILED)
		err(1, "cannot map %zu bytes", bytes);
	return start;
}

char *map_fenced(size_t bytes, int prot, int flags, int fd)
{
	size_t size = page_floor(bytes + page_size - 1);
	char *fence = map_anywhere(size + 2 * page_size, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	char *start = fence + page_size;

	if (mmap(start, size, prot, flags | MAP_FIXED, fd, 0) == MAP_FAILED)
		err(1, "cannot map %zu bytes between fences", size);
	return start;
}

int make_file(const char *path, size_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		err(1, "cannot create %s", path);
	return fd;
}

void fill_file(int fd, size_t bytes)
{
	char block[4096];

	memset(block, 'f', sizeof(block));
	for (size_t done = 0; done < bytes; done += sizeof(block))
		if (pwrite(fd, block, sizeof(block), (off_t)done) != (ssize_t)sizeof(block))
			err(1, "cannot fill a file");
}

void write_page(char *start, size_t page)
{
	*(volatile char *)(start + page * page_size) = 'w';
}

void read_page(const char *start, size_t page)
{
	(void)*(const volatile char *)(start + page * page_size);
}

bool install_guard(char *start, size_t bytes)
{
	return madvise(start, bytes, MADVISE_GUARD_INSTALL) == 0;
}

bool name_region(void *start, size_t bytes, const char *name)
{
	return prctl(PRCTL_SET_VMA, PRCTL_SET_VMA_ANON_NAME, start, bytes, name) == 0;
}

bool read_number(const char *path, unsigned long long *ret)
{
	FILE *file = fopen(path, "re");
	bool is_read = file && fscanf(file, "%llu", ret) == 1;

	if (file)
		fclose(file);
	return is_read;
}

bool find_vma(uintptr_t address, const char *name, uintptr_t *ret_start, uintptr_t *ret_end)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[4352];
	bool is_found = false;

	if (!maps)
		err(1, "cannot open /proc/self/maps");
	while (!is_found && fgets(line, sizeof(line), maps)) {
		unsigned long long start, end;
		char *path;

		if (sscanf(line, "%llx-%llx", &start, &end) != 2)
			continue;
		line[strcspn(line, "\n")] = '\0';
		path = strrchr(line, ' ');
		is_found =
			name ? path && !strcmp(path + 1, name) : address >= start && address < end;
		if (is_found) {
			*ret_start = (uintptr_t)start;
			*ret_end = (uintptr_t)end;
		}
	}
	fclose(maps);
	return is_found;
}
