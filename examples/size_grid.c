/* SPDX-License-Identifier: MIT */
/*
 * size_grid [BYTES...]: what malloc will give for requests of these sizes, and what it then gave.
 *
 * The question was: requested 284 bytes, allocated 320; requested 644, allocated 1024. What is the grid, so that the request can
 * be for all of it? And: how large is the block at this pointer, without a crash when it is none?
 *
 *     LD_PRELOAD=libjemalloc.so.2 ./size_grid 284 644
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/prim/goodsize.h>

static void show(size_t size)
{
	ssize_t good = vmat_good_size(size);
	void *block;

	if (good < 0) {
		printf("%8zu -> %s\n", size, strerror((int)-good));
		return;
	}
	block = malloc(size);
	printf("%8zu -> %zd, given %zd\n", size, good, vmat_usable_size(block));
	free(block);
}

int main(int argc, char **argv)
{
	static const size_t usual[] = { 1, 284, 644, 5000, 100000, 1000000 };
	const char *name;
	char text[32] __attribute__((aligned(16))) = "on the stack";

	free(malloc(1));
	name = vmat_allocator();
	printf("allocator: %s\n", name ? name : "not known");
	for (int i = 1; i < argc; i++)
		show(strtoul(argv[i], NULL, 10));
	for (size_t i = 0; argc < 2 && i < sizeof(usual) / sizeof(usual[0]); i++)
		show(usual[i]);
	printf("a pointer into the stack: %s\n", strerror((int)-vmat_usable_size(text + 16)));
	return 0;
}
