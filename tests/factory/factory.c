/*
 * factory SCENARIO [key=value...]: makes memory of a known shape, for tests.
 *
 * Prints one line of JSON that says what it made, then the line "ready", and then waits. Each
 * line on standard input is a command: one letter and perhaps an argument; each is answered with
 * one line of JSON, {"error": "..."} if it cannot be done. It ends at the end of standard input
 * when that is a pipe, a socket or a terminal, and at SIGTERM, SIGINT or SIGHUP; any other
 * standard input is not read. At its end it takes its children and its files with it. "factory
 * help" lists the scenarios.
 */
#include "factory.h"

#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	EXIT_USAGE = 2,
	EXIT_CANNOT = 77,
	MAX_CHILDREN = 64,
};

static const struct scenario *const scenarios[] = {
	&scenario_threads, &scenario_merged, &scenario_cow,    &scenario_kinds,   &scenario_pages,
	&scenario_regions, &scenario_sparse, &scenario_holes,  &scenario_nextmap, &scenario_names,
	&scenario_churn,   &scenario_uffd,   &scenario_zombie,
};

static const size_t scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);

static char **arguments;
static pid_t children[MAX_CHILDREN];
static char temporary_folder[3072];

/* Static, so that printing neither maps nor allocates while a scenario counts on that. */
static char stdout_buffer[65536];

char **factory_arguments(void)
{
	return arguments;
}

void cannot_here(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(EXIT_CANNOT);
}

static bool is_key_of(const struct scenario *s, const char *key, size_t length)
{
	for (const char *p = s->keys; *p; p += strspn(p, " ")) {
		if (!strncmp(p, key, length) && p[length] == '=')
			return true;
		p += strcspn(p, " ");
	}
	return false;
}

const char *option_text(const char *key, const char *fallback)
{
	size_t length = strlen(key);

	for (char **arg = arguments + 2; *arg; arg++)
		if (!strncmp(*arg, key, length) && (*arg)[length] == '=')
			return *arg + length + 1;
	return fallback;
}

size_t parse_size(const char *text)
{
	static const char units[] = "kmgt";
	char *rest;
	unsigned long long value = strtoull(text, &rest, 0);
	const char *unit = *rest ? strchr(units, tolower((unsigned char)*rest)) : NULL;

	if (rest == text || *text == '-' || (*rest && !unit))
		errx(EXIT_USAGE, "'%s' is not a size", text);
	if (unit) {
		unsigned int shift = 10 * ((unsigned int)(unit - units) + 1);

		if (value > UINT64_MAX >> shift)
			errx(EXIT_USAGE, "'%s' is too large", text);
		value <<= shift;
	}
	if (value > SIZE_MAX)
		cannot_here("A size of %s does not fit into %zu bits.", text, 8 * sizeof(size_t));
	return (size_t)value;
}

size_t option_size(const char *key, size_t fallback)
{
	const char *text = option_text(key, NULL);

	return text ? parse_size(text) : fallback;
}

pid_t start_child(void (*body)(void *), void *arg)
{
	pid_t parent = getpid(), pid;
	size_t slot = 0;

	while (slot < MAX_CHILDREN && children[slot])
		slot++;
	if (slot == MAX_CHILDREN)
		errx(1, "more than %d children", MAX_CHILDREN);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		err(1, "cannot fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(0);
		close(STDIN_FILENO);
		body(arg);
		_exit(0);
	}
	children[slot] = pid;
	return pid;
}

void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (size_t i = 0; i < MAX_CHILDREN; i++)
		if (children[i] == pid)
			children[i] = 0;
}

char *temporary_path(const char *name)
{
	size_t size;
	char *path;

	if (!temporary_folder[0]) {
		const char *parent = getenv("TMPDIR");

		snprintf(temporary_folder, sizeof(temporary_folder), "%s/vmatlas-factory-XXXXXX",
			 parent ? parent : "/tmp");
		if (!mkdtemp(temporary_folder))
			err(1, "cannot create %s", temporary_folder);
	}
	size = strlen(temporary_folder) + 1 + strlen(name) + 1;
	path = malloc(size);
	if (!path)
		err(1, "cannot allocate");
	snprintf(path, size, "%s/%s", temporary_folder, name);
	return path;
}

static void remove_temporary_folder(void)
{
	DIR *dir = temporary_folder[0] ? opendir(temporary_folder) : NULL;
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(temporary_folder);
}

/* Children leave by _exit(), so this runs in the factory itself only. */
static void clean_up(void)
{
	for (size_t i = 0; i < MAX_CHILDREN; i++)
		if (children[i])
			end_child(children[i]);
	remove_temporary_folder();
}

static void print_help(void)
{
	puts("usage: factory SCENARIO [key=value...]\n\nscenarios, their keys with defaults, and "
	     "the"
	     " commands they take on standard input:");
	for (size_t i = 0; i < scenario_count; i++) {
		const struct scenario *s = scenarios[i];

		printf("\n%-9s %s\n", s->name, s->summary);
		if (*s->keys)
			printf("          keys: %s\n", s->keys);
		if (s->commands)
			printf("          commands: %s\n", s->commands);
	}
}

static const struct scenario *find_scenario(int argc, char **argv)
{
	const struct scenario *found = NULL;

	for (size_t i = 0; argc > 1 && i < scenario_count; i++)
		if (!strcmp(scenarios[i]->name, argv[1]))
			found = scenarios[i];
	if (!found) {
		bool is_help =
			argc == 2 && (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help"));

		if (!is_help)
			errx(EXIT_USAGE, "no such scenario; 'factory help' lists them");
		print_help();
		exit(0);
	}
	for (int i = 2; i < argc; i++) {
		size_t length = strcspn(argv[i], "=");

		if (!argv[i][length] || !is_key_of(found, argv[i], length))
			errx(EXIT_USAGE, "%s has no key for '%s'; it has: %s", found->name, argv[i],
			     found->keys);
	}
	return found;
}

static int open_signals(void)
{
	sigset_t ends;
	int fd;

	/* Blocked before the first thread starts, so that no thread of a scenario takes them. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &ends, SFD_CLOEXEC);
	if (fd < 0)
		err(1, "cannot receive signals");
	return fd;
}

static void run_command(const struct scenario *s, char *line)
{
	char *arg = line + 1 + strspn(line + 1, " ");

	arg[strcspn(arg, " \r")] = '\0';
	if (!*line)
		return;
	if (s->command && (line[1] == '\0' || line[1] == ' ' || line[1] == '\r'))
		s->command(*line, arg);
	else
		json_error("no such command: '%s'", line);
	json_line_end();
}

/* Takes the commands out of what has arrived. Returns false at the end of the input. */
static bool read_commands(const struct scenario *s)
{
	static char buffer[256];
	static size_t length;
	ssize_t count = read(STDIN_FILENO, buffer + length, sizeof(buffer) - length);
	char *newline;

	if (count < 0 && errno == EINTR)
		return true;
	if (count <= 0)
		return false;
	length += (size_t)count;
	while ((newline = memchr(buffer, '\n', length))) {
		size_t used = (size_t)(newline + 1 - buffer);

		*newline = '\0';
		run_command(s, buffer);
		length -= used;
		memmove(buffer, buffer + used, length);
	}
	if (length == sizeof(buffer))
		errx(EXIT_USAGE, "a command is too long");
	return true;
}

static void serve(const struct scenario *s, int signal_fd)
{
	struct stat st;
	bool can_end = fstat(STDIN_FILENO, &st) == 0 &&
		       (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(STDIN_FILENO));
	struct pollfd fds[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = can_end ? STDIN_FILENO : -1, .events = POLLIN },
	};
	bool is_ticking = s->tick != NULL;

	for (;;) {
		if (poll(fds, 2, is_ticking ? 10 : -1) < 0 && errno != EINTR)
			err(1, "cannot wait");
		if (fds[0].revents)
			return;
		if (fds[1].revents && !read_commands(s))
			return;
		if (is_ticking)
			is_ticking = s->tick();
	}
}

static void start(const struct scenario *s)
{
	bool is_resumed = s->is_resumed && s->is_resumed();

	if (!is_resumed) {
		json_begin(NULL, '{');
		json_text("scenario", s->name);
		json_number("pid", getpid());
		json_size("page_size", page_size);
	}
	s->make();
	if (!is_resumed) {
		json_end('}');
		json_line_end();
		puts("ready");
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	const struct scenario *s = find_scenario(argc, argv);
	int signal_fd = open_signals();

	arguments = argv;
	page_size = (size_t)sysconf(_SC_PAGESIZE);
	setvbuf(stdout, stdout_buffer, _IOFBF, sizeof(stdout_buffer));
	atexit(clean_up);

	start(s);
	serve(s, signal_fd);
	if (s->finish)
		s->finish();
	return 0;
}
