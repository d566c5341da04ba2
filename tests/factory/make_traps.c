/*
 * uffd and zombie: targets that harm a reader who does not take care.
 *
 * A page of a userfaultfd range that nobody serves stops whoever reads it: process_vm_readv for
 * ever, in state D. The kernel interface is declared here, as musl's headers do not have it.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "factory.h"

/* linux/userfaultfd.h, Linux 4.3. */
struct uffd_api {
	uint64_t api, features, ioctls;
};

struct uffd_register {
	uint64_t start, length, mode, ioctls;
};

struct uffd_copy {
	uint64_t target, source, length, mode;
	int64_t copied;
};

#define UFFD_API          _IOWR(0xaa, 0x3f, struct uffd_api)
#define UFFD_REGISTER     _IOWR(0xaa, 0x00, struct uffd_register)
#define UFFD_COPY         _IOWR(0xaa, 0x03, struct uffd_copy)
#define UFFD_API_VERSION  0xaa
#define UFFD_MODE_MISSING 1

/* linux/prctl.h, Linux 3.18; unlike the older PR_SET_MM_ARG_START it needs no capability. */
#define PRCTL_SET_MM     35
#define PRCTL_SET_MM_MAP 14

struct mm_map {
	uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
	uint64_t arg_start, arg_end, env_start, env_end, auxv;
	uint32_t auxv_size, exe_fd;
};

static int open_userfaultfd(void)
{
	struct uffd_api api = { .api = UFFD_API_VERSION };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		cannot_here("Cannot use userfaultfd: %s. Faults of other processes can only be "
			    "held up by root,"
			    " or with vm.unprivileged_userfaultfd = 1.",
			    strerror(errno));
	if (ioctl(fd, UFFD_API, &api))
		err(1, "cannot agree on the userfaultfd interface");
	return fd;
}

/* Tells the kernel that our arguments lie at start; the other borders stay as they are. */
static void move_arguments(uintptr_t start, size_t size)
{
	struct mm_map map = { .brk = (uintptr_t)sbrk(0), .exe_fd = UINT32_MAX };
	FILE *stat = fopen("/proc/self/stat", "re");
	unsigned long long field[53] = { 0 };

	/* Fields 1 to 3 are the pid, the name and the state; our name holds no ')'. */
	if (!stat || fscanf(stat, "%*d (%*[^)]) %*c") < 0)
		err(1, "cannot read /proc/self/stat");
	for (size_t i = 4; i < 53; i++)
		if (fscanf(stat, "%lld", (long long *)&field[i]) != 1)
			errx(1, "/proc/self/stat has no field %zu", i);
	fclose(stat);
	map.start_code = field[26];
	map.end_code = field[27];
	map.start_stack = field[28];
	map.start_data = field[45];
	map.end_data = field[46];
	map.start_brk = field[47];
	map.arg_start = start;
	map.arg_end = start + size;
	map.env_start = field[50];
	map.env_end = field[51];
	if (prctl(PRCTL_SET_MM, PRCTL_SET_MM_MAP, &map, sizeof(map), 0))
		cannot_here("Cannot move the arguments of the process: %s; it takes a kernel with"
			    " CONFIG_CHECKPOINT_RESTORE.",
			    strerror(errno));
}

static void make_uffd(void)
{
	size_t pages = option_size("pages", 64);
	char *start = map_fenced(pages * page_size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *source =
		map_fenced(page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	struct uffd_register range = {
		.start = (uintptr_t)start,
		.length = pages * page_size,
		.mode = UFFD_MODE_MISSING,
	};
	struct uffd_copy copy = {
		.target = (uintptr_t)start,
		.source = (uintptr_t)source,
		.length = page_size,
	};
	int fd = open_userfaultfd();

	write_page(source, 0);
	if (ioctl(fd, UFFD_REGISTER, &range) || ioctl(fd, UFFD_COPY, &copy))
		err(1, "cannot register a range with userfaultfd");
	if (option_size("argv", 0))
		move_arguments((uintptr_t)start + page_size, 64);
	json_address("start", (uintptr_t)start);
	json_address("end", (uintptr_t)start + pages * page_size);
	json_begin("present", '[');
	json_number(NULL, 0);
	json_end(']');
	json_bool("argv", option_size("argv", 0));
}

const struct scenario scenario_uffd = {
	.name = "uffd",
	.summary = "a userfaultfd range that nobody serves: its page 0 is present, reading another "
		   "one hangs;"
		   " argv=1 puts the arguments of the process there",
	.keys = "pages=64 argv=0",
	.make = make_uffd,
};

static void *outlive_the_leader(void *arg)
{
	prctl(PR_SET_NAME, "survivor");
	for (;;)
		pause();
	return arg;
}

/* The thread that has the pid of its process as tid ends; another one lives on. */
static void leave_as_leader(void *arg)
{
	pthread_t thread;

	prctl(PR_SET_NAME, "leader");
	if (pthread_create(&thread, NULL, outlive_the_leader, arg))
		_exit(1);
	pthread_exit(NULL);
}

static void leave_at_once(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, "zombie");
}

static void stop(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, "stopped");
	raise(SIGSTOP);
	for (;;)
		pause();
}

static bool is_in_state(pid_t pid, char wanted)
{
	char path[64], state = '?';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		errx(1, "cannot read %s", path);
	fclose(file);
	return state == wanted;
}

static void wait_for_state(pid_t pid, char wanted)
{
	for (int i = 0; i < 1000 && !is_in_state(pid, wanted); i++)
		usleep(5000);
	if (!is_in_state(pid, wanted))
		errx(1, "process %d does not get into state %c", (int)pid, wanted);
}

static void make_zombie(void)
{
	pid_t zombie = start_child(leave_at_once, NULL);
	pid_t leader = start_child(leave_as_leader, NULL);
	pid_t stopped = start_child(stop, NULL);

	wait_for_state(zombie, 'Z');
	wait_for_state(leader, 'Z');
	wait_for_state(stopped, 'T');
	json_number("zombie", zombie);
	json_number("leader", leader);
	json_number("stopped", stopped);
}

const struct scenario scenario_zombie = {
	.name = "zombie",
	.summary = "children in bad states: a zombie, a process whose first thread has exited "
		   "while another"
		   " lives, a stopped one",
	.keys = "",
	.make = make_zombie,
};
