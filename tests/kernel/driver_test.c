/* SPDX-License-Identifier: MIT */
/*
 * driver_test: what /dev/vmatlas promises to those who use it rightly: the order of scattered huge pages, one memory for all who
 * map it, the same extents by four ways, and pages that live as long as somebody has them.
 *
 * usage: driver_test            in a guest with vmatlas.ko and vmatlas-importer.ko
 *        driver_test hold       maps a buffer, prints its truth as JSON, closes the descriptor at a line of input, ends at its end
 *        driver_test peer N     maps the descriptor that comes through socket N, looks, writes
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "driver_guest.h"

#define COUNT 6
#define BYTES (COUNT * HUGE)
#define SEED  UINT64_C(0x5eed)

static void *map_buf(int fd, size_t bytes, off_t offset)
{
	void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);

	if (data == MAP_FAILED)
		give_up("mmap of a buffer");
	return data;
}

static void test_order(int buf, unsigned char *data)
{
	static unsigned char copy[HUGE];
	void *nowhere = plain_pages(1);
	char across[16];
	bool same = true;

	mprotect(nowhere, PAGE, PROT_NONE);
	fill(data, BYTES, SEED);
	for (size_t i = 0; i < COUNT; i++)
		same = same && pread(buf, copy, HUGE, (off_t)(i * HUGE)) == (ssize_t)HUGE &&
		       check(copy, HUGE, i * HUGE, SEED) == HUGE;
	ok(same, "the kernel reads what was written, in order, over all pages");
	for (size_t border = HUGE; border < BYTES; border += HUGE) {
		memcpy(data + border - 8, "ACROSS A BORDER!", 16);
		same = same && pread(buf, across, 16, (off_t)border - 8) == 16 &&
		       !memcmp(across, "ACROSS A BORDER!", 16);
		same = same && pwrite(buf, "WRITTEN BY IT...", 16, (off_t)border - 8) == 16 &&
		       !memcmp(data + border - 8, "WRITTEN BY IT...", 16);
	}
	ok(same, "and reads and writes across each border between huge pages");
	is(lseek(buf, -8, SEEK_END), BYTES - 8, "lseek knows the end");
	is(read(buf, copy, 64), 8, "a read stops at the end");
	is(read(buf, copy, 64), 0, "and there is nothing behind it");
	is(write(buf, copy, 8) < 0 ? -errno : 0, -ENOSPC, "nor room to write");
	is(pread(buf, copy, 0, 0), 0, "a read of nothing");
	is(pread(buf, nowhere, 64, 0) < 0 ? -errno : 0, -EFAULT, "a read to where nothing is");
	is(lseek(buf, 1, SEEK_END) < 0 ? -errno : 0, -EINVAL, "no position behind the end");
	fill(data, BYTES, SEED);
}

static void test_extents(int buf, const unsigned char *data)
{
	struct vmatlas_info info;
	struct vmatlas_extent *all, one = { 1, 2, 3 };
	struct vmatlas_extents list = {
		.size = sizeof(list), .first = COUNT, .count = 1, .extents = (uintptr_t)&one
	};

	is(buf_info(buf, &info), 0, "INFO");
	is((long long)info.bytes, BYTES, "its size");
	is((long long)info.extents, COUNT, "6 scrambled huge pages are 6 extents");
	is(info.flags & VMATLAS_INFO_KERNEL_MAPPED, 0,
	   "the kernel has not mapped it before it had to");
	ok(same_extents(buf, data, BYTES), "the driver's extents are those of pagemap");
	is((long long)buf_extents(buf, 1, &all), COUNT, "one at a time are as many");
	free(all);
	ok(!ioctl(buf, VMATLAS_EXTENTS, &list) && !list.count && list.total == COUNT &&
		   one.bytes == 2,
	   "behind the last there is none, and nothing is written");
	list.first = UINT64_MAX;
	ok(!ioctl(buf, VMATLAS_EXTENTS, &list) && !list.count && one.bytes == 2,
	   "nor at the last number");
}

/* The segments that a device is given, and the sum of the bytes that it sees. */
static void test_dmabuf(int buf, const unsigned char *data)
{
	int importer = open("/dev/vmatlas-importer", O_RDWR | O_CLOEXEC), dmabuf = buf_dmabuf(buf);
	struct vmatlas_extent *wanted;
	size_t count = buf_extents(buf, 64, &wanted), n = 0;
	unsigned long long sum = 0, seen = 0;
	char number[16], text[4096], *at = text;
	bool same = true;
	ssize_t got;

	ok(importer >= 0 && dmabuf >= 0, "a dma-buf, and a device for it");
	snprintf(number, sizeof(number), "%d", dmabuf);
	is(write(importer, number, strlen(number)), (long long)strlen(number),
	   "the device maps it");
	got = read(importer, text, sizeof(text) - 1);
	text[got < 0 ? 0 : got] = '\0';
	for (; *at && strncmp(at, "sum ", 4); n++) {
		unsigned long long bus = strtoull(at, &at, 16), bytes = strtoull(at, &at, 10);

		same = same && n < count && bus == wanted[n].physical && bytes == wanted[n].bytes;
		at++;
	}
	ok(same && n == count, "its segments are the extents (%zu of %zu)", n, count);
	if (*at)
		seen = strtoull(at + 4, NULL, 10);
	for (size_t i = 0; i < BYTES; i++)
		sum += data[i];
	ok(seen == sum, "it sees the same bytes");
	at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ok(at != MAP_FAILED && check(at, BYTES, 0, SEED) == BYTES, "a dma-buf can be mapped, too");
	munmap(at, BYTES);
	is(write(importer, number, strlen(number)) < 0 ? -errno : 0, -EBUSY, "a device holds one");
	close(importer);
	importer = open("/dev/vmatlas-importer", O_RDWR | O_CLOEXEC);
	snprintf(number, sizeof(number), "%d", buf);
	is(write(importer, number, strlen(number)) < 0 ? -errno : 0, -EINVAL,
	   "a buffer is no dma-buf");
	close(importer);
	close(dmabuf);
	free(wanted);
}

/* Another program, which has nothing of this one but a socket. */
static int peer(int socket)
{
	int buf = receive_fd(socket);
	uint64_t *data = buf < 0 ? MAP_FAILED
				 : mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
	char byte = 1;

	if (data == MAP_FAILED)
		return 2;
	close(buf); /* the mapping is enough */
	if (check(data, BYTES, 0, SEED) != BYTES)
		return 3;
	for (size_t i = 0; i < COUNT; i++)
		data[i * HUGE / 8] = i;
	if (send(socket, &byte, 1, 0) != 1 || recv(socket, &byte, 1, 0) != 1)
		return 4;
	/* By now whoever pinned it is gone. */
	for (size_t i = 0; i < COUNT; i++)
		if (data[i * HUGE / 8] != 100 + i)
			return 5;
	return 0;
}

static pid_t start_peer(int *ret_socket)
{
	int sockets[2];
	char number[16];
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		give_up("socketpair");
	fflush(stdout);
	child = fork();
	if (!child) {
		fcntl(sockets[1], F_SETFD, 0);
		snprintf(number, sizeof(number), "%d", sockets[1]);
		execl("/proc/self/exe", "driver_test", "peer", number, NULL);
		_exit(127);
	}
	close(sockets[1]);
	*ret_socket = sockets[0];
	return child;
}

/* For driver_pages.py. */
static int hold(void)
{
	struct vmatlas_extent *extents;
	unsigned char *data, *at;
	char line[16];
	size_t count;
	int buf;

	scramble_pool();
	data = huge_pages(COUNT, MAP_PRIVATE);
	count = pagemap_extents(data, BYTES, &extents);
	buf = buf_pin(device_open(), data, BYTES);
	at = map_buf(buf, BYTES, 0);
	printf("{\"start\": %llu, \"bytes\": %zu, \"extents\": [",
	       (unsigned long long)(uintptr_t)at, BYTES);
	for (size_t i = 0; i < count; i++)
		printf("%s[%llu, %llu]", i ? ", " : "", extents[i].offset,
		       extents[i].physical / PAGE);
	printf("]}\n");
	fflush(stdout);
	free(extents);
	if (fgets(line, sizeof(line), stdin)) {
		close(buf);
		printf("closed\n");
		fflush(stdout);
	}
	while (fgets(line, sizeof(line), stdin))
		;
	return 0;
}

struct owner {
	int device;
	int socket;  /* to whom the buffer goes */
	int socket2; /* and once more */
};

/* Pins, hands over, and dies without a word to the driver. */
static int owner(void *with)
{
	struct owner *o = with;
	unsigned char *data = huge_pages(COUNT, MAP_PRIVATE);
	int buf = buf_pin(o->device, data, BYTES);

	fill(data, BYTES, SEED);
	return buf < 0 || send_fd(o->socket, buf) || send_fd(o->socket2, buf);
}

static void test_life(int device)
{
	long free_before = meminfo("HugePages_Free");
	int to_peer, pair[2], buf, dmabuf, status;
	pid_t child = start_peer(&to_peer);
	struct owner with;
	char byte = 1;
	uint64_t *data;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		give_up("socketpair");
	with = (struct owner){ device, to_peer, pair[1] };
	is(in_child(owner, &with), 0, "an owner pins a buffer, gives it to two others, and dies");
	buf = receive_fd(pair[0]);
	ok(recv(to_peer, &byte, 1, 0) == 1,
	   "another process maps it and finds every word in place");
	data = map_buf(buf, BYTES, 0);
	status = 0;
	for (size_t i = 0; i < COUNT; i++)
		status += data[i * HUGE / 8] == i;
	is(status, COUNT, "and what it writes is seen here");
	for (size_t i = 0; i < COUNT; i++)
		data[i * HUGE / 8] = 100 + i;
	munmap(data, BYTES);
	dmabuf = buf_dmabuf(buf);
	close(buf);
	is(meminfo("HugePages_Free"), free_before - COUNT,
	   "the pages are held by a mapping and a dma-buf");
	ok(send(to_peer, &byte, 1, 0) == 1 && waitpid(child, &status, 0) == child && !status,
	   "the other process saw what was written here (%d)", status);
	is(meminfo("HugePages_Free"), free_before - COUNT,
	   "it is gone: they are held by the dma-buf");
	data = map_buf(dmabuf, BYTES, 0);
	close(dmabuf);
	is(meminfo("HugePages_Free"), free_before - COUNT, "and then by a mapping of the dma-buf");
	is((long long)data[5 * HUGE / 8], 105, "with what was in them");
	munmap(data, BYTES);
	is(meminfo("HugePages_Free"), free_before, "the last one is gone: all pages are back");
	close(to_peer);
	close(pair[0]);
	close(pair[1]);
}

/* Every kind of memory that may be pinned. */
static void test_kinds(int device)
{
	size_t bytes = 3 * HUGE;
	int memfd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	int plain = memfd_create("plain", MFD_CLOEXEC);

	struct {
		const char *name;
		void *data;
		size_t bytes;
	} kinds[] = {
		{ "private huge pages", huge_pages(3, MAP_PRIVATE), bytes },
		{ "shared huge pages", huge_pages(3, MAP_SHARED), bytes },
		{ "huge pages of a memfd", NULL, bytes },
		{ "pages of a memfd", NULL, 33 * PAGE },
		{ "pages", plain_pages(65), 65 * PAGE },
		{ "one page", plain_pages(1), PAGE },
		{ "transparent huge pages", plain_pages(3 * HUGE / PAGE), bytes },
	};

	if (ftruncate(memfd, (off_t)bytes) || ftruncate(plain, 33 * (off_t)PAGE))
		give_up("ftruncate");
	kinds[2].data = map_buf(memfd, bytes, 0);
	kinds[3].data = map_buf(plain, 33 * PAGE, 0);
	madvise(kinds[6].data, bytes, MADV_HUGEPAGE);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		int buf = buf_pin(device, kinds[i].data, kinds[i].bytes);
		void *copy = malloc(kinds[i].bytes), *seen;

		if (!ok(buf >= 0, "%s can be pinned (%d)", kinds[i].name, buf))
			continue;
		fill(kinds[i].data, kinds[i].bytes, SEED + i);
		ok(same_extents(buf, kinds[i].data, kinds[i].bytes), "%s: extents", kinds[i].name);
		ok(pread(buf, copy, kinds[i].bytes, 0) == (ssize_t)kinds[i].bytes &&
			   check(copy, kinds[i].bytes, 0, SEED + i) == kinds[i].bytes,
		   "%s: as the kernel reads them", kinds[i].name);
		seen = map_buf(buf, kinds[i].bytes, 0);
		ok(check(seen, kinds[i].bytes, 0, SEED + i) == kinds[i].bytes, "%s: mapped",
		   kinds[i].name);
		munmap(seen, kinds[i].bytes);
		munmap(kinds[i].data, kinds[i].bytes);
		close(buf);
		free(copy);
	}
	close(memfd);
	close(plain);
}

/*
 * One folio, mapped page by page in the wrong order: "of the same folio" is not "the next frame" (CVE-2023-2598). And one whose
 * neighbour is another's: two halves of different folios.
 */
static void test_folio_order(int device)
{
	unsigned char *thp = plain_pages(2 * HUGE / PAGE), *start, *data = plain_pages(64);
	int buf;

	start = (unsigned char *)(((uintptr_t)thp + HUGE - 1) & ~(HUGE - 1));
	madvise(start, HUGE, MADV_HUGEPAGE);
	memset(start, 1, HUGE);
	for (size_t i = 0; i < 64; i++) /* 1 0 3 2 ...: neighbours swapped */
		if (mremap(start + (i ^ 1) * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			   data + i * PAGE) == MAP_FAILED)
			give_up("mremap");
	fill(data, 64 * PAGE, SEED);
	buf = buf_pin(device, data, 64 * PAGE);
	ok(buf >= 0 && same_extents(buf, data, 64 * PAGE),
	   "CVE-2023-2598: pages of one folio in another order are not one extent");
	thp = malloc(64 * PAGE);
	ok(pread(buf, thp, 64 * PAGE, 0) == (ssize_t)(64 * PAGE) &&
		   check(thp, 64 * PAGE, 0, SEED) == 64 * PAGE,
	   "CVE-2023-2598: and are read in theirs");
	free(thp);
	close(buf);
	munmap(data, 64 * PAGE);
}

static double now_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* What things cost on this kernel: printed, never judged; the table of docs/hugebuf-driver.md. */
static void show_costs(int device)
{
	static const char *const names[] = { "fitting huge pages", "at an address that fits none" };
	unsigned char *data = huge_pages(16, MAP_PRIVATE);
	int buf = buf_pin(device, data, 16 * HUGE);
	/* Where an address is a page behind a multiple of 2 MiB, no huge entry can be used. */
	unsigned char *room = plain_pages(17 * HUGE / PAGE);
	unsigned char *misfit = room + HUGE - (uintptr_t)room % HUGE + PAGE;
	struct vmatlas_info info;
	char byte;

	if (pread(buf, &byte, 1, 0) != 1 || buf_info(buf, &info))
		give_up("a buffer of 32 MiB");
	printf("# cost: pin %.0f us/GiB, kernel mapping %.0f us/GiB\n",
	       (double)info.pin_ns / 1e3 * 32, (double)info.map_ns / 1e3 * 32);
	for (size_t i = 0; i < 2; i++) {
		long pte = status_kib("VmPTE"), before;
		double start = now_us(), mapped, touched;
		unsigned char *at = mmap(i ? misfit : NULL, 15 * HUGE, PROT_READ,
					 MAP_SHARED | (i ? MAP_FIXED : 0), buf, 0);

		mapped = now_us();
		before = faults();
		for (size_t page = 0; page < 15 * HUGE; page += PAGE)
			*(volatile unsigned char *)(at + page);
		touched = now_us();
		before = faults() - before;
		printf("# cost: mapping of 30 MiB, %s: %ld faults, page tables +%ld KiB, mmap %.0f us, first touch %.0f us\n",
		       names[i], before, status_kib("VmPTE") - pte, mapped - start,
		       touched - mapped);
		if (i == 0 && info.flags & VMATLAS_INFO_HUGE_FAULT)
			is(before, 15, "one fault for each huge page");
		if (!(info.flags & VMATLAS_INFO_HUGE_FAULT))
			is(before, 0, "no faults where all is mapped at once");
		munmap(at, 15 * HUGE);
	}
	munmap(data, 16 * HUGE);
	close(buf);
}

int main(int argc, char **argv)
{
	long pinned = vmstat("nr_foll_pin_acquired") - vmstat("nr_foll_pin_released");
	unsigned char *data;
	int device, buf;

	if (argc == 2 && !strcmp(argv[1], "hold"))
		return hold();
	if (argc == 3 && !strcmp(argv[1], "peer"))
		return peer((int)strtol(argv[2], NULL, 10));
	scramble_pool();
	device = device_open();
	data = huge_pages(COUNT, MAP_PRIVATE);
	memset(data, 0, BYTES);
	buf = buf_pin(device, data, BYTES);
	ok(buf >= 0, "a buffer of huge pages (%d)", buf);
	is(status_kib("VmPin"), BYTES / 1024, "VmPin shows it");
	test_extents(buf, data);
	test_order(buf, data);
	test_dmabuf(buf, data);
	munmap(data, BYTES);
	is(meminfo("HugePages_Free"), HUGE_POOL - COUNT, "the owner unmaps: its pages stay");
	close(buf);
	is(meminfo("HugePages_Free"), HUGE_POOL, "and closes: they are back");
	is(status_kib("VmPin"), 0, "VmPin, too");
	test_life(device);
	test_kinds(device);
	test_folio_order(device);
	show_costs(device);
	close(device);
	is(meminfo("HugePages_Free"), HUGE_POOL, "in the end the pool is whole");
	is(vmstat("nr_foll_pin_acquired") - vmstat("nr_foll_pin_released"), pinned,
	   "and no pin is left");
	return done();
}
