/* SPDX-License-Identifier: MIT */
/*
 * driver_fuzz: random calls of /dev/vmatlas by two threads that share their descriptors, so that each call races with closing,
 * mapping and forking.
 *
 * usage: driver_fuzz CALLS [SEED]     in a guest with vmatlas.ko
 *
 * Structures are half right: a random choice of fields is as it should be, the others come from a list of interesting numbers.
 * What must hold: only the errno of include/uapi/vmatlas.h, guards around what may be written stay, and in the end nothing is
 * pinned. That the kernel survives and says nothing is for whoever reads its log.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver_guest.h"

#define SLOTS   16
#define MEMORY  (64 * PAGE)
#define THREADS 2
#define GUARD   0x5a

struct fuzzer {
	uint64_t random;
	long calls;
	unsigned char *scratch; /* a page of structures, then one without rights */
	unsigned char *output;  /* for extents, in the middle of three pages */
	long pins, extents, dmabufs, maps, forks;
	int strange; /* an errno that nobody announced, or 0 */
	unsigned long strange_command;
	bool is_overrun;
};

static int device, foreign;
static _Atomic int slots[SLOTS];
static unsigned char *memory; /* writable, read-only, without rights */
static unsigned char *huge;

static uint64_t next(struct fuzzer *f)
{
	/* xorshift64*, by Vigna. */
	f->random ^= f->random >> 12;
	f->random ^= f->random << 25;
	f->random ^= f->random >> 27;
	return f->random * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t below(struct fuzzer *f, uint64_t limit)
{
	return (next(f) >> 11) % limit;
}

static uint64_t interesting(struct fuzzer *f)
{
	static const uint64_t numbers[] = {
		0,
		1,
		7,
		8,
		24,
		40,
		47,
		48,
		49,
		64,
		255,
		PAGE - 1,
		PAGE,
		PAGE + 1,
		2 * PAGE,
		HUGE,
		HUGE + PAGE,
		INT32_MAX,
		UINT32_MAX,
		UINT64_C(1) << 32,
		UINT64_C(0x7ffffffff000),
		INT64_MAX,
		UINT64_C(0xffff888000000000),
		UINT64_MAX - PAGE + 1,
		UINT64_MAX - 1,
		UINT64_MAX,
	};

	switch (below(f, 4)) {
	case 0:
		return next(f);
	case 1:
		return (uintptr_t)memory + below(f, MEMORY);
	default:
		return numbers[below(f, sizeof(numbers) / sizeof(numbers[0]))];
	}
}

static bool chance(struct fuzzer *f, unsigned one_in)
{
	return below(f, one_in) == 0;
}

static int any_fd(struct fuzzer *f)
{
	switch (below(f, 16)) {
	case 0:
		return foreign;
	case 1:
		return -1;
	case 2:
	case 3:
		return device;
	default:
		return slots[below(f, SLOTS)];
	}
}

static void keep(struct fuzzer *f, int fd)
{
	int old = atomic_exchange(&slots[below(f, SLOTS)], fd);

	if (old >= 0)
		close(old);
}

/* A structure in the scratch page, sometimes at its very end. */
static void *place(struct fuzzer *f, const void *structure, size_t size)
{
	size_t at = chance(f, 3) ? PAGE - size : below(f, PAGE - size) & ~(size_t)7;

	if (chance(f, 200))
		return (void *)(uintptr_t)interesting(f); // NOLINT(performance-no-int-to-ptr)
	if (chance(f, 100))
		at = PAGE - size / 2;
	memcpy(f->scratch + at, structure, at + size <= PAGE ? size : PAGE - at);
	return f->scratch + at;
}

static void spoil(struct fuzzer *f, void *structure, size_t size)
{
	unsigned char *bytes = structure;
	uint64_t number = interesting(f);

	if (!chance(f, 3))
		return;
	if (chance(f, 2))
		memcpy(bytes + below(f, size / 4) * 4, &number, 4);
	else
		memcpy(bytes + below(f, size / 8) * 8, &number, 8);
}

static int call(struct fuzzer *f, int fd, unsigned long command, void *arg)
{
	static const int announced[] = { EINVAL, EFAULT, ENOMEM, EBUSY, E2BIG,
					 ENOTTY, EMFILE, EINTR,  EBADF };
	int got = ioctl(fd, command, arg), error = got < 0 ? errno : 0;

	f->calls--;
	for (size_t i = 0; error && i < sizeof(announced) / sizeof(announced[0]); i++)
		if (announced[i] == error)
			return -error;
	if (error) {
		f->strange = error;
		f->strange_command = command;
	}
	return error ? -error : got;
}

static void fuzz_pin(struct fuzzer *f)
{
	struct vmatlas_pin pin = { .size = sizeof(pin),
				   .addr = (uintptr_t)memory + below(f, MEMORY / PAGE) * PAGE,
				   .bytes = (1 + below(f, 8)) * PAGE };
	int got;

	if (chance(f, 16)) {
		pin.addr = (uintptr_t)huge;
		pin.bytes = HUGE * (1 + below(f, 2));
	}
	spoil(f, &pin, sizeof(pin));
	got = call(f, chance(f, 8) ? any_fd(f) : device, VMATLAS_PIN, place(f, &pin, sizeof(pin)));
	if (got >= 0) {
		f->pins++;
		keep(f, got);
	}
}

static void fuzz_extents(struct fuzzer *f)
{
	struct vmatlas_extents list = { .size = sizeof(list),
					.first = below(f, 12),
					.count = below(f, 9),
					.extents = (uintptr_t)f->output + PAGE };

	/* As much as fits before the guard. */
	if (chance(f, 2)) {
		list.count = 1 + below(f, 8);
		list.extents = (uintptr_t)f->output + 2 * PAGE -
			       list.count * sizeof(struct vmatlas_extent);
	}
	/* What is written may be longer or elsewhere if these are spoilt: only what cannot reach the guards. */
	if (chance(f, 3)) {
		list.size = (uint32_t)interesting(f);
		list.flags = (uint32_t)interesting(f);
		list.first = interesting(f);
	}
	if (call(f, any_fd(f), VMATLAS_EXTENTS, place(f, &list, sizeof(list))) >= 0)
		f->extents++;
}

static void fuzz_map(struct fuzzer *f)
{
	size_t bytes = chance(f, 4) ? HUGE * (1 + below(f, 3)) : (1 + below(f, 12)) * PAGE;
	size_t half;
	off_t offset = chance(f, 2) ? 0
				    : (off_t)(chance(f, 4) ? interesting(f) & ~(PAGE - 1)
							   : below(f, 10) * PAGE);
	volatile unsigned char *at = mmap(NULL, bytes, PROT_READ | (chance(f, 2) ? PROT_WRITE : 0),
					  MAP_SHARED, any_fd(f), offset);

	if (at == MAP_FAILED)
		return;
	f->maps++;
	/* A shorter buffer's mapping was refused; a pipe or a dma-buf as well: all that is mapped can be read. */
	for (size_t page = 0; page < bytes; page += PAGE)
		at[page];
	if (chance(f, 100)) {
		pid_t child = fork();

		if (!child)
			_exit(at[0] & 0);
		if (child > 0)
			f->forks += waitpid(child, NULL, 0) == child;
	}
	/* In two parts, the second first: what is gone another thread may have taken, so nothing is unmapped twice. */
	half = bytes / 2 / PAGE * PAGE;
	munmap((void *)(uintptr_t)(at + half), bytes - half);
	if (half)
		munmap((void *)(uintptr_t)at, half);
}

static void fuzz_read_write(struct fuzzer *f)
{
	unsigned char bytes[64];
	off_t at = (off_t)(chance(f, 2) ? below(f, 8 * PAGE) : interesting(f) & INT64_MAX);
	int fd = slots[below(f, SLOTS)];

	if (fd < 0)
		return;
	if (chance(f, 2))
		at = pread(fd, bytes, below(f, sizeof(bytes)), at);
	else if (chance(f, 2))
		at = pwrite(fd, memory + below(f, MEMORY), below(f, PAGE),
			    at); /* may run into no rights */
	else
		at = lseek(fd, at, (int)below(f, 6));
	if (at > INT64_MAX - 1)
		f->strange = EOVERFLOW;
}

static void step(struct fuzzer *f)
{
	struct vmatlas_info info = { .size = sizeof(info) };
	struct vmatlas_dmabuf ask = { .size = sizeof(ask) };
	int got;

	switch (below(f, 16)) {
	case 0:
	case 1:
		fuzz_pin(f);
		break;
	case 2:
		spoil(f, &ask, sizeof(ask));
		got = call(f, any_fd(f), VMATLAS_DMABUF, place(f, &ask, sizeof(ask)));
		if (got >= 0) {
			f->dmabufs++;
			keep(f, got);
		}
		break;
	case 3:
		if (chance(f, 8))
			fuzz_map(f);
		else if (chance(f, 2))
			fuzz_read_write(f);
		else if (chance(f, 8))
			keep(f, -1);
		break;
	case 4:
		/* Not PIN: that one returns descriptors, which are to be kept. */
		call(f, any_fd(f), _IO(VMATLAS_IOC, 4 + below(f, 252)), (void *)f->scratch);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
	case 9:
		spoil(f, &info, sizeof(info));
		call(f, any_fd(f), VMATLAS_INFO, place(f, &info, sizeof(info)));
		break;
	default:
		fuzz_extents(f);
	}
}

static bool guards_hold(const struct fuzzer *f)
{
	for (size_t i = 0; i < PAGE; i++)
		if (f->output[i] != GUARD || f->output[2 * PAGE + i] != GUARD)
			return false;
	return true;
}

static void *run(void *with)
{
	struct fuzzer *f = with;

	f->scratch = plain_pages(2);
	mprotect(f->scratch + PAGE, PAGE, PROT_NONE);
	f->output = plain_pages(3);
	memset(f->output, GUARD, 3 * PAGE);
	for (long n = 0; f->calls > 0 && !f->strange; n++) {
		step(f);
		if (n % 4096 == 0 && !guards_hold(f))
			f->is_overrun = true;
	}
	f->is_overrun = f->is_overrun || !guards_hold(f);
	return NULL;
}

/*
 * What may be pinned is also written to. So it lies at the beginning of a range without rights that no interesting length leaves: nothing
 * of ours may be behind it. Nor are there holes, which another thread's mapping could fill.
 */
static void make_memory(void)
{
	memory = plain_pages((MEMORY + 2 * HUGE) / PAGE);
	memset(memory, 1, MEMORY);
	mprotect(memory + MEMORY, 2 * HUGE, PROT_NONE);
	mprotect(memory + MEMORY / 2, 4 * PAGE, PROT_READ);
	mprotect(memory + MEMORY / 4, 2 * PAGE, PROT_NONE);
	huge = huge_pages(2, MAP_SHARED);
}

int main(int argc, char **argv)
{
	long calls = argc > 1 ? strtol(argv[1], NULL, 10) : 100000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	long pinned = vmstat("nr_foll_pin_acquired") - vmstat("nr_foll_pin_released");
	struct fuzzer fuzzers[THREADS] = { 0 }, sum = { 0 };
	pthread_t threads[THREADS];
	int ends[2];

	scramble_pool();
	device = device_open();
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		give_up("pipe");
	foreign = ends[0];
	for (size_t i = 0; i < SLOTS; i++)
		slots[i] = -1;
	make_memory();
	for (size_t i = 0; i < THREADS; i++) {
		fuzzers[i].random = (seed + i) * UINT64_C(0x9e3779b97f4a7c15);
		fuzzers[i].calls = calls / THREADS;
		if (pthread_create(&threads[i], NULL, run, &fuzzers[i]))
			give_up("pthread_create");
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		sum.pins += fuzzers[i].pins;
		sum.extents += fuzzers[i].extents;
		sum.dmabufs += fuzzers[i].dmabufs;
		sum.maps += fuzzers[i].maps;
		sum.forks += fuzzers[i].forks;
		is(fuzzers[i].strange, 0,
		   "thread %zu: only the errno that are announced (command %#lx)", i,
		   fuzzers[i].strange_command);
		ok(!fuzzers[i].is_overrun,
		   "thread %zu: nothing is written beside what was asked for", i);
	}
	printf("# %ld calls, seed %llu: %ld pins, %ld lists of extents, %ld dma-bufs, %ld mappings, %ld forks\n",
	       calls, (unsigned long long)seed, sum.pins, sum.extents, sum.dmabufs, sum.maps,
	       sum.forks);
	ok(sum.pins > calls / 100 && sum.extents > calls / 100 && sum.dmabufs > calls / 1000 &&
		   sum.maps > calls / 1000,
	   "a fair part of the calls was right");
	close_range(3, ~0U, 0);
	munmap(huge, 2 * HUGE);
	is(status_kib("VmPin"), 0, "nothing is pinned");
	is(meminfo("HugePages_Free"), HUGE_POOL, "the pool is whole");
	is(vmstat("nr_foll_pin_acquired") - vmstat("nr_foll_pin_released"), pinned,
	   "no pin is left");
	return done();
}
