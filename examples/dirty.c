/* SPDX-License-Identifier: MIT */
/*
 * dirty: which pages a program writes, asked three times: after writes of its own, after a read(2) into the
 * memory, and after nothing. `dirty mprotect` (uffd_sync, soft_dirty) takes that way instead of the best.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/prim/track.h>

enum { PAGE = 4096, PAGES = 64, RUNS = 8 };

static char *memory;

/* Says which pages were written since the last question, as in "3-4 9". */
static int ask(struct vmat_track *track, const char *when)
{
	struct vmat_range runs[RUNS];
	ssize_t got;

	printf("%s:", when);
	do {
		got = vmat_track_collect(track, runs, RUNS);
		for (ssize_t i = 0; i < got; i++) {
			long first = (runs[i].start - memory) / PAGE,
			     last = (runs[i].end - memory) / PAGE - 1;

			printf(first == last ? " %ld" : " %ld-%ld", first, last);
		}
	} while (got == RUNS);
	puts("");
	return got < 0 ? (int)got : 0;
}

static enum vmat_track_backend backend_of(const char *name)
{
	static const char *const names[] = { "auto", "uffd_async", "soft_dirty", "uffd_sync",
					     "mprotect" };
	unsigned i = 0;

	while (name && i < 5 && strcmp(name, names[i]) != 0)
		i++;
	return i < 5 ? (enum vmat_track_backend)i : VMAT_TRACK_AUTO;
}

int main(int argc, char **argv)
{
	struct vmat_track_options options = { .size = sizeof(options),
					      .backend = backend_of(argc > 1 ? argv[1] : NULL) };
	struct vmat_track_info info = { .size = sizeof(info) };
	struct vmat_track *track;
	int err, zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (memory == MAP_FAILED || zero < 0)
		return 1;
	err = vmat_track_open(memory, PAGES * PAGE, &options, &track);
	if (err) {
		fprintf(stderr, "dirty: cannot track: %s\n", strerrordesc_np(-err));
		return 1;
	}
	vmat_track_info(track, &info);
	printf("tracked by %s\n", info.name);
	memory[3 * PAGE] = 1;
	memory[4 * PAGE + 17] = 1;
	memory[9 * PAGE] = 1;
	for (int page = 20; page < 60; page += 2)
		memory[page * PAGE] = 1;
	err = ask(track, "after writes");
	if (read(zero, memory + 30 * PAGE, PAGE) != PAGE)
		printf("read(2) into the memory failed: %m\n");
	err = err ? err : ask(track, "after read(2)");
	err = err ? err : ask(track, "after nothing");
	vmat_track_close(track);
	return err ? 1 : 0;
}
