/*
 * pages: regions whose every page has a known state.
 *
 * The state of the anonymous region is a string with one letter per page:
 *   w  written: present, anonymous             .  never touched
 *   z  only read: the kernel's zero page       d  written, then given back: as never touched
 *   g  a guard installed by madvise (6.13)
 * The other regions are fixed: private and shared file, shared anonymous memory, huge pages.
 * Files are sparse and read at random, so that no neighbour of a touched page comes into the
 * page cache, from where the kernel would map it too.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "factory.h"

enum { HUGE_PAGE = 2 << 20 };

static char *anon_start;
static char *anon_states; /* one letter per page */
static size_t anon_pages;

/* The outcome of an operation on a page: the letter of the state, or 0 if it cannot be done. */
static char change_page(char operation, size_t page)
{
	char *address = anon_start + page * page_size;
	char before = anon_states[page];

	if (before == 'g')
		return 0; /* touching a guard would kill us */
	switch (operation) {
	case 'w':
		write_page(address, 0);
		return 'w';
	case 'z':
		read_page(address, 0);
		return before == 'w' ? 'w' : 'z';
	case 'd':
		write_page(address, 0);
		madvise(address, page_size, MADV_DONTNEED);
		return '.';
	case 'g':
		return install_guard(address, page_size) ? 'g' : 0;
	case '.':
		return before;
	default:
		errx(2, "'%c' is no state of a page: w . z d g are", operation);
	}
}

static const char *state_name(char state)
{
	switch (state) {
	case 'w':
		return "written";
	case 'z':
		return "zero";
	case 'g':
		return "guard";
	case 'c':
		return "copied";
	case 'f':
		return "file";
	case 'h':
		return "huge";
	case 's':
		return "shared";
	default:
		return "absent";
	}
}

static void print_region(const char *name, const char *start, const char *states, size_t pages)
{
	json_begin(NULL, '{');
	json_text("name", name);
	json_address("start", (uintptr_t)start);
	json_address("end", (uintptr_t)start + pages * page_size);
	json_begin("runs", '[');
	for (size_t first = 0, next; first < pages; first = next) {
		for (next = first + 1; next < pages && states[next] == states[first]; next++)
			;
		json_begin(NULL, '{');
		json_size("first", first);
		json_size("pages", next - first);
		json_text("state", state_name(states[first]));
		json_end('}');
	}
	json_end(']');
	json_end('}');
}

static void make_anonymous(void)
{
	const char *pattern = option_text("pattern", "wwww....zzzzwwggggwwdddd....w.w.");
	size_t length = strlen(pattern), repeat = option_size("repeat", 1);

	anon_pages = length * repeat;
	if (!anon_pages)
		errx(2, "a pattern of no pages");
	anon_states = malloc(anon_pages);
	if (!anon_states)
		err(1, "cannot allocate");
	memset(anon_states, '.', anon_pages);
	anon_start = map_fenced(anon_pages * page_size, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1);
	madvise(anon_start, anon_pages * page_size, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < anon_pages; i++) {
		char operation = pattern[i % length];

		/* On a kernel without guards the page stays untouched, and the JSON says so. */
		anon_states[i] = change_page(operation, i);
		if (!anon_states[i])
			anon_states[i] = '.';
	}
	print_region("anon", anon_start, anon_states, anon_pages);
}

static void print_file(const char *name, int flags, const char *states)
{
	size_t pages = strlen(states);
	int fd = make_file(temporary_path(name), pages * page_size);
	char *start = map_fenced(pages * page_size, PROT_READ | PROT_WRITE, flags, fd);

	close(fd);
	madvise(start, pages * page_size, MADV_RANDOM);
	for (size_t i = 0; i < pages; i++) {
		if (states[i] == 'c')
			write_page(start, i);
		else if (states[i] == 'f')
			(flags == MAP_SHARED && i % 2) ? write_page(start, i) : read_page(start, i);
	}
	print_region(name, start, states, pages);
}

static void print_shared_memory(void)
{
	static const char states[] = "ssss....s.s.....";
	size_t pages = sizeof(states) - 1;
	char *start = map_fenced(pages * page_size, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1);

	for (size_t i = 0; i < pages; i++)
		if (states[i] == 's')
			write_page(start, i);
	print_region("shm", start, states, pages);
}

/* Whether the kernel gave a huge page is its own choice: smaps is asked for the outcome. */
static size_t huge_bytes_at(const char *start)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	bool is_inside = false;
	unsigned long long from, to;
	size_t kib = 0;
	char line[4352];

	while (smaps && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
			is_inside = from == (uintptr_t)start;
		else if (is_inside && sscanf(line, "AnonHugePages: %zu", &kib) == 1)
			break;
	}
	if (smaps)
		fclose(smaps);
	return kib * 1024;
}

/* Two huge pages' worth, aligned: the first is touched, the second is not. */
static void print_huge(void)
{
	char *area = map_anywhere(4 * HUGE_PAGE, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	uintptr_t aligned = ((uintptr_t)area + HUGE_PAGE) & ~(uintptr_t)(HUGE_PAGE - 1);
	size_t huge_pages = HUGE_PAGE / page_size;
	char *start = (char *)aligned;
	char *states = malloc(2 * huge_pages);

	if (!states || mprotect(start, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE))
		err(1, "cannot make an area for huge pages");
	memset(states, '.', 2 * huge_pages);
	madvise(start, 2 * HUGE_PAGE, MADV_HUGEPAGE);
	memset(start, 'h', HUGE_PAGE);
	memset(states, huge_bytes_at(start) == HUGE_PAGE ? 'h' : 'w', huge_pages);
	print_region("thp", start, states, 2 * huge_pages);
	free(states);
}

static void make_pages(void)
{
	json_begin("regions", '[');
	make_anonymous();
	print_file("private", MAP_PRIVATE, "cc.f...f....c...");
	print_file("shared", MAP_SHARED, "f..ff...........");
	print_shared_memory();
	print_huge();
	json_end(']');
}

static void command_pages(char letter, const char *arg)
{
	char *rest;
	size_t page = strtoull(arg, &rest, 10);
	char state = 0;

	if (letter && strchr("wzdg", letter) && rest != arg && !*rest && page < anon_pages)
		state = change_page(letter, page);
	if (!state) {
		json_error("no such command or page, or not possible: '%c %s'", letter, arg);
		return;
	}
	anon_states[page] = state;
	print_region("anon", anon_start, anon_states, anon_pages);
}

const struct scenario scenario_pages = {
	.name = "pages",
	.summary = "regions in which the state of every page is known",
	.keys = "pattern=wwww....zzzzwwggggwwdddd....w.w. repeat=1",
	.commands = "w N, z N, d N, g N: write, only read, write and give back, guard page N of the"
		    " anonymous region; answers with that region",
	.make = make_pages,
	.command = command_pages,
};
