/*
 * names: a process whose names are hostile to whoever prints them.
 *
 * Thread names, names of mapped files and of memfds that together hold every byte from 1 to 255
 * (but '/' where the kernel forbids it): escape sequences, newlines, broken UTF-8, text that
 * looks like what the kernel itself writes. All names are given as hexadecimal digits; they are
 * no valid text.
 */
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "factory.h"

enum {
	COMM_BYTES = 15,
	NAME_BYTES = 51, /* 5 names hold the bytes from 1 to 255 */
};

struct named_thread {
	unsigned char name[COMM_BYTES + 1];
	pid_t tid;
};

static pthread_barrier_t everyone_is_up;

/* Writes the bytes first, first + 1, ... up to 255 but '/', at most count; returns how many. */
static size_t every_byte(unsigned char *name, unsigned int first, size_t count, bool with_slash)
{
	size_t length = 0;

	for (unsigned int byte = first; byte < 256 && byte < first + count; byte++)
		if (with_slash || byte != '/')
			name[length++] = (unsigned char)byte;
	name[length] = '\0';
	return length;
}

static void *bear_name(void *arg)
{
	struct named_thread *self = arg;

	self->tid = (pid_t)syscall(SYS_gettid);
	prctl(PR_SET_NAME, self->name);
	pthread_barrier_wait(&everyone_is_up);
	for (;;)
		pause();
	return NULL;
}

static void make_named_threads(void)
{
	static struct named_thread threads[255 / COMM_BYTES];
	const size_t count = sizeof(threads) / sizeof(threads[0]);
	pthread_t thread;

	pthread_barrier_init(&everyone_is_up, NULL, (unsigned int)count + 1);
	for (size_t i = 0; i < count; i++) {
		every_byte(threads[i].name, (unsigned int)(1 + i * COMM_BYTES), COMM_BYTES, true);
		if (pthread_create(&thread, NULL, bear_name, &threads[i]))
			errx(1, "cannot start a thread");
	}
	pthread_barrier_wait(&everyone_is_up);
	json_begin("threads", '[');
	for (size_t i = 0; i < count; i++) {
		json_begin(NULL, '{');
		json_number("tid", threads[i].tid);
		json_hex("name_hex", threads[i].name, COMM_BYTES);
		json_end('}');
	}
	json_end(']');
}

static void print_mapping(const char *path, int fd, const char *kind, bool is_deleted)
{
	char *start = map_fenced(2 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);

	write_page(start, 0);
	json_begin(NULL, '{');
	json_text("kind", kind);
	json_address("start", (uintptr_t)start);
	json_address("end", (uintptr_t)start + 2 * page_size);
	json_hex("path_hex", path, strlen(path));
	json_bool("deleted", is_deleted);
	json_end('}');
}

static void map_file_named(const char *name, bool is_deleted)
{
	const char *path = temporary_path(name);
	int fd = make_file(path, 2 * page_size);

	if (is_deleted)
		unlink(path);
	print_mapping(path, fd, "file", is_deleted);
	close(fd);
}

static void map_memfd_named(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)(2 * page_size)))
		err(1, "cannot create a memfd");
	print_mapping(name, fd, "memfd", true);
	close(fd);
}

static void make_names(void)
{
	static const char *const fakes[] = {
		"exists (deleted)",
		"two (deleted) (deleted)",
		"[heap]",
		"[stack]",
		" blank at both ends ",
		"\\012 is a backslash and digits",
		"line\n7f0000000000-7f0000001000 rwxp 00000000 00:00 0 [vdso]",
		"\033]0;title\007\033[2J\033[31mred",
		"csv\",=1+1,'-@;<b onload=alert(1)>&amp;<script>",
		"\xed\xa0\x80 surrogate \xc0\xaf overlong \xf4\x90\x80\x80 too large \xff",
		"\xe2\x80\xae turned round \xc2\x9b is C1",
	};
	const char *comm = option_text("comm", "a) R 1 \033[7m\n)");
	unsigned char name[256];
	char longest[256];

	prctl(PR_SET_NAME, comm);
	json_hex("comm_hex", comm, strlen(comm) < COMM_BYTES ? strlen(comm) : COMM_BYTES);
	make_named_threads();
	json_begin("mappings", '[');
	for (unsigned int first = 1; first < 256; first += NAME_BYTES) {
		every_byte(name, first, NAME_BYTES, false);
		map_file_named((const char *)name, false);
	}
	for (size_t i = 0; i < sizeof(fakes) / sizeof(fakes[0]); i++)
		map_file_named(fakes[i], false);
	map_file_named("really gone", true);
	memset(longest, 'L', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	map_file_named(longest, false);
	for (unsigned int first = 1; first < 256; first += NAME_BYTES) {
		every_byte(name, first, NAME_BYTES, true);
		map_memfd_named((const char *)name);
	}
	map_memfd_named("memfd (deleted)");
	json_end(']');
}

const struct scenario scenario_names = {
	.name = "names",
	.summary =
		"names of threads, files and memfds with every byte that the kernel lets through",
	.keys = "comm=TEXT",
	.make = make_names,
};
