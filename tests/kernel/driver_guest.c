/* SPDX-License-Identifier: MIT */
#include "driver_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int tests, failures;

static void __attribute__((format(printf, 2, 0)))
say(bool is_good, const char *format, va_list args)
{
	printf("%sok %d - ", is_good ? "" : "not ", ++tests);
	vprintf(format, args);
	printf("\n");
	failures += !is_good;
	fflush(stdout);
}

bool ok(bool is_good, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(is_good, format, args);
	va_end(args);
	return is_good;
}

bool is(long long got, long long wanted, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(got == wanted, format, args);
	va_end(args);
	if (got != wanted)
		printf("#   got %lld, wanted %lld\n", got, wanted);
	fflush(stdout);
	return got == wanted;
}

int done(void)
{
	printf("1..%d\n", tests);
	return failures != 0;
}

_Noreturn void give_up(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(99);
}

int device_open(void)
{
	int fd = open(VMATLAS_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		give_up(VMATLAS_DEVICE);
	return fd;
}

int buf_pin(int device, const void *data, size_t bytes)
{
	struct vmatlas_pin pin = { .size = sizeof(pin), .addr = (uintptr_t)data, .bytes = bytes };
	int fd = ioctl(device, VMATLAS_PIN, &pin);

	return fd < 0 ? -errno : fd;
}

int buf_info(int buf, struct vmatlas_info *ret)
{
	*ret = (struct vmatlas_info){ .size = sizeof(*ret) };
	return ioctl(buf, VMATLAS_INFO, ret) < 0 ? -errno : 0;
}

int buf_dmabuf(int buf)
{
	struct vmatlas_dmabuf ask = { .size = sizeof(ask) };
	int fd = ioctl(buf, VMATLAS_DMABUF, &ask);

	return fd < 0 ? -errno : fd;
}

size_t buf_extents(int buf, size_t step, struct vmatlas_extent **ret)
{
	struct vmatlas_extents list = { .size = sizeof(list) };
	struct vmatlas_extent *all;

	if (ioctl(buf, VMATLAS_EXTENTS, &list) || list.count)
		give_up("VMATLAS_EXTENTS for the total");
	all = calloc(list.total + 1, sizeof(*all));
	if (!all)
		give_up("calloc");
	*ret = all;
	for (size_t got = 0; got < list.total; got += list.count) {
		list.first = got;
		list.count = step;
		list.extents = (uintptr_t)(all + got);
		if (ioctl(buf, VMATLAS_EXTENTS, &list) || !list.count)
			give_up("VMATLAS_EXTENTS");
	}
	return list.total;
}

size_t pagemap_extents(const void *data, size_t bytes, struct vmatlas_extent **ret)
{
	size_t pages = bytes / PAGE, count = 0;
	struct vmatlas_extent *all = calloc(pages + 1, sizeof(*all));
	uint64_t *entries = calloc(pages, sizeof(*entries));
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (!all || !entries || fd < 0 ||
	    pread(fd, entries, pages * 8, (off_t)((uintptr_t)data / PAGE * 8)) !=
		    (ssize_t)pages * 8)
		give_up("/proc/self/pagemap");
	for (size_t i = 0; i < pages; i++) {
		uint64_t physical = (entries[i] & ((UINT64_C(1) << 55) - 1)) * PAGE;

		if (!count || all[count - 1].physical + all[count - 1].bytes != physical)
			all[count++] = (struct vmatlas_extent){ i * PAGE, 0, physical };
		all[count - 1].bytes += PAGE;
	}
	close(fd);
	free(entries);
	*ret = all;
	return count;
}

bool same_extents(int buf, const void *data, size_t bytes)
{
	struct vmatlas_extent *got, *wanted;
	size_t got_count = buf_extents(buf, 5, &got);
	size_t wanted_count = pagemap_extents(data, bytes, &wanted);
	bool same = got_count == wanted_count && memcmp(got, wanted, got_count * sizeof(*got)) == 0;

	if (!same)
		printf("#   %zu extents, pagemap says %zu\n", got_count, wanted_count);
	free(got);
	free(wanted);
	return same;
}

/* The number behind a word at the beginning of a line. */
static long number_of(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	char line[256];
	long number = -1;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)) && strchr(": \t", line[strlen(name)]))
			number = strtol(line + strlen(name) + 1, NULL, 10);
	if (file)
		fclose(file);
	return number;
}

long meminfo(const char *name)
{
	return number_of("/proc/meminfo", name);
}

long vmstat(const char *name)
{
	/* Each processor keeps a part of the sums for a second or two. */
	write_text("/proc/sys/vm/stat_refresh", "1");
	return number_of("/proc/vmstat", name);
}

long status_kib(const char *name)
{
	return number_of("/proc/self/status", name);
}

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	return got < 0 ? -errno : 0;
}

void scramble_pool(void)
{
	char text[16];
	int fd = memfd_create("pool", MFD_CLOEXEC | MFD_HUGETLB);
	void *all;

	snprintf(text, sizeof(text), "%d", HUGE_POOL);
	if (write_text("/proc/sys/vm/nr_hugepages", text) ||
	    meminfo("HugePages_Free") < HUGE_POOL || fd < 0 || ftruncate(fd, HUGE_POOL * HUGE))
		give_up("a pool of huge pages");
	all = mmap(NULL, HUGE_POOL * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		   0);
	if (all == MAP_FAILED)
		give_up("the huge pages");
	munmap(all, HUGE_POOL * HUGE);
	/* The pool is a stack: what goes back last comes out first. 5 has no common divisor with 24. */
	for (size_t i = 0; i < HUGE_POOL; i++)
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)((i * 5 + 3) % HUGE_POOL * HUGE), (off_t)HUGE))
			give_up("punch a hole");
	close(fd);
}

void *huge_pages(size_t count, int flags)
{
	void *data = mmap(NULL, count * HUGE, PROT_READ | PROT_WRITE,
			  flags | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);

	if (data == MAP_FAILED)
		give_up("huge pages");
	return data;
}

void *plain_pages(size_t count)
{
	void *data = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	if (data == MAP_FAILED)
		give_up("pages");
	return data;
}

static uint64_t word(uint64_t offset, uint64_t seed)
{
	return seed ^ offset * UINT64_C(0x9e3779b97f4a7c15);
}

void fill(void *data, size_t bytes, uint64_t seed)
{
	uint64_t *words = data;

	for (size_t i = 0; i < bytes / 8; i++)
		words[i] = word(i * 8, seed);
}

size_t check(const void *data, size_t bytes, uint64_t first, uint64_t seed)
{
	const uint64_t *words = data;

	for (size_t i = 0; i < bytes / 8; i++)
		if (words[i] != word(first + i * 8, seed))
			return i * 8;
	return bytes;
}

int in_child(int (*run)(void *), void *with)
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (child < 0)
		give_up("fork");
	if (!child)
		_exit(run(with));
	if (waitpid(child, &status, 0) != child)
		give_up("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int send_fd(int socket, int fd)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };

	char byte = 0;
	struct iovec piece = { &byte, 1 };
	struct msghdr message = { .msg_iov = &piece,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };

	control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
					 .cmsg_level = SOL_SOCKET,
					 .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	return sendmsg(socket, &message, 0) == 1 ? 0 : -errno;
}

int receive_fd(int socket)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };

	char byte;
	struct iovec piece = { &byte, 1 };
	struct msghdr message = { .msg_iov = &piece,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1 ||
	    control.head.cmsg_type != SCM_RIGHTS)
		return -EBADF;
	memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	return fd;
}
