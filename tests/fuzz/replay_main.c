/*
 * Runs a fuzz target over the files of its corpus, without libFuzzer, and reports in TAP.
 *
 * Arguments: files and folders, folders with all that lies below them. The name of each input is printed before the target sees it,
 * so that after a crash the last name is the one that did it. An empty corpus is a failure: a replay of nothing tests nothing.
 */
#include <fcntl.h>
#include <fts.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input is copied to a block of exactly its size, so that a sanitizer sees a read past its end. */
static int replay_file(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *data;
	ssize_t got;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || !(data = malloc(st.st_size ? (size_t)st.st_size : 1))) {
		close(fd);
		return -1;
	}
	got = read(fd, data, (size_t)st.st_size);
	close(fd);
	if (got != st.st_size) {
		free(data);
		return -1;
	}
	LLVMFuzzerTestOneInput(data, (size_t)got);
	free(data);
	return 0;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

int main(int argc, char **argv)
{
	unsigned int replayed = 0, unreadable = 0;
	FTSENT *entry;
	FTS *tree;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE|FOLDER...\n", argv[0]);
		return 2;
	}
	tree = fts_open(argv + 1, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	while (tree && (entry = fts_read(tree))) {
		if (entry->fts_info == FTS_F) {
			printf("# %s\n", entry->fts_path);
			fflush(stdout);
			if (replay_file(entry->fts_accpath) < 0)
				unreadable++;
			else
				replayed++;
		} else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR ||
			   entry->fts_info == FTS_NS) {
			unreadable++;
		}
	}
	if (tree)
		fts_close(tree);
	printf("1..1\n%s 1 - replays %u inputs, %u of them unreadable\n",
	       replayed && !unreadable ? "ok" : "not ok", replayed + unreadable, unreadable);
	return replayed && !unreadable ? 0 : 1;
}
