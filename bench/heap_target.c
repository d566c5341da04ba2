/* SPDX-License-Identifier: MIT */
/*
 * heap_target COUNT SIZE REFS [local]: a heap to be walked: COUNT blocks of SIZE bytes, each of which refers to REFS others, chosen at
 * random or, with `local`, near by. All can be reached from one array. Prints its pid when it is made, and waits for the end of its input.
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void ***blocks;

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
	size_t size = argc > 2 ? strtoul(argv[2], NULL, 10) : 100;
	size_t refs = argc > 3 ? strtoul(argv[3], NULL, 10) : 3;
	int is_local = argc > 4 && strcmp(argv[4], "local") == 0;
	uint64_t state = 1;
	char end;

	if (refs * sizeof(void *) > size)
		errx(2, "%zu references do not fit in %zu bytes", refs, size);
	blocks = calloc(count, sizeof(*blocks));
	for (size_t i = 0; blocks && i < count; i++) {
		blocks[i] = malloc(size);
		if (!blocks[i])
			err(1, "malloc");
		memset(blocks[i], 'v', size);
	}
	for (size_t i = 0; blocks && i < count; i++) {
		for (size_t j = 0; j < refs; j++) {
			size_t other = is_local ? (i + 1 + next_random(&state) % 64) % count
						: next_random(&state) % count;

			blocks[i][j] = (void *)blocks[other];
		}
	}
	printf("%d\n", (int)getpid());
	fflush(stdout);
	while (read(0, &end, 1) > 0)
		;
	return 0;
}
