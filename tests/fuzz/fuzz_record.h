/* SPDX-License-Identifier: MIT */
/*
 * fuzz_record.h: a recorded process one of whose texts is what the fuzzer made up. The folder lies in
 * TMPDIR and is removed at the end.
 */
#ifndef VMAT_FUZZ_RECORD_H
#define VMAT_FUZZ_RECORD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmatlas/target.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char fuzz_root[128], fuzz_text[192];

static void fuzz_remove(void)
{
	char path[192];

	unlink(fuzz_text);
	snprintf(path, sizeof(path), "%s/77/stat", fuzz_root);
	unlink(path);
	snprintf(path, sizeof(path), "%s/77", fuzz_root);
	rmdir(path);
	rmdir(fuzz_root);
}

static void fuzz_write(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "we");

	if (!file || fwrite(data, 1, size, file) != size || fclose(file))
		abort();
}

/* Process 77, whose text `name` is `data`. NULL when it cannot be opened for what it holds. */
static struct vmat_target *fuzz_record(const char *name, const uint8_t *data, size_t size)
{
	static const char stat[] =
		"77 (fuzz) S 1 1 1 0 -1 0 1 0 2 0 5 6 0 0 20 0 1 0 55 1000 25 1 1 1 "
		"140720308490240 0 0\n";
	struct vmat_target_options options = { .size = sizeof(options), .root = fuzz_root };
	struct vmat_target *target = NULL;
	char path[192];

	if (!fuzz_root[0]) {
		const char *folder = getenv("TMPDIR");

		snprintf(fuzz_root, sizeof(fuzz_root), "%s/fuzz-XXXXXX", folder ? folder : "/tmp");
		if (!mkdtemp(fuzz_root))
			abort();
		snprintf(path, sizeof(path), "%s/77", fuzz_root);
		mkdir(path, 0700);
		snprintf(path, sizeof(path), "%s/77/stat", fuzz_root);
		fuzz_write(path, stat, sizeof(stat) - 1);
		snprintf(fuzz_text, sizeof(fuzz_text), "%s/77/%s", fuzz_root, name);
		atexit(fuzz_remove);
	}
	fuzz_write(fuzz_text, data, size);
	return vmat_target_open(&target, "77", &options, NULL) ? NULL : target;
}

#endif
