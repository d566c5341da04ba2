/* SPDX-License-Identifier: MIT */
/*
 * tiny_chain: a program with many blocks of one pointer each, which leads to the next: with mimalloc nothing is smaller.
 *
 * usage: tiny_chain BLOCKS
 *
 * Prints `ready` and waits for the end of stdin.
 */
#include <stdio.h>
#include <stdlib.h>

static void **volatile head;

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;

	for (size_t i = 0; i < count; i++) {
		void **block = malloc(sizeof(*block));

		if (!block)
			return 1;
		*block = head;
		head = block;
	}
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
