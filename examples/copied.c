/* SPDX-License-Identifier: MIT */
/*
 * copied: which pages of a private file mapping are copies, asked by an ordinary user. Of four pages two are written
 * and one is read; then, after a fork, which pages parent and child still share.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmatlas/prim/cow.h>

enum { PAGE = 4096, PAGES = 4 };

static char *memory;

static void show(const char *what,
		 ssize_t (*ask)(const void *, size_t, struct vmat_range *, size_t))
{
	struct vmat_range runs[PAGES];
	ssize_t got = ask(memory, PAGES * PAGE, runs, PAGES);

	printf("%s:", what);
	if (got < 0)
		printf(" %s", strerrordesc_np((int)-got));
	for (ssize_t i = 0; i < got; i++)
		for (const char *page = runs[i].start; page < runs[i].end; page += PAGE)
			printf(" %ld", (long)(page - memory) / PAGE);
	puts("");
	fflush(stdout);
}

int main(void)
{
	FILE *file = tmpfile();
	int status;
	pid_t child;

	if (!file || ftruncate(fileno(file), (off_t)PAGES * PAGE))
		return 1;
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fileno(file), 0);
	if (memory == MAP_FAILED)
		return 1;
	memcpy(memory, "I feel so dirty\n", 16);
	memcpy(memory + 2 * PAGE, "Christ on crutches\n", 19);
	if (*(volatile char *)(memory + 3 * PAGE))
		return 1;
	show("copied", vmat_cow_copied);
	show("shared", vmat_cow_shared);
	child = fork();
	if (child == 0) {
		show("copied, in the child", vmat_cow_copied);
		show("shared, in the child", vmat_cow_shared);
		memory[0] = 'i';
		show("shared, when the child has written", vmat_cow_shared);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		return 1;
	show("shared, when the child has ended", vmat_cow_shared);
	return 0;
}
