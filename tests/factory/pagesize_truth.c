/* SPDX-License-Identifier: MIT */
/*
 * pagesize_truth: makes and ends mappings in every way, and asks vmat_pagesize_at() after each step. What
 * it must say is known from the step itself. It links nothing of vmatlas: the function is that of a
 * preloaded library, or is not there. Prints one line of TAP for each step.
 *
 *   pagesize_truth           the steps
 *   pagesize_truth storm S   4 threads map, ask, unmap and ask for S seconds, under a storm of signals
 *                            whose handler does the same, with forks in between
 *   pagesize_truth table N   N regions that do not merge, then each of their pages is asked for
 *   pagesize_truth none      only asks once, without the library
 */
#include <dlfcn.h>
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, HUGE = 2 << 20 };

/*
 * A weak reference, as the manual tells who links nothing. A weak *definition* here would be found before
 * that of a preloaded library: the program stands first in the order of search (ld.so(8), LD_DYNAMIC_WEAK).
 */
extern ssize_t vmat_pagesize_at(const void *addr) __attribute__((weak));

static ssize_t ask(const void *addr)
{
	return vmat_pagesize_at ? vmat_pagesize_at(addr) : -ENOTSUP;
}

static unsigned checks;

static void ok(bool is_true, const char *what)
{
	printf("%sok %u - %s\n", is_true ? "" : "not ", ++checks, what);
}

static void skip(const char *what, const char *why)
{
	printf("ok %u - %s # SKIP %s\n", ++checks, what, why);
}

/* Whether every page of [addr, addr + size) has this size. Asked twice: the second answer is from the table. */
static bool all_are(const char *addr, size_t size, ssize_t wanted)
{
	for (int turn = 0; turn < 2; turn++) {
		for (size_t at = 0; at < size; at += PAGE) {
			ssize_t got = ask(addr + at);

			if (got != wanted) {
				printf("# %p + %#zx: %zd, not %zd\n", (const void *)addr, at, got,
				       wanted);
				return false;
			}
		}
		if (size && ask(addr + size - 1) != wanted)
			return false;
	}
	return true;
}

static char *map(size_t size, int flags)
{
	char *got = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags,
			 -1, 0);

	return got == MAP_FAILED ? NULL : got;
}

static void anonymous(void)
{
	char *memory = map(64 * PAGE, 0), *moved;

	ok(all_are(memory, 64 * PAGE, PAGE), "mmap: base pages");
	munmap(memory + 8 * PAGE, 8 * PAGE);
	ok(all_are(memory, 8 * PAGE, PAGE) && all_are(memory + 8 * PAGE, 8 * PAGE, -EFAULT) &&
		   all_are(memory + 16 * PAGE, 48 * PAGE, PAGE),
	   "munmap of a part");
	mprotect(memory, 4 * PAGE, PROT_NONE);
	ok(all_are(memory, 8 * PAGE, PAGE), "mprotect changes nothing");
	moved = mremap(memory + 16 * PAGE, 48 * PAGE, 8192 * PAGE, MREMAP_MAYMOVE);
	ok(moved != MAP_FAILED && all_are(moved, 8192 * PAGE, PAGE) &&
		   (moved == memory + 16 * PAGE || all_are(memory + 16 * PAGE, 48 * PAGE, -EFAULT)),
	   "mremap that moves");
	moved = mremap(moved, 8192 * PAGE, 16 * PAGE, 0);
	ok(all_are(moved, 16 * PAGE, PAGE) && all_are(moved + 16 * PAGE, 8176 * PAGE, -EFAULT),
	   "mremap that shrinks");
	(void)mmap(memory + 8 * PAGE, 8 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		   -1, 0);
	ok(all_are(memory, 16 * PAGE, PAGE), "MAP_FIXED into a hole");
	ok(munmap(memory + 1, PAGE) == -1 && errno == EINVAL && all_are(memory, 16 * PAGE, PAGE),
	   "a munmap that fails changes nothing, and errno is kept");
	munmap(memory, 16 * PAGE);
	munmap(moved, 16 * PAGE);
	ok(all_are(memory, 16 * PAGE, -EFAULT) && all_are(moved, 16 * PAGE, -EFAULT),
	   "munmap of all");
}

static void huge(void)
{
	size_t size = 4L * HUGE;
	char *memory = map(size, 0), *place;
	int fd;

	madvise(memory, size, MADV_HUGEPAGE);
	memset(memory, 1, size);
	ok(all_are(memory, size, PAGE),
	   "transparent huge pages: the mapping's pages are base pages");
	munmap(memory, size);
	memory = map(HUGE, MAP_HUGETLB);
	if (!memory) {
		skip("hugetlb", "no huge pages are set aside");
		return;
	}
	ok(all_are(memory, HUGE, HUGE), "MAP_HUGETLB: 2 MiB");
	munmap(memory, HUGE);
	ok(all_are(memory, HUGE, -EFAULT), "MAP_HUGETLB: unmapped");
	fd = memfd_create("huge", MFD_HUGETLB | MFD_CLOEXEC);
	place = map(2L * HUGE, 0);
	place = (char *)(((uintptr_t)place + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	memory = mmap(place, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (fd >= 0 && !ftruncate(fd, HUGE) && memory != MAP_FAILED)
		ok(all_are(memory, HUGE, HUGE), "huge pages of a memfd, put over base pages");
	else
		skip("huge pages of a memfd", "the kernel gives none");
	(void)mmap(place, HUGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ok(all_are(place, HUGE, PAGE), "base pages put over huge ones");
}

static void shared(void)
{
	int id = shmget(IPC_PRIVATE, 5 * PAGE, 0600 | IPC_CREAT);
	char *memory = shmat(id, NULL, 0);

	shmctl(id, IPC_RMID, NULL);
	ok(all_are(memory, 5 * PAGE, PAGE), "shmat");
	shmdt(memory);
	ok(all_are(memory, 5 * PAGE, -EFAULT), "shmdt");
}

/* The address of what is gone by then is what the test is about; the compiler need not know. */
static uintptr_t hidden(uintptr_t addr)
{
	__asm__("" : "+r"(addr));
	return addr;
}

static void heap(void)
{
	char *blocks[64];
	bool is_right = true;
	uintptr_t before;

	for (int i = 0; i < 64; i++) {
		blocks[i] = malloc((size_t)100000 + i);
		is_right &= all_are(blocks[i], 100000, PAGE);
	}
	ok(is_right, "malloc from the heap");
	for (int i = 0; i < 64; i++)
		free(blocks[i]);
	ok((char *)sbrk(0) < blocks[63] ? all_are(blocks[63], 50000, -EFAULT) : true,
	   "the heap that free gave back");
	blocks[0] = malloc(64 << 20);
	ok(all_are(blocks[0], 64 << 20, PAGE), "a big malloc");
	before = hidden((uintptr_t)blocks[0]);
	blocks[1] = realloc(blocks[0], 80 << 20);
	ok(all_are(blocks[1], 80 << 20, PAGE) && (before == (uintptr_t)blocks[1] ||
						  all_are((const char *)before, 64 << 20, -EFAULT)),
	   "a big realloc");
	before = hidden((uintptr_t)blocks[1]);
	free(blocks[1]);
	ok(all_are((const char *)before, 80 << 20, -EFAULT), "a big free");
	sbrk(16 * PAGE);
	is_right = all_are((char *)sbrk(0) - 8 * PAGE, 8 * PAGE, PAGE);
	sbrk(-16 * PAGE);
	ok(is_right && ask((char *)sbrk(0) + PAGE) == -EFAULT, "sbrk up and down");
}

static void *thread_main(void *argument)
{
	char local[3 * PAGE];
	char *block = malloc(70000);

	memset(local, 1, sizeof(local));
	*(bool *)argument = all_are(local, sizeof(local), PAGE) && all_are(block, 70000, PAGE);
	free(block);
	return (void *)hidden((uintptr_t)local);
}

static void threads(void)
{
	bool is_right = false;
	pthread_attr_t attr;
	pthread_t thread;
	void *local = NULL;

	pthread_attr_init(&attr);
	/* Above glibc's cache of stacks (40 MiB), so that it is unmapped at once. */
	pthread_attr_setstacksize(&attr, 64 << 20);
	pthread_create(&thread, &attr, thread_main, &is_right);
	pthread_join(thread, &local);
	ok(is_right, "a thread's stack and heap");
	ok(ask(local) == -EFAULT, "the stack of a thread that has ended");
}

static void objects(void)
{
	void *handle = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
	void *function = handle ? dlsym(handle, "cbrt") : NULL;

	if (!function) {
		skip("dlopen", "there is no libm");
		return;
	}
	ok(all_are((char *)((uintptr_t)function & ~(uintptr_t)(PAGE - 1)), PAGE, PAGE), "dlopen");
	dlclose(handle);
	if (dlopen("libm.so.6", RTLD_NOLOAD | RTLD_NOW))
		skip("dlclose", "libm stays: somebody else needs it");
	else
		ok(ask(function) == -EFAULT, "dlclose");
}

static void children(void)
{
	char *memory = map(PAGE, 0);
	int status = 0;
	pid_t child;

	ok(all_are(memory, PAGE, PAGE), "before a fork");
	child = fork();
	if (child == 0) {
		munmap(memory, PAGE);
		_exit(!all_are(memory, PAGE, -EFAULT) || !all_are((char *)&status, 1, PAGE));
	}
	waitpid(child, &status, 0);
	ok(status == 0 && all_are(memory, PAGE, PAGE), "a child unmaps, and the parent's stays");
}

/* The storm. */
static _Atomic bool is_over;
static _Atomic unsigned long steps, wrong;

static void expect(const char *addr, ssize_t wanted)
{
	if (ask(addr) != wanted)
		wrong++;
}

static void step(size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return;
	expect(memory, PAGE);
	expect(memory + size - 1, PAGE);
	munmap(memory + PAGE, PAGE);
	expect(memory, PAGE);
	expect(memory + 2 * PAGE, PAGE);
	munmap(memory, size);
	steps++;
}

static void on_signal(int number)
{
	(void)number;
	step(4 * PAGE);
}

/* A place that only this thread uses: it is reserved, so nobody else is given it when it is a hole for a moment. */
static void *storm_main(void *argument)
{
	char *own = mmap(NULL, 64L * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			 -1, 0);
	unsigned seed = (unsigned)(uintptr_t)argument;

	while (!is_over) {
		size_t at = (size_t)(rand_r(&seed) % 32000) * PAGE;
		size_t size = (size_t)(1 + rand_r(&seed) % 300) * PAGE;

		step((size_t)(3 + rand_r(&seed) % 600) * PAGE);
		(void)mmap(own + at, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			   0);
		expect(own + at + size / 2, PAGE);
		expect(own + at + size - 1, PAGE);
	}
	return NULL;
}

static int storm(unsigned seconds)
{
	const struct itimerval tick = { { 0, 300 }, { 0, 300 } };
	const struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	time_t end = time(NULL) + (time_t)seconds;
	unsigned long forks = 0, failed = 0;
	pthread_t thread[4];

	for (size_t i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, storm_main, (void *)(i + 1));
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &tick, NULL);
	while (time(NULL) < end) {
		pid_t child = fork();
		int status = 0;

		if (child == 0) {
			wrong = 0;
			step(16 * PAGE);
			_exit(wrong != 0);
		}
		while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		forks++;
		failed += status != 0;
	}
	is_over = true;
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	printf("# %lu steps, %lu forks\n", steps, forks);
	ok(steps > 1000 && wrong == 0, "no wrong answer in a storm");
	ok(forks > 10 && failed == 0, "no child that hung or was wrong");
	return 0;
}

static int table(size_t count)
{
	bool is_right = true;
	char **regions = calloc(count, sizeof(*regions));

	for (size_t i = 0; i < count; i++) {
		regions[i] = mmap(NULL, 2 * PAGE, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (regions[i] == MAP_FAILED)
			err(1, "mmap of region %zu", i);
	}
	for (size_t i = 0; i < count; i++)
		is_right &= ask(regions[i]) == PAGE;
	for (size_t i = 0; i < count; i += 2)
		munmap(regions[i], 2 * PAGE);
	for (size_t i = 0; i < count; i++)
		is_right &= ask(regions[i]) == (i % 2 ? PAGE : -EFAULT);
	ok(is_right, "many regions, half of them unmapped");
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 2 && !strcmp(argv[1], "storm"))
		storm((unsigned)strtoul(argv[2], NULL, 10));
	else if (argc > 2 && !strcmp(argv[1], "table"))
		table(strtoul(argv[2], NULL, 10));
	else if (argc > 1 && !strcmp(argv[1], "none"))
		ok(ask(&argc) == -ENOTSUP, "without the library the reference is NULL");
	else {
		anonymous();
		huge();
		shared();
		heap();
		threads();
		objects();
		children();
	}
	printf("1..%u\n", checks);
	return 0;
}
