/* SPDX-License-Identifier: MIT */
/*
 * huge_buffer [MIB]: a buffer of huge pages in physical order, its extents, and what smaps says of it.
 *
 * The driver's problem was: two huge pages of one buffer lie in memory in any order, so page 0 may be behind page 262144. Raise
 * vm.nr_hugepages first; as root the frames are known and sorted.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/prim/hugebuf.h>

/* The lines of our mapping about sizes: KernelPageSize is that of the huge page. */
static void show_smaps(const struct vmat_hugebuf *buf)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	char line[512];
	int is_ours = 0;

	while (file && fgets(line, sizeof(line), file)) {
		char *end;
		unsigned long start = strtoul(line, &end, 16);

		if (*end == '-')
			is_ours = start >= (unsigned long)buf->data &&
				  start < (unsigned long)buf->data + buf->size;
		if (is_ours &&
		    (*end == '-' || strstr(line, "PageSize") || !strncmp(line, "Size", 4)))
			fputs(line, stdout);
	}
	if (file)
		fclose(file);
}

int main(int argc, char **argv)
{
	size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 8;
	struct vmat_hugebuf *buf;
	int r = vmat_hugebuf_new(&buf, mib << 20, 0);

	if (r) {
		fprintf(stderr, "huge_buffer: %s: see vm.nr_hugepages\n", strerror(-r));
		return 1;
	}
	printf("%zu MiB of pages of %zu KiB%s%s\n", buf->size >> 20, buf->page_size >> 10,
	       buf->is_ascending ? ", in ascending order" : ": ",
	       buf->is_ascending ? "" : buf->why);
	for (size_t i = 0; i < buf->extents_count; i++)
		printf("  +%#zx %zu KiB at physical %#" PRIx64 "\n", buf->extents[i].offset,
		       buf->extents[i].bytes >> 10, buf->extents[i].physical);
	show_smaps(buf);
	vmat_hugebuf_free(buf);
	return 0;
}
