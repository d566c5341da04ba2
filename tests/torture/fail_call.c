/* SPDX-License-Identifier: MIT */
/*
 * fail_call [options] -- PROGRAM [ARGUMENT...]: runs a program and does something at its n-th system
 * call. Calls are counted from the program's entry point on, over all of its threads and children: what the
 * dynamic loader does before is not the program's. It ends with the program's exit code, or with 128
 * and the signal that killed it. Without arguments it tests itself and prints TAP.
 *
 *   -n N      the call that is meant, from 1; 0: every one
 *   -s NR     count only calls with this number
 *   -e ERRNO  the call is not made and fails with this errno
 *   -k PID    before the call this process is killed, and has ended before the call is made
 *   -w        before the call, one line "call N NR" goes to descriptor 3, and a line is awaited on
 *             descriptor 4; at the end of the file on 4 it goes on without further stops
 *   -c FILE   writes how many calls there were
 *   -l FILE   writes a line for each call that returned: its number, the nanoseconds that it ran (not
 *             those that it waited), and the path of those that open
 *
 * Never failed are calls that cannot fail: the end of a thread or process, and the return from a
 * signal; glibc would run into a trap behind them. brk fails as the kernel lets it: it tells the old end.
 */
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	EXIT_TOOL = 125, /* this tool could not do its work */
	MAX_TASKS = 256,
};

static struct {
	long at;      /* -1: none */
	long only;    /* -1: all */
	int error;    /* 0: none */
	pid_t victim; /* 0: none */
	bool waits;
	const char *count_file;
	FILE *log;
} asked = { .at = -1, .only = -1 };

static struct task {
	pid_t tid;
	bool is_inside; /* between the two stops of a call */
	bool is_failed; /* the call at hand is replaced by a failure */
	bool is_brk;    /* the call at hand asks brk for nothing */
	uint64_t brk_addr;
	bool is_logged; /* the call at hand goes to the log */
	long number;
	uint64_t began_ns;
	char path[512];
} tasks[MAX_TASKS];

static long calls;

static struct task *task_of(pid_t tid)
{
	struct task *free_task = NULL;

	for (size_t i = 0; i < MAX_TASKS; i++) {
		if (tasks[i].tid == tid)
			return &tasks[i];
		if (!tasks[i].tid && !free_task)
			free_task = &tasks[i];
	}
	if (!free_task)
		errx(EXIT_TOOL, "more than %d tasks", MAX_TASKS);
	*free_task = (struct task){ .tid = tid };
	return free_task;
}

/* Where the program begins, as the kernel told its loader. */
static uint64_t entry_of(pid_t pid)
{
	Elf64_auxv_t entry;
	char path[64];
	uint64_t addr = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/auxv", (int)pid);
	file = fopen(path, "re");
	while (file && fread(&entry, sizeof(entry), 1, file) == 1 && entry.a_type != AT_NULL)
		if (entry.a_type == AT_ENTRY)
			addr = entry.a_un.a_val;
	if (file)
		fclose(file);
	if (!addr)
		errx(EXIT_TOOL, "the entry point of the program is not known");
	return addr;
}

static void poke(pid_t pid, uint64_t addr, long word)
{
	if (ptrace(PTRACE_POKETEXT, pid, (void *)addr, (void *)word))
		err(EXIT_TOOL, "cannot write to the program");
}

/* Runs the program up to its entry point. */
static void run_to_entry(pid_t pid)
{
	uint64_t entry = entry_of(pid);
	struct user_regs_struct registers;
	int status;
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, pid, (void *)entry, NULL);
	if (errno)
		err(EXIT_TOOL, "cannot read the program");
	poke(pid, entry, (word & ~0xffL) | 0xcc);
	if (ptrace(PTRACE_CONT, pid, NULL, NULL) || waitpid(pid, &status, 0) != pid)
		err(EXIT_TOOL, "cannot run the program");
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
		errx(EXIT_TOOL, "the program ended before its entry point");
	poke(pid, entry, word);
	if (ptrace(PTRACE_GETREGS, pid, NULL, &registers))
		err(EXIT_TOOL, "cannot read registers");
	registers.rip = entry;
	if (ptrace(PTRACE_SETREGS, pid, NULL, &registers))
		err(EXIT_TOOL, "cannot write registers");
}

static bool can_fail(long number)
{
	return number != SYS_exit && number != SYS_exit_group && number != SYS_rt_sigreturn;
}

/* The path that a call opens; "" when it opens none. */
static void path_of(pid_t tid, const struct user_regs_struct *registers, char *ret, size_t size)
{
	bool is_at = registers->orig_rax == SYS_openat || registers->orig_rax == SYS_openat2 ||
		     registers->orig_rax == SYS_readlinkat;
	uint64_t addr = is_at ? registers->rsi : registers->rdi;
	struct iovec local = { ret, size - 1 }, remote;
	ssize_t got;

	ret[0] = '\0';
	if (!is_at && registers->orig_rax != SYS_open)
		return;
	/* Not over the end of the page: the next one may not be there. */
	remote = (struct iovec){ (void *)addr, 4096 - addr % 4096 };
	got = process_vm_readv(tid, &local, 1, &remote, 1, 0);
	ret[got < 0 ? 0 : got] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

/* How long a task has run so far. */
static uint64_t run_ns(pid_t tid)
{
	unsigned long long ns = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)tid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%llu", &ns) != 1)
		ns = 0;
	fclose(file);
	return ns;
}

static void kill_victim(void)
{
	int fd = (int)syscall(SYS_pidfd_open, asked.victim, 0);
	struct pollfd waiting = { .fd = fd, .events = POLLIN };

	if (fd < 0)
		return; /* it has gone already */
	kill(asked.victim, SIGKILL);
	if (poll(&waiting, 1, 10000) != 1)
		errx(EXIT_TOOL, "process %d does not die", (int)asked.victim);
	close(fd);
}

/* Says where we are, and waits to be told to go on. */
static void ask(long number)
{
	char line[64];
	ssize_t length = snprintf(line, sizeof(line), "call %ld %ld\n", calls, number);

	if (write(3, line, (size_t)length) != length)
		asked.waits = false;
	for (char c = 0; asked.waits && c != '\n';)
		if (read(4, &c, 1) != 1)
			asked.waits = false;
}

/* Before a call. */
static void enter(struct task *task)
{
	struct user_regs_struct registers;
	long number;
	bool is_meant;

	if (ptrace(PTRACE_GETREGS, task->tid, NULL, &registers))
		return;
	number = (long)registers.orig_rax;
	if (asked.only >= 0 && number != asked.only)
		return;
	calls++;
	is_meant = asked.at == 0 || calls == asked.at;
	task->is_logged = asked.log != NULL;
	if (task->is_logged) {
		path_of(task->tid, &registers, task->path, sizeof(task->path));
		task->number = number;
		task->began_ns = run_ns(task->tid);
	}
	if (!is_meant)
		return;
	if (asked.victim)
		kill_victim();
	if (asked.waits)
		ask(number);
	if (asked.error && number == SYS_brk) {
		task->brk_addr = registers.rdi;
		registers.rdi = 0;
		task->is_brk = ptrace(PTRACE_SETREGS, task->tid, NULL, &registers) == 0;
	} else if (asked.error && can_fail(number)) {
		registers.orig_rax = (unsigned long long)-1;
		task->is_failed = ptrace(PTRACE_SETREGS, task->tid, NULL, &registers) == 0;
	}
}

/* Behind a call. */
static void leave(struct task *task)
{
	struct user_regs_struct registers;

	if (task->is_logged)
		fprintf(asked.log, "%ld %llu %s\n", task->number,
			(unsigned long long)(run_ns(task->tid) - task->began_ns), task->path);
	task->is_logged = false;
	if (!task->is_failed && !task->is_brk)
		return;
	if (ptrace(PTRACE_GETREGS, task->tid, NULL, &registers))
		return;
	if (task->is_brk)
		registers.rdi = task->brk_addr;
	else
		registers.rax = (unsigned long long)-asked.error;
	task->is_failed = task->is_brk = false;
	ptrace(PTRACE_SETREGS, task->tid, NULL, &registers);
}

/* What a stopped task stopped for. Returns the signal that it shall get. */
static int handle_stop(struct task *task, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;

	if (sig == (SIGTRAP | 0x80)) {
		task->is_inside = !task->is_inside;
		if (task->is_inside)
			enter(task);
		else
			leave(task);
		return 0;
	}
	if (event)
		return 0; /* a clone, or the first stop of a child */
	return sig;
}

/* Returns the exit code of `program`. */
static int follow(pid_t program)
{
	int code = EXIT_TOOL, status;
	pid_t tid;

	if (ptrace(PTRACE_SYSCALL, program, NULL, NULL))
		err(EXIT_TOOL, "cannot run the program");
	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		struct task *task = task_of(tid);

		if (WIFSTOPPED(status)) {
			/* 0 for the SIGSTOP that begins a new task under PTRACE_SEIZE's events */
			ptrace(PTRACE_SYSCALL, tid, NULL, (void *)(long)handle_stop(task, status));
			continue;
		}
		task->tid = 0;
		if (tid == program)
			code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	return code;
}

static pid_t start(char **argv)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE |
			     PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;
	pid_t pid = fork();
	int status;

	if (pid < 0)
		err(EXIT_TOOL, "cannot fork");
	if (pid == 0) {
		if (asked.waits) {
			close(3);
			close(4);
		}
		raise(SIGSTOP);
		execvp(argv[0], argv);
		err(EXIT_TOOL, "cannot execute %s", argv[0]);
	}
	if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
		errx(EXIT_TOOL, "the program does not stop");
	if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)options))
		err(EXIT_TOOL, "cannot trace the program");
	kill(pid, SIGCONT);
	for (;;) {
		if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
			errx(EXIT_TOOL, "the program ended before it began");
		if (status >> 16 == PTRACE_EVENT_EXEC)
			break;
		ptrace(PTRACE_CONT, pid, NULL, NULL);
	}
	return pid;
}

static void read_options(int argc, char **argv)
{
	int letter;

	while ((letter = getopt(argc, argv, "+n:s:e:k:wc:l:")) != -1) {
		switch (letter) {
		case 'n':
			asked.at = atol(optarg);
			break;
		case 's':
			asked.only = atol(optarg);
			break;
		case 'e':
			asked.error = (int)atol(optarg);
			break;
		case 'k':
			asked.victim = (pid_t)atol(optarg);
			break;
		case 'w':
			asked.waits = true;
			break;
		case 'c':
			asked.count_file = optarg;
			break;
		case 'l':
			asked.log = fopen(optarg, "we");
			if (!asked.log)
				err(EXIT_TOOL, "cannot create %s", optarg);
			break;
		default:
			exit(EXIT_TOOL);
		}
	}
	if (!argv[optind])
		errx(EXIT_TOOL, "no program");
}

/* What the self-test runs: ten calls that are nothing, then one whose failure it tells. */
static int ten_and_one(void)
{
	for (int i = 0; i < 10; i++)
		syscall(SYS_getppid);
	return syscall(SYS_getuid) == -1 && errno == ENOTTY ? 3 : 0;
}

/* Runs `command` and returns its exit code. The self-test knows what is in it. */
static int run(const char *const *argv)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execv(argv[0], (char **)(uintptr_t)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void check(int number, bool is_right, const char *name)
{
	printf("%sok %d - %s\n", is_right ? "" : "not ", number, name);
}

static int test_itself(void)
{
	char self[4096], getppid_number[16], getuid_number[16], error[16];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (length < 0)
		return 1;
	self[length] = '\0';
	snprintf(getppid_number, sizeof(getppid_number), "%d", (int)SYS_getppid);
	snprintf(getuid_number, sizeof(getuid_number), "%d", (int)SYS_getuid);
	snprintf(error, sizeof(error), "%d", ENOTTY);
	check(1,
	      run((const char *[]){ self, "-n", "0", "-s", getuid_number, "-e", error, "--", self,
				    "ten-and-one", NULL }) == 3,
	      "a call fails with the errno that was asked for");
	check(2,
	      run((const char *[]){ self, "-n", "11", "-s", getppid_number, "-e", error, "--", self,
				    "ten-and-one", NULL }) == 0,
	      "calls of other numbers are not counted");
	check(3, run((const char *[]){ self, "--", "/bin/sh", "-c", "kill -9 $$", NULL }) == 137,
	      "a program that is killed is told from one that ends");
	check(4,
	      run((const char *[]){ self, "--", "/bin/sh", "-c", "(exit 7) & wait $!", NULL }) == 7,
	      "children are followed, and the exit code is the program's");
	puts("1..4");
	return 0;
}

int main(int argc, char **argv)
{
	int code;

	if (argc == 1)
		return test_itself();
	if (argc == 2 && !strcmp(argv[1], "ten-and-one"))
		return ten_and_one();
	read_options(argc, argv);
	{
		pid_t pid = start(argv + optind);

		run_to_entry(pid);
		code = follow(pid);
	}
	if (asked.count_file) {
		FILE *file = fopen(asked.count_file, "we");

		if (!file || fprintf(file, "%ld\n", calls) < 0 || fclose(file))
			err(EXIT_TOOL, "cannot write %s", asked.count_file);
	}
	if (asked.log && fclose(asked.log))
		err(EXIT_TOOL, "cannot write the log");
	return code;
}
