/*
 * regions, sparse, holes, nextmap: address spaces of extreme or of exactly known layout.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "factory.h"

static void print_layout(const char *start, size_t bytes)
{
	json_address("start", (uintptr_t)start);
	json_address("end", (uintptr_t)start + bytes);
	json_size("size", bytes);
}

/*
 * One mapping, cut into regions of equal size: those with an odd number are made read-only, so
 * that no two neighbours merge. The resident pages are dealt out evenly, to the lowest pages of
 * each region.
 */
static void make_regions(void)
{
	size_t count = option_size("n", 60000);
	size_t resident = option_size("resident", 0) / page_size;
	size_t region_pages, total;
	unsigned long long limit = 0;
	char *start;

	if (!count)
		errx(2, "no regions at all are not a scenario");
	if (read_number("/proc/sys/vm/max_map_count", &limit) && count + 100 > limit)
		cannot_here("%zu regions are more than vm.max_map_count = %llu allows.", count,
			    limit);
	region_pages = (resident + count - 1) / count;
	if (!region_pages)
		region_pages = 1;
	total = count * region_pages;
	start = map_fenced(total * page_size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	madvise(start, total * page_size, MADV_NOHUGEPAGE);
	/* Region i gets the difference of two roundings, so the sum is exact. */
	for (size_t i = 0; i < count; i++) {
		size_t pages = (i + 1) * resident / count - i * resident / count;

		for (size_t k = 0; k < pages; k++)
			write_page(start, i * region_pages + k);
	}
	for (size_t i = 1; i < count; i += 2)
		if (mprotect(start + i * region_pages * page_size, region_pages * page_size,
			     PROT_READ))
			cannot_here("Cannot make region %zu of %zu: %s.", i, count,
				    strerror(errno));
	print_layout(start, total * page_size);
	json_size("count", count);
	json_size("region_size", region_pages * page_size);
	json_size("resident", resident * page_size);
}

const struct scenario scenario_regions = {
	.name = "regions",
	.summary = "many regions side by side, rw- and r-- in turn, with so many bytes resident in "
		   "all",
	.keys = "n=60000 resident=0",
	.make = make_regions,
};

static void make_sparse(void)
{
	size_t size = option_size("size", parse_size("1t")), step = option_size("step", 1UL << 30);
	size_t touched = 0;
	char *start = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED)
		cannot_here("Cannot reserve %zu bytes: %s.", size, strerror(errno));
	if (step < page_size || step % page_size)
		errx(2, "step is a multiple of the page size");
	madvise(start, size, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < size; at += step, touched++)
		write_page(start + at, 0);
	print_layout(start, size);
	json_size("step", step);
	json_size("touched_pages", touched);
}

const struct scenario scenario_sparse = {
	.name = "sparse",
	.summary = "a huge reservation, readable and writable, of which the first page of each "
		   "step is written",
	.keys = "size=1t step=1g",
	.make = make_sparse,
};

static void make_holes(void)
{
	size_t size = option_size("size", 1UL << 30);

	print_layout(map_fenced(size, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1),
		     size);
}

const struct scenario scenario_holes = {
	.name = "holes",
	.summary = "readable memory that was never touched: who reads it changes it",
	.keys = "size=1g",
	.make = make_holes,
};

/*
 * Below the lowest mapping the kernel always finds room; interesting are the gaps above it, of
 * which it takes the highest that is large enough: so the largest lies lowest. Each gap lies
 * between two pages of a reservation that is then cut open.
 */
static void make_nextmap(void)
{
	static const size_t gap_pages[] = { 2048, 1024, 513, 512, 256, 17, 16, 3, 1 };
	const size_t gap_count = sizeof(gap_pages) / sizeof(gap_pages[0]);
	size_t total = 1;
	char *at;

	for (size_t i = 0; i < gap_count; i++)
		total += gap_pages[i] + 1;
	at = map_anywhere(total * page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			  -1);
	json_begin("gaps", '[');
	for (size_t i = 0; i < gap_count; i++) {
		size_t bytes = gap_pages[i] * page_size;

		at += page_size;
		if (munmap(at, bytes))
			err(1, "cannot unmap");
		json_begin(NULL, '{');
		print_layout(at, bytes);
		json_end('}');
		at += bytes;
	}
	json_end(']');
}

static void command_nextmap(char letter, const char *arg)
{
	static struct {
		void *start;
		size_t size;
	} maps[1024];

	static size_t count;
	const size_t room = sizeof(maps) / sizeof(maps[0]);

	if (letter == 'm' && *arg && count < room) {
		size_t size = parse_size(arg);
		void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1, 0);

		if (start == MAP_FAILED) {
			json_error("cannot map %zu bytes: %s", size, strerror(errno));
			return;
		}
		maps[count].start = start;
		maps[count++].size = size;
	} else if (letter == 'u' && count) {
		count--;
		if (munmap(maps[count].start, maps[count].size))
			err(1, "cannot unmap");
	} else {
		json_error("no such command, or nothing to unmap: '%c'", letter);
		return;
	}
	json_begin(NULL, '{');
	print_layout(letter == 'm' ? maps[count - 1].start : maps[count].start,
		     letter == 'm' ? maps[count - 1].size : maps[count].size);
	json_size("mapped", count);
	json_end('}');
}

const struct scenario scenario_nextmap = {
	.name = "nextmap",
	.summary = "really maps what a prediction of the kernel's next address was made for",
	.keys = "",
	.commands =
		"m SIZE: map so many bytes, private and anonymous; u: unmap the last one. Each "
		"answers"
		" with start, end, size, mapped. Nothing else is mapped or allocated in between",
	.make = make_nextmap,
	.command = command_nextmap,
};
