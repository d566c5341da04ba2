/* SPDX-License-Identifier: MIT */
/*
 * fault_counts [PAGES]: the minor faults of writing to fresh memory, of writing again, and after its pages were given back,
 * with the addresses of some.
 *
 * Memory that was given back comes again as zeroes, one fault for each page: that is what it costs to punch holes. The first
 * number of each line is exact.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/prim/faults.h>

static void write_all(char *start, size_t pages, size_t page)
{
	for (size_t i = 0; i < pages; i++)
		*(volatile char *)(start + i * page) = 1;
}

static void show(const char *what, char *start, size_t pages, size_t page)
{
	struct vmat_faults before, found;

	vmat_faults_of_thread(&before);
	write_all(start, pages, page);
	vmat_faults_since(&before, &found);
	printf("%-24s %" PRIu64 " minor, %" PRIu64 " major\n", what, found.minor, found.major);
}

static void show_addresses(char *start, size_t pages, size_t page)
{
	struct vmat_fault_log *log;
	struct vmat_fault fault;
	size_t inside = 0;
	int r = vmat_fault_log_open(&log, 0, pages + 100, 1);

	if (r) {
		printf("no addresses: %s\n", vmat_fault_log_why(r));
		return;
	}
	vmat_fault_log_start(log);
	write_all(start, pages, page);
	vmat_fault_log_stop(log);
	while (vmat_fault_log_read(log, &fault, 1) == 1)
		inside += fault.address >= (uintptr_t)start &&
			  fault.address < (uintptr_t)start + pages * page;
	printf("%zu addresses inside\n", inside);
	vmat_fault_log_close(log);
}

int main(int argc, char **argv)
{
	size_t pages = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000,
	       page = (size_t)sysconf(_SC_PAGESIZE);
	char *start = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);

	if (start == MAP_FAILED || pages < 4)
		return 2;
	/* A huge page would be one fault for 512. */
	madvise(start, pages * page, MADV_NOHUGEPAGE);
	write_all(start, 1, page);
	show("fresh, but for a page:", start, pages, page);
	show("again:", start, pages, page);
	madvise(start, pages / 2 * page, MADV_DONTNEED);
	show("half of it punched out:", start, pages, page);
	madvise(start, pages / 4 * page, MADV_DONTNEED);
	show_addresses(start, pages, page);
	return 0;
}
