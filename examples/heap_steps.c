/* SPDX-License-Identifier: MIT */
/*
 * heap_steps: four blocks, A to D, come and go: two ways to get memory, and when it goes back. docs/cases/heap-gaps.md tells what
 * is seen from outside.
 *
 * After each step it prints what glibc's own mallinfo2 says and waits for a line.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KIB = 1024 };

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
	void *volatile a, *volatile b, *volatile c, *volatile d;

	/* stdio's buffers would be blocks of the heap that is to be looked at. */
	setvbuf(stdout, out, _IOLBF, sizeof(out));
	setvbuf(stdin, in, _IOFBF, sizeof(in));
	printf("pid %d\n", (int)getpid());
	a = malloc(30 * KIB);
	tell("A of 30 KiB");
	b = malloc(40 * KIB);
	tell("B of 40 KiB");
	c = malloc(200 * KIB);
	tell("C of 200 KiB");
	d = malloc(100 * KIB);
	tell("D of 100 KiB");
	free(c);
	tell("C is freed");
	free(b);
	tell("B is freed");
	free(d);
	tell("D is freed");
	free(a);
	return 0;
}
