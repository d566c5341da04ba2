/*
 * cow: which pages of private mappings are copies.
 *
 * A private mapping of a file of 4 pages, of which 0 and 2 are written, 3 is read and 1 is left
 * alone (it may be present all the same: the kernel maps neighbours that are in the page cache);
 * and a private anonymous region, all written, whose pages a forked child shares until one of
 * both writes. What is exclusive and what is shared follows from who wrote what since the fork,
 * for one child at a time: a page is shared as long as neither has written it.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "factory.h"

enum { FILE_PAGES = 4, MAX_PAGES = 4096 };

static char *anon_start, *file_start;
static char *file_path;
static size_t anon_pages;

static pid_t child;
static int to_child[2] = { -1, -1 }, from_child[2] = { -1, -1 };

/* Of the anonymous region and of the file: written by one of both since the fork. */
static bool is_anon_split[MAX_PAGES], is_file_split[FILE_PAGES];

/* Copies exist in the parent and, since the fork, in the child: inherited or made by itself. */
static bool is_parent_copy[FILE_PAGES] = { true, false, true, false };
static bool is_child_copy[FILE_PAGES];

/* Writes the anonymous page (or file page, from 'file') that each message names. */
static void serve_child(void *unused)
{
	struct {
		size_t page;
		bool is_file;
	} message;

	(void)unused;
	close(to_child[1]);
	close(from_child[0]);
	while (read(to_child[0], &message, sizeof(message)) == (ssize_t)sizeof(message)) {
		write_page(message.is_file ? file_start : anon_start, message.page);
		if (write(from_child[1], "", 1) != 1)
			return;
	}
}

static void write_in_child(size_t page, bool is_file)
{
	struct {
		size_t page;
		bool is_file;
	} message;

	char done;

	memset(&message, 0, sizeof(message));
	message.page = page;
	message.is_file = is_file;
	if (write(to_child[1], &message, sizeof(message)) != (ssize_t)sizeof(message) ||
	    read(from_child[0], &done, 1) != 1)
		errx(1, "the child is gone");
}

static void print_pages(const char *key, const bool *set, bool wanted, const bool *among,
			size_t count)
{
	json_begin(key, '[');
	for (size_t i = 0; i < count; i++)
		if (set[i] == wanted && (!among || among[i]))
			json_size(NULL, i);
	json_end(']');
}

static void print_party(const char *key, pid_t pid, const bool *copies, const bool *others)
{
	bool is_exclusive[FILE_PAGES];

	for (size_t i = 0; i < FILE_PAGES; i++)
		is_exclusive[i] = !child || is_file_split[i] || !others[i];
	json_begin(key, '{');
	json_number("pid", pid);
	json_begin("file", '{');
	print_pages("copied", copies, true, NULL, FILE_PAGES);
	print_pages("exclusive", is_exclusive, true, copies, FILE_PAGES);
	print_pages("shared", is_exclusive, false, copies, FILE_PAGES);
	json_end('}');
	json_begin("anon", '{');
	if (child) {
		print_pages("exclusive", is_anon_split, true, NULL, anon_pages);
		print_pages("shared", is_anon_split, false, NULL, anon_pages);
	} else {
		static const bool none[MAX_PAGES];

		print_pages("exclusive", none, false, NULL, anon_pages);
		print_pages("shared", none, true, NULL, anon_pages);
	}
	json_end('}');
	json_end('}');
}

static void print_state(void)
{
	print_party("parent", getpid(), is_parent_copy, is_child_copy);
	if (child)
		print_party("child", child, is_child_copy, is_parent_copy);
	else
		json_null("child");
}

static void print_range(const char *key, const char *start, size_t pages, const char *path)
{
	json_begin(key, '{');
	json_address("start", (uintptr_t)start);
	json_address("end", (uintptr_t)start + pages * page_size);
	json_size("pages", pages);
	json_text("path", path);
	json_end('}');
}

static void make_cow(void)
{
	const char *backing = option_text("backing", "file");
	int fd;

	if (!strcmp(backing, "memfd")) {
		/* /proc shows a memfd as a deleted file of this name. */
		static char shown[] = "/memfd:factory-cow (deleted)";

		file_path = shown;
		fd = memfd_create("factory-cow", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, (off_t)(FILE_PAGES * page_size)))
			err(1, "cannot create a memfd");
	} else if (!strcmp(backing, "file")) {
		file_path = temporary_path("cow.dat");
		fd = make_file(file_path, FILE_PAGES * page_size);
	} else {
		errx(2, "backing is file or memfd, not '%s'", backing);
	}
	fill_file(fd, FILE_PAGES * page_size);
	file_start = map_fenced(FILE_PAGES * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	close(fd);
	write_page(file_start, 0);
	write_page(file_start, 2);
	read_page(file_start, 3);

	anon_pages = option_size("pages", 8);
	if (anon_pages < 1 || anon_pages > MAX_PAGES)
		errx(2, "pages is 1 to %d", MAX_PAGES);
	anon_start = map_fenced(anon_pages * page_size, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1);
	/* Sharing is told page by page only where pages are small. */
	madvise(anon_start, anon_pages * page_size, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < anon_pages; i++)
		write_page(anon_start, i);

	print_range("file", file_start, FILE_PAGES, file_path);
	print_range("anon", anon_start, anon_pages, NULL);
	print_state();
}

static void fork_child(void)
{
	if (pipe2(to_child, O_CLOEXEC) || pipe2(from_child, O_CLOEXEC))
		err(1, "cannot make pipes");
	memset(is_anon_split, 0, sizeof(is_anon_split));
	memset(is_file_split, 0, sizeof(is_file_split));
	memcpy(is_child_copy, is_parent_copy, sizeof(is_child_copy));
	child = start_child(serve_child, NULL);
	close(to_child[0]);
	close(from_child[1]);
	write_in_child(0, false);
	is_anon_split[0] = true;
}

static void kill_child(void)
{
	end_child(child);
	child = 0;
	memset(is_child_copy, 0, sizeof(is_child_copy));
	close(to_child[1]);
	close(from_child[0]);
}

/* Returns false if there is no such page. */
static bool write_somewhere(const char *arg, bool in_child)
{
	bool is_file = *arg == 'f';
	char *rest;
	size_t page = strtoull(arg + is_file, &rest, 10);

	if (rest == arg + is_file || *rest || page >= (is_file ? FILE_PAGES : anon_pages))
		return false;
	if (in_child)
		write_in_child(page, is_file);
	else
		write_page(is_file ? file_start : anon_start, page);
	if (!is_file) {
		is_anon_split[page] = true;
	} else {
		is_file_split[page] = true;
		(in_child ? is_child_copy : is_parent_copy)[page] = true;
	}
	return true;
}

static void command_cow(char letter, const char *arg)
{
	bool is_done = false;

	if (letter == 'f' && !child) {
		fork_child();
		is_done = true;
	} else if (letter == 'k' && child) {
		kill_child();
		is_done = true;
	} else if (letter == 'w') {
		is_done = write_somewhere(arg, false);
	} else if (letter == 'c' && child) {
		is_done = write_somewhere(arg, true);
	} else if (letter == 'd') {
		madvise(file_start, FILE_PAGES * page_size, MADV_DONTNEED);
		memset(is_parent_copy, 0, sizeof(is_parent_copy));
		is_done = true;
	}
	if (!is_done) {
		json_error("not possible now, or no such command or page: '%c %s'", letter, arg);
		return;
	}
	json_begin(NULL, '{');
	print_state();
	json_end('}');
}

const struct scenario scenario_cow = {
	.name = "cow",
	.summary = "copied pages of a private file, shared and exclusive pages of a parent and its "
		   "child",
	.keys = "pages=8 backing=file",
	.commands = "f: fork a child that writes anonymous page 0; w N, c N: the parent, the child "
		    "writes"
		    " page N (fN: of the file); k: kill the child; d: the parent gives its copies "
		    "of the"
		    " file back. Each answers with the state of both",
	.make = make_cow,
	.command = command_cow,
};
