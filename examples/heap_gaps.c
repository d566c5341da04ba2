/* SPDX-License-Identifier: MIT */
/*
 * heap_gaps: 200 blocks of 0 to 199 KiB, then every second one is freed. docs/cases/heap-gaps.md tells what is seen from outside.
 *
 * After each step it prints what glibc's own mallinfo2 says and waits for a line.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCKS = 200, KIB = 1024 };

static void *blocks[BLOCKS];

static void tell(const char *step)
{
	struct mallinfo2 info = mallinfo2();

	printf("%s\n  mallinfo2: arena %zu, in use %zu, free %zu in %zu chunks, mapped %zu in %zu blocks\n",
	       step, info.arena, info.uordblks, info.fordblks, info.ordblks, info.hblkhd,
	       info.hblks);
	getchar();
}

int main(void)
{
	static char out[4096], in[64];

	/* stdio's buffers would be blocks of the heap that is to be looked at. */
	setvbuf(stdout, out, _IOLBF, sizeof(out));
	setvbuf(stdin, in, _IOFBF, sizeof(in));
	printf("pid %d\n", (int)getpid());
	for (size_t i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(i * KIB);
		if (!blocks[i])
			return 1;
	}
	tell("200 blocks of 0 to 199 KiB");
	for (size_t i = 1; i < BLOCKS; i += 2) {
		free(blocks[i]);
		blocks[i] = NULL;
	}
	tell("the odd ones are freed");
	return 0;
}
