/*
 * tour: a process whose memory holds a bit of everything, to look at with vmatlas.
 *
 * It makes threads with every kind of stack, a heap with holes, arenas, mapped files with copied
 * pages, shared, huge and reserved memory, code made at run time, and a child that shares pages
 * with it. It says in one line each what it made, prints "ready PID", and waits.
 *
 * It ends, and takes its child and its files with it, at the end of its standard input when that
 * is a pipe or a terminal, or at SIGTERM, SIGINT or SIGHUP. With any other standard input
 * (/dev/null, a file) only a signal ends it, so that it can be started in the background.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Since Linux 5.17; older kernels and headers lack it, and the regions then stay without a name. */
#ifndef PR_SET_VMA
#define PR_SET_VMA           0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

enum {
	KIB = 1024,
	MIB = 1024 * KIB,
	HUGE_PAGE = 2 * MIB,
	WORKERS = 4,
	FILE_PAGES = 4,
	SHARED_PAGES = 8,
};

static size_t page_size;
static char file_path[4096];
static char shm_name[64];
static pid_t child_pid;

/* A stack that the program supplies itself; it lies in bss, as stacks of embedded code do. */
static char own_stack[256 * KIB] __attribute__((aligned(4096)));

static char *private_file;
static char *shared_with_child;

/* Threads say here that they have done their part; then they wait until the process ends. */
static pthread_barrier_t everyone_is_up;

static void say(const char *what, const char *text)
{
	printf("%-10s %s\n", what, text);
}

static void name_region(void *start, size_t size, const char *name)
{
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, size, name);
}

static void *map_or_die(size_t size, int prot, int flags, int fd)
{
	void *start = mmap(NULL, size, prot, flags, fd, 0);

	if (start == MAP_FAILED)
		err(1, "cannot map %zu bytes", size);
	return start;
}

static void write_page(char *start, size_t page)
{
	memcpy(start + page * page_size, "written by tour", 16);
}

static char read_page(const char *start, size_t page)
{
	return *(volatile const char *)(start + page * page_size);
}

/*
 * Fills the heap of the calling thread with blocks of mixed sizes and frees every third one. The
 * blocks hang together in a list, so that a leak checker finds every one of them.
 */
struct block {
	struct block *next;
	char payload[];
};

static __thread struct block *blocks;

/* One list per thread and one for main, reachable from data of the program. */
static struct block *all_blocks[WORKERS + 1];

static void fill_heap(size_t owner, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct block *kept = malloc(sizeof(*kept) + 24 + (i * 37) % 900);
		void *hole = i % 3 == 0 ? malloc(200 + (i * 53) % 2000) : NULL;

		if (!kept)
			err(1, "cannot allocate");
		memset(kept->payload, 'k', 24);
		kept->next = blocks;
		blocks = kept;
		free(hole);
	}
	/* Holes between blocks that live: free every fourth block of the list. */
	for (struct block *b = blocks; b && b->next && b->next->next; b = b->next->next) {
		struct block *gone = b->next;

		b->next = gone->next;
		free(gone);
	}
	all_blocks[owner] = blocks;
}

struct worker {
	const char *name;
	size_t heap_owner; /* 0: this thread does not allocate */
};

static void *work(void *arg)
{
	const struct worker *self = arg;

	pthread_setname_np(pthread_self(), self->name);
	if (self->heap_owner)
		fill_heap(self->heap_owner, 400);
	pthread_barrier_wait(&everyone_is_up);
	for (;;)
		pause();
	return NULL;
}

static void *leave_at_once(void *arg)
{
	return arg;
}

static pthread_t start_thread(const pthread_attr_t *attr, void *(*body)(void *), void *arg)
{
	pthread_t thread;
	int ret = pthread_create(&thread, attr, body, arg);

	if (ret)
		errx(1, "cannot start a thread: %s", strerror(ret));
	return thread;
}

static void make_threads(void)
{
	static struct worker workers[WORKERS] = {
		{ "worker-0", 1 }, { "worker-1", 2 }, { "worker-2", 3 }, { "worker-3", 4 }
	};
	static struct worker small = { "small", 0 };
	static struct worker guardless[] = { { "guardless-0", 0 }, { "guardless-1", 0 } };
	static struct worker own = { "own-stack", 0 };
	static struct worker mapped = { "mapped-stack", 0 };
	const size_t mapped_size = 128 * KIB;
	void *mapped_stack = map_or_die(mapped_size, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1);
	pthread_attr_t attr;
	pthread_t gone;

	pthread_barrier_init(&everyone_is_up, NULL, WORKERS + 5 + 1);
	for (size_t i = 0; i < WORKERS; i++)
		start_thread(NULL, work, &workers[i]);

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * KIB);
	start_thread(&attr, work, &small);
	pthread_attr_setguardsize(&attr, 0);
	start_thread(&attr, work, &guardless[0]);
	start_thread(&attr, work, &guardless[1]);
	pthread_attr_setstack(&attr, own_stack, sizeof(own_stack));
	start_thread(&attr, work, &own);
	pthread_attr_setstack(&attr, mapped_stack, mapped_size);
	start_thread(&attr, work, &mapped);
	pthread_attr_destroy(&attr);
	pthread_barrier_wait(&everyone_is_up);

	/* Last, because the next thread to be made would take this stack out of glibc's cache. */
	gone = start_thread(NULL, leave_at_once, NULL);
	pthread_join(gone, NULL);

	say("threads", "4 with default stacks (worker-0 to 3), each with an arena of its own");
	say("", "1 with a stack of 64 KiB (small), 2 of those without a guard (guardless-0, 1)");
	say("", "2 on stacks that the program supplied: in bss (own-stack), mapped (mapped-stack)");
	say("", "1 that has exited: its default stack stays in glibc's cache");
}

static void make_heap(void)
{
	static char *large[3];

	fill_heap(0, 2000);
	for (size_t i = 0; i < 3; i++) {
		large[i] = malloc((i + 1) * MIB);
		if (!large[i])
			err(1, "cannot allocate");
		memset(large[i], 'm', (i + 1) * 64 * KIB);
	}
	say("heap",
	    "about 1600 blocks with holes between them; 3 mmapped blocks of 1, 2 and 3 MiB");
}

static void make_private_file(void)
{
	const char *folder = getenv("TMPDIR");
	char page[4096];
	int fd;

	snprintf(file_path, sizeof(file_path), "%s/vmatlas-tour-XXXXXX", folder ? folder : "/tmp");
	fd = mkostemp(file_path, O_CLOEXEC);
	if (fd < 0) {
		file_path[0] = '\0';
		err(1, "cannot create a file in %s", folder ? folder : "/tmp");
	}
	memset(page, 'f', sizeof(page));
	for (size_t done = 0; done < FILE_PAGES * page_size; done += sizeof(page))
		if (write(fd, page, sizeof(page)) != (ssize_t)sizeof(page))
			err(1, "cannot write %s", file_path);
	private_file = map_or_die(FILE_PAGES * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	close(fd);
	write_page(private_file, 0);
	write_page(private_file, 2);
	read_page(private_file, 3);
	printf("%-10s %s: 4 pages, private; 0 and 2 written (copied), 3 read\n", "file", file_path);
}

static void make_shared(void)
{
	const size_t size = 16 * page_size;
	char *anonymous = map_or_die(size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	char *posix, *memory_file;
	int fd;

	for (size_t i = 0; i < 4; i++)
		write_page(anonymous, i);

	snprintf(shm_name, sizeof(shm_name), "/vmatlas-tour-%d", (int)getpid());
	fd = shm_open(shm_name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)size))
		err(1, "cannot create the shared memory %s", shm_name);
	posix = map_or_die(size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	close(fd);
	for (size_t i = 0; i < 8; i++)
		write_page(posix, i);

	fd = memfd_create("tour-memfd", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size))
		err(1, "cannot create a memfd");
	memory_file = map_or_die(size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	close(fd);
	write_page(memory_file, 0);
	say("shared", "anonymous, POSIX shm and memfd memory of 16 pages, with 4, 8 and 1 written");
}

static void make_huge(void)
{
	char *area = map_or_die(3 * HUGE_PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	uintptr_t first = ((uintptr_t)area + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	char *pool;

	madvise(area, 3 * HUGE_PAGE, MADV_HUGEPAGE);
	name_region(area, 3 * HUGE_PAGE, "tour: transparent huge pages");
	memset((char *)first, 'h', HUGE_PAGE);
	say("huge", "6 MiB with MADV_HUGEPAGE, 2 MiB of it written");

	pool = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (pool == MAP_FAILED) {
		say("", "no hugetlb page: vm.nr_hugepages leaves none free");
		return;
	}
	write_page(pool, 0);
	say("", "1 hugetlb page of 2 MiB");
}

static void make_reserved(void)
{
	map_or_die(1024UL * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	say("reserved", "1 GiB without any right of access");
}

/* Puts a function that returns 42 into anonymous memory, makes it executable, and calls it. */
static void make_code(void)
{
#if defined(__x86_64__) || defined(__i386__)
	static const unsigned char code[] = { 0xb8, 0x2a, 0, 0, 0, 0xc3 };
#elif defined(__aarch64__)
	static const unsigned char code[] = { 0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6 };
#else
	static const unsigned char code[] = { 0 };
#endif
	char *start =
		map_or_die(4 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	int (*answer)(void);

	memcpy(start, code, sizeof(code));
	memcpy(&answer, &start, sizeof(answer));
	if (mprotect(start, 4 * page_size, PROT_READ | PROT_EXEC)) {
		say("code", "none: executable anonymous memory is forbidden here");
		return;
	}
	__builtin___clear_cache(start, start + sizeof(code));
	if (sizeof(code) > 1 && answer() != 42)
		errx(1, "the function made at run time does not work");
	say("code", "4 executable anonymous pages with a function that was called");
}

static void live_as_child(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	prctl(PR_SET_NAME, "tour-child");
	write_page(shared_with_child, 0);
	write_page(shared_with_child, 5);
	write_page(private_file, 1);
	for (;;)
		pause();
}

static void make_child(void)
{
	const size_t size = SHARED_PAGES * page_size;
	pid_t parent = getpid();

	shared_with_child =
		map_or_die(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	name_region(shared_with_child, size, "tour: shared with the child");
	memset(shared_with_child, 's', size);
	fflush(stdout);
	child_pid = fork();
	if (child_pid < 0)
		err(1, "cannot fork");
	if (child_pid == 0)
		live_as_child(parent);
	printf("%-10s process %d: wrote 2 of 8 anonymous pages that it shares, and page 1 of the "
	       "file\n",
	       "child", (int)child_pid);
}

/* Runs at every exit of the parent; the child never returns from live_as_child(). */
static void clean_up(void)
{
	if (child_pid > 0) {
		kill(child_pid, SIGKILL);
		waitpid(child_pid, NULL, 0);
	}
	if (shm_name[0])
		shm_unlink(shm_name);
	if (file_path[0])
		unlink(file_path);
}

static bool stdin_can_end(void)
{
	struct stat st;

	return fstat(STDIN_FILENO, &st) == 0 &&
	       (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(STDIN_FILENO));
}

static void wait_for_the_end(int signal_fd)
{
	struct pollfd fds[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = stdin_can_end() ? STDIN_FILENO : -1, .events = POLLIN },
	};
	char ignored[256];

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			err(1, "cannot wait");
		if (fds[0].revents)
			return;
		if (fds[1].revents && read(STDIN_FILENO, ignored, sizeof(ignored)) <= 0)
			return;
	}
}

int main(void)
{
	sigset_t ends;
	int signal_fd;

	page_size = (size_t)sysconf(_SC_PAGESIZE);
	/* Blocked before the first thread starts, so that no thread takes them. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	signal_fd = signalfd(-1, &ends, SFD_CLOEXEC);
	if (signal_fd < 0)
		err(1, "cannot receive signals");
	atexit(clean_up);

	make_heap();
	make_private_file();
	make_shared();
	make_huge();
	make_reserved();
	make_code();
	make_threads();
	make_child();
	printf("ready %d\n", (int)getpid());
	fflush(stdout);

	wait_for_the_end(signal_fd);
	return 0;
}
