/* SPDX-License-Identifier: MIT */
/*
 * driver_refuse: what /dev/vmatlas gives to bad input, to races with the life of its owner, and to those over their limits: the
 * errno that include/uapi/vmatlas.h names, nothing written where it was not asked to, nothing left pinned.
 *
 * usage: driver_refuse                 in a guest with vmatlas.ko
 *        driver_refuse over-limit      ends with the errno of pinning 8 pages
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver_guest.h"

#define PARAMETERS "/sys/module/vmatlas/parameters/"
#define SEED       UINT64_C(0xbad)

static int call(int fd, unsigned long command, void *arg)
{
	return ioctl(fd, command, arg) < 0 ? -errno : 0;
}

/* PIN of a range that is expected to fail. */
static void refuse(int device, uint64_t addr, uint64_t bytes, int wanted, const char *name)
{
	struct vmatlas_pin pin = { .size = sizeof(pin), .addr = addr, .bytes = bytes };

	is(call(device, VMATLAS_PIN, &pin), wanted, "PIN of %s", name);
}

static void test_ranges(int device)
{
	unsigned char *data = plain_pages(16), *map;
	uint64_t at = (uintptr_t)data;
	int buf = buf_pin(device, data, PAGE);

	refuse(device, at + 1, PAGE, -EINVAL, "an address within a page");
	refuse(device, at, PAGE + 1, -EINVAL, "a part of a page");
	refuse(device, at, 0, -EINVAL, "nothing (CVE-2021-47649: a count of zero)");
	refuse(device, at, UINT64_MAX - PAGE + 1, -EINVAL, "a range that overflows");
	refuse(device, -PAGE, PAGE, -EINVAL, "the last page there could be");
	refuse(device, -2 * PAGE, PAGE, -EFAULT, "the kernel's memory");
	refuse(device, UINT64_C(0xffff888000000000), HUGE, -EFAULT,
	       "the kernel's view of all memory");
	refuse(device, UINT64_C(0x7ffffffff000), 2 * PAGE, -EFAULT, "the end of the address space");
	refuse(device, at, UINT64_C(1) << 62, -EINVAL, "more than there is");
	refuse(device, 0, PAGE, -EFAULT, "address 0");
	munmap(data + 8 * PAGE, PAGE);
	refuse(device, at + 8 * PAGE, PAGE, -EFAULT, "a page that is not mapped");
	refuse(device, at, 16 * PAGE, -EFAULT, "a range with a hole");
	mprotect(data + 4 * PAGE, PAGE, PROT_READ);
	refuse(device, at, 6 * PAGE, -EFAULT, "a range that is read-only in the middle");
	mprotect(data + 4 * PAGE, PAGE, PROT_NONE);
	refuse(device, at + 4 * PAGE, PAGE, -EFAULT, "PROT_NONE");
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
	refuse(device, (uintptr_t)map, PAGE, -EFAULT, "a mapping of a buffer");
	munmap(map, PAGE);
	close(buf);
	munmap(data, 16 * PAGE);
	is(status_kib("VmPin"), 0, "nothing of all that is pinned");
}

/* A file's pages are written back behind the pin. ramfs has such pages, and no writeback that 6.5 would refuse itself. */
static void test_file(int device)
{
	void *data;
	int fd, buf;

	mkdir("/tmp/ram", 0700);
	if (mount("none", "/tmp/ram", "ramfs", 0, NULL))
		give_up("mount ramfs");
	fd = open("/tmp/ram/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, 4 * (off_t)PAGE))
		give_up("a file");
	data = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	refuse(device, (uintptr_t)data, 4 * PAGE, -EFAULT, "pages of a file");
	munmap(data, 4 * PAGE);
	data = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	buf = buf_pin(device, data, 4 * PAGE);
	ok(buf >= 0, "private copies of a file's pages are memory");
	close(buf);
	munmap(data, 4 * PAGE);
	close(fd);
}

static void test_fields(int device)
{
	unsigned char *data = plain_pages(4), *page = plain_pages(2);

	struct {
		struct vmatlas_pin pin;
		uint64_t more[4];
	} longer = { .pin = { .size = sizeof(longer), .addr = (uintptr_t)data, .bytes = PAGE } };
	struct vmatlas_pin pin = longer.pin;
	struct vmatlas_info info = { .size = sizeof(info), .reserved = { 0, 1 } };
	struct vmatlas_dmabuf ask = { .size = sizeof(ask), .flags = 1 };
	int buf = buf_pin(device, data, 4 * PAGE);

	pin.size = sizeof(pin) - 1;
	is(call(device, VMATLAS_PIN, &pin), -EINVAL, "a structure shorter than the first version");
	pin.size = 0;
	is(call(device, VMATLAS_PIN, &pin), -EINVAL, "a size of zero");
	pin.size = (uint32_t)PAGE + 1;
	is(call(device, VMATLAS_PIN, &pin), -E2BIG, "a size above a page");
	pin = longer.pin;
	pin.size = sizeof(pin);
	pin.flags = 1;
	is(call(device, VMATLAS_PIN, &pin), -EINVAL, "an unknown flag of PIN");
	pin.flags = 0;
	pin.reserved[1] = 1;
	is(call(device, VMATLAS_PIN, &pin), -EINVAL, "a reserved field of PIN");
	ok(close(ioctl(device, VMATLAS_PIN, &longer)) == 0,
	   "a longer structure, zero where it is new");
	longer.more[3] = 1;
	is(call(device, VMATLAS_PIN, &longer), -E2BIG,
	   "a longer structure that asks for something new");
	is(call(device, VMATLAS_PIN, NULL), -EFAULT, "no structure");
	/* All but its end is mapped. */
	munmap(page + PAGE, PAGE);
	memcpy(page + PAGE - 8, &(uint64_t){ sizeof(pin) }, 8);
	is(call(device, VMATLAS_PIN, page + PAGE - 8), -EFAULT,
	   "a structure that leaves the mapping");
	is(call(device, VMATLAS_INFO, &info), -ENOTTY, "INFO on the device");
	is(call(buf, VMATLAS_PIN, &pin), -ENOTTY, "PIN on a buffer");
	is(call(buf, _IO(VMATLAS_IOC, 99), &pin), -ENOTTY, "a command that does not exist");
	is(call(buf, VMATLAS_INFO, &info), -EINVAL, "a reserved field of INFO");
	is(call(buf, VMATLAS_DMABUF, &ask), -EINVAL, "an unknown flag of DMABUF");
	ask = (struct vmatlas_dmabuf){ .size = sizeof(ask), .reserved = 1 };
	is(call(buf, VMATLAS_DMABUF, &ask), -EINVAL, "a reserved field of DMABUF");
	is(lseek(device, 1, SEEK_SET) < 0 ? -errno : 0, -ESPIPE, "the device has no position");
	is(read(device, page, 1) < 0 ? -errno : 0, -EINVAL, "and nothing to read");
	ok(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device, 0) == MAP_FAILED && errno == ENODEV,
	   "nor to map");
	close(buf);
	munmap(data, 4 * PAGE);
	munmap(page, PAGE);
}

/* What EXTENTS writes, and where it must not. */
static void test_extents(int device)
{
	unsigned char *data = plain_pages(8), *out = plain_pages(2);
	struct vmatlas_extents list = { .size = sizeof(list) };
	size_t untouched = 0;
	int buf;

	/* Every other page present first: neighbours in memory are then no neighbours here. */
	for (size_t i = 0; i < 16; i++)
		data[(i * 2 % 8 + i / 4 % 2) * PAGE] = 1;
	buf = buf_pin(device, data, 8 * PAGE);
	call(buf, VMATLAS_EXTENTS, &list);
	ok(!list.count && list.total >= 1, "EXTENTS with no room says how many there are");
	memset(out, 0x5a, 2 * PAGE);
	list.count = 1;
	list.extents = (uintptr_t)(out + 64);
	is(call(buf, VMATLAS_EXTENTS, &list), 0, "EXTENTS with room for one");
	for (size_t i = 0; i < 2 * PAGE; i++)
		untouched += out[i] == 0x5a && (i < 64 || i >= 64 + sizeof(struct vmatlas_extent));
	is((long long)untouched, (long long)(2 * PAGE - sizeof(struct vmatlas_extent)),
	   "writes one, and nothing beside it");
	list.count = UINT64_MAX;
	list.extents = 0;
	is(call(buf, VMATLAS_EXTENTS, &list), -EFAULT, "EXTENTS to address 0");
	list.extents = UINT64_C(0xffff888000000000);
	is(call(buf, VMATLAS_EXTENTS, &list), -EFAULT, "EXTENTS to the kernel's memory");
	mprotect(out, PAGE, PROT_READ);
	list.extents = (uintptr_t)out;
	is(call(buf, VMATLAS_EXTENTS, &list), -EFAULT, "EXTENTS to what cannot be written");
	list.flags = 1;
	is(call(buf, VMATLAS_EXTENTS, &list), -EINVAL, "an unknown flag of EXTENTS");
	list = (struct vmatlas_extents){ .size = sizeof(list), .reserved = 1 };
	is(call(buf, VMATLAS_EXTENTS, &list), -EINVAL, "a reserved field of EXTENTS");
	close(buf);
	munmap(data, 8 * PAGE);
	munmap(out, 2 * PAGE);
}

static int refused(int fd, size_t bytes, int protection, int flags, off_t offset)
{
	void *at = mmap(NULL, bytes, protection, flags, fd, offset);

	if (at == MAP_FAILED)
		return errno;
	munmap(at, bytes);
	return 0;
}

static int reads_all(void *with)
{
	unsigned char *const *at = with;

	return check(at[0], 2 * HUGE, 0, SEED) != 2 * HUGE;
}

static void test_mmap(int device)
{
	unsigned char *data = huge_pages(2, MAP_PRIVATE), *at, *part,
		      *room = plain_pages(2 * HUGE / PAGE);
	int buf = buf_pin(device, data, 2 * HUGE), read_write = PROT_READ | PROT_WRITE;
	bool same = true;

	fill(data, 2 * HUGE, SEED);
	is(refused(buf, PAGE, read_write, MAP_PRIVATE, 0), EINVAL, "a private mapping");
	is(refused(buf, PAGE, PROT_READ, MAP_PRIVATE, 0), EINVAL, "a private mapping to read");
	is(refused(buf, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, 0), EPERM,
	   "an executable mapping");
	is(refused(buf, 2 * HUGE + PAGE, read_write, MAP_SHARED, 0), EINVAL,
	   "CVE-2023-2008: a mapping longer than the buffer");
	is(refused(buf, 2 * PAGE, read_write, MAP_SHARED, 2 * HUGE - PAGE), EINVAL,
	   "one that leaves it");
	is(refused(buf, PAGE, read_write, MAP_SHARED, 2 * HUGE), EINVAL, "one behind it");
	ok(refused(buf, 2 * PAGE, read_write, MAP_SHARED, (off_t)((UINT64_C(1) << 63) - PAGE)),
	   "an offset whose end would wrap");
	at = mmap(NULL, 2 * HUGE, read_write, MAP_SHARED, buf, 0);
	ok(at != MAP_FAILED && reads_all(&at) == 0, "all of it can be mapped");
	is(mprotect(at, PAGE, PROT_READ | PROT_EXEC) ? errno : 0, EACCES,
	   "and does not become executable");
	ok(mremap(at, 2 * HUGE, 3 * HUGE, MREMAP_MAYMOVE) == MAP_FAILED, "nor grow");
	ok(mremap(at, 0, HUGE, MREMAP_MAYMOVE) == MAP_FAILED, "nor be doubled by mremap");
	part = mremap(at + HUGE, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		      (unsigned char *)(((uintptr_t)room + HUGE - 1) & ~(HUGE - 1)));
	ok(part != MAP_FAILED && check(part, HUGE, HUGE, SEED) == HUGE,
	   "a half of it moves with its pages");
	munmap(room, 2 * HUGE);
	munmap(at, HUGE);
	at = mmap(NULL, 2 * HUGE, read_write, MAP_SHARED, buf, 0);
	same = check(at, PAGE, 0, SEED) == PAGE; /* a huge entry, where there are such */
	munmap(at + 5 * PAGE, PAGE);
	mprotect(at + 9 * PAGE, PAGE, PROT_READ);
	for (size_t page = 0; page < 2 * HUGE / PAGE; page++)
		if (page != 5)
			same = same && check(at + page * PAGE, PAGE, page * PAGE, SEED) == PAGE;
	ok(same,
	   "a mapping that lost a page and the right to write to one shows the others as they were");
	munmap(at, 2 * HUGE);
	same = true;
	for (size_t page = 1; page < 2 * HUGE / PAGE; page += 37) {
		size_t bytes = page * 5 % (2 * HUGE / PAGE - page) * PAGE + PAGE;

		at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, buf, (off_t)(page * PAGE));
		same = same && at != MAP_FAILED && check(at, bytes, page * PAGE, SEED) == bytes;
		munmap(at, bytes);
	}
	ok(same, "parts at odd offsets begin and end where they should");
	at = mmap(NULL, 2 * HUGE, read_write, MAP_SHARED, buf, 0);
	close(buf);
	munmap(data, 2 * HUGE);
	is(in_child(reads_all, &at), 0,
	   "a forked child has the mapping of a buffer that is closed and unmapped here");
	munmap(at, 2 * HUGE);
}

struct fork_case {
	unsigned char *data;
	size_t bytes;
};

static int write_over(void *with)
{
	const struct fork_case *c = with;

	memset(c->data, 0xee, c->bytes);
	return 0;
}

/* After a fork both write: the pinned pages must stay the owner's (CVE-2020-29374, and libfabric's "pinned + fork"). */
static void test_fork(int device, struct fork_case c, const char *name)
{
	unsigned char *copy = malloc(c.bytes);
	int buf;

	fill(c.data, c.bytes, 1);
	buf = buf_pin(device, c.data, c.bytes);
	is(in_child(write_over, &c), 0, "%s: a child of fork writes to its copy", name);
	fill(c.data, c.bytes, SEED);
	ok(pread(buf, copy, c.bytes, 0) == (ssize_t)c.bytes &&
		   check(copy, c.bytes, 0, SEED) == c.bytes,
	   "%s: the buffer has what the owner wrote after the fork", name);
	madvise(c.data, c.bytes, MADV_DONTNEED);
	ok(pread(buf, copy, c.bytes, 0) == (ssize_t)c.bytes &&
		   check(copy, c.bytes, 0, SEED) == c.bytes,
	   "%s: and keeps it when the owner throws its pages away", name);
	close(buf);
	munmap(c.data, c.bytes);
	free(copy);
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* Pins 128 MiB of pages that nobody has touched, with a signal 2 ms later. The result, or 1000 if it came too late. */
static int pin_with_alarm(int device, int flags)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = flags };
	struct itimerval soon = { .it_value = { 0, 2000 } };
	size_t bytes = 64 * HUGE;
	void *data = plain_pages(bytes / PAGE);
	int buf;

	madvise(data, bytes, MADV_NOHUGEPAGE);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	buf = buf_pin(device, data, bytes);
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	if (buf >= 0)
		close(buf);
	munmap(data, bytes);
	return buf;
}

static _Noreturn void pin_for_ever(int device)
{
	for (;;)
		pin_with_alarm(device, SA_RESTART);
}

static void test_signals(int device)
{
	int got = 0;
	pid_t child;

	/* A machine may be so fast that it is done before: then once more. */
	for (int i = 0; i < 50 && got >= 0; i++)
		got = pin_with_alarm(device, 0);
	is(got, -EINTR, "a signal while pages are pinned");
	is(status_kib("VmPin"), 0, "leaves none of them pinned");
	ok(pin_with_alarm(device, SA_RESTART) >= 0, "with SA_RESTART it goes on");
	got = 0;
	for (int i = 0; i < 8; i++) {
		int status;

		fflush(stdout);
		child = fork();
		if (!child)
			pin_for_ever(device);
		usleep(1000 + 3000 * (unsigned)i);
		kill(child, SIGKILL);
		got += waitpid(child, &status, 0) == child && WIFSIGNALED(status);
	}
	is(got, 8, "and who is killed at it dies");
}

/* As an ordinary user with 8 pages of RLIMIT_MEMLOCK. `with` is the descriptor of the device. */
static int become_limited(void)
{
	struct rlimit limit = { 8 * PAGE, 8 * PAGE };

	return setrlimit(RLIMIT_MEMLOCK, &limit) || setresgid(1000, 1000, 1000) ||
	       setresuid(1000, 1000, 1000);
}

static int limits(void *with)
{
	int device = *(const int *)with, buf, second, kept;
	unsigned char *data = plain_pages(16);
	struct vmatlas_extent *extents;
	char number[16];
	int status;
	pid_t child;

	if (become_limited())
		return 1;
	if (buf_pin(device, data, 9 * PAGE) != -ENOMEM)
		return 2;
	buf = buf_pin(device, data, 5 * PAGE);
	second = buf_pin(device, data + 8 * PAGE, 3 * PAGE);
	if (buf < 0 || second < 0 || buf_pin(device, data, PAGE) != -ENOMEM)
		return 3;
	if (buf_extents(buf, 1, &extents) < 1 || extents[0].physical != VMATLAS_PHYSICAL_HIDDEN)
		return 4;
	close(buf);
	buf = buf_pin(device, data, 5 * PAGE);
	if (buf < 0)
		return 5;
	/* A child, and a program with the buffer as its inheritance, are of the same user. */
	kept = fcntl(buf, F_DUPFD, 0);
	snprintf(number, sizeof(number), "%d", fcntl(device, F_DUPFD, 0));
	child = fork();
	if (!child) {
		execl("/proc/self/exe", "driver_refuse", "over-limit", number, NULL);
		_exit(127);
	}
	if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != ENOMEM)
		return 6;
	close(kept);
	close(buf);
	close(second);
	second = buf_pin(device, data, 8 * PAGE);
	return second < 0 ? 7 : 0;
}

static int exhaust(void *with)
{
	const int *fds = with;
	unsigned char *data = plain_pages(8);
	int buf;

	if (become_limited())
		return 1;
	buf = buf_pin(fds[0], data, 8 * PAGE);
	return buf < 0 || send_fd(fds[1], buf);
}

static int one_page(void *with)
{
	int buf = become_limited() ? -EPERM : buf_pin(*(const int *)with, plain_pages(1), PAGE);

	return buf < 0 ? -buf : 0;
}

static void test_limits(int device)
{
	void *data = plain_pages(2 * HUGE / PAGE);
	int sockets[2], fds[2], bufs[4], got = 0;

	is(in_child(limits, &device), 0,
	   "RLIMIT_MEMLOCK holds for a user without CAP_IPC_LOCK, over exec, too; physical addresses are hidden");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		give_up("socketpair");
	fds[0] = device;
	fds[1] = sockets[1];
	is(in_child(exhaust, fds), 0, "a user pins all that it may, gives it away and ends");
	bufs[0] = receive_fd(sockets[0]);
	is(in_child(one_page, &device), ENOMEM, "it is the user's as long as another has it");
	close(bufs[0]);
	is(in_child(one_page, &device), 0, "and no longer");
	write_text(PARAMETERS "max_buffers", "3");
	for (int i = 0; i < 4; i++)
		bufs[i] = buf_pin(device, data, PAGE);
	is(bufs[3], -EBUSY, "too many buffers");
	for (int i = 0; i < 3; i++)
		got += bufs[i] >= 0 && !close(bufs[i]);
	is(got, 3, "those before were made");
	bufs[0] = buf_pin(device, data, PAGE);
	ok(bufs[0] >= 0, "when one is gone there is room");
	close(bufs[0]);
	write_text(PARAMETERS "max_buffers", "1024");
	write_text(PARAMETERS "max_mib", "3");
	is(buf_pin(device, data, 2 * HUGE), -EINVAL,
	   "a buffer larger than the administrator allows");
	write_text(PARAMETERS "max_mib", "65536");
	munmap(data, 2 * HUGE);
	close(sockets[0]);
	close(sockets[1]);
}

static int unload(void)
{
	return syscall(SYS_delete_module, "vmatlas", O_NONBLOCK) ? errno : 0;
}

static void test_unload(int device)
{
	void *data = plain_pages(4), *map;
	int buf = buf_pin(device, data, 4 * PAGE), dmabuf;

	is(unload(), EWOULDBLOCK, "the module does not go while the device is open");
	close(device);
	is(unload(), EWOULDBLOCK, "nor while there is a buffer");
	dmabuf = buf_dmabuf(buf);
	map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
	close(buf);
	munmap(map, 4 * PAGE);
	is(unload(), EWOULDBLOCK, "nor while there is a dma-buf");
	map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	close(dmabuf);
	is(unload(), EWOULDBLOCK, "nor while one is mapped");
	munmap(map, 4 * PAGE);
	is(unload(), 0, "then it goes");
}

int main(int argc, char **argv)
{
	long pinned = vmstat("nr_foll_pin_acquired") - vmstat("nr_foll_pin_released");
	size_t huge = 2 * HUGE;
	int device;

	if (argc == 3 && !strcmp(argv[1], "over-limit"))
		return -buf_pin((int)strtol(argv[2], NULL, 10), plain_pages(8), 8 * PAGE);
	scramble_pool();
	device = device_open();
	test_ranges(device);
	test_file(device);
	test_fields(device);
	test_extents(device);
	test_mmap(device);
	test_fork(device, (struct fork_case){ plain_pages(32), 32 * PAGE }, "pages");
	test_fork(device, (struct fork_case){ huge_pages(2, MAP_PRIVATE), huge }, "huge pages");
	test_signals(device);
	test_limits(device);
	is(status_kib("VmPin"), 0, "in the end nothing is pinned");
	is(meminfo("HugePages_Free"), HUGE_POOL, "in the end the pool is whole");
	close_range(3, ~0U, 0);
	is(vmstat("nr_foll_pin_acquired") - vmstat("nr_foll_pin_released"), pinned,
	   "and no pin is left");
	test_unload(device_open());
	return done();
}
