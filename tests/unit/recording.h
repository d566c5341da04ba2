/* SPDX-License-Identifier: MIT */
/*
 * recording.h: recorded /proc trees for tests, made in a temporary folder and removed with it.
 */
#ifndef VMAT_RECORDING_H
#define VMAT_RECORDING_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmatlas/target.h>

#include "cmocka_all.h"

/* A stat text: pid, comm, state, flags, minor and major faults, threads, start time, start of the stack. */
#define STAT_TEXT                                                                                 \
	"%d (%s) %c 1 1 1 0 -1 %u 11 0 22 0 5 6 0 0 20 0 %d 0 %d 1000 25 18446744073709551615 1 " \
	"1 "                                                                                      \
	"%llu 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

struct recording {
	char root[128];
};

__attribute__((unused)) static void recording_init(struct recording *recording)
{
	const char *folder = getenv("TMPDIR");

	snprintf(recording->root, sizeof(recording->root), "%s/vmatlas-XXXXXX",
		 folder ? folder : "/tmp");
	assert_non_null(mkdtemp(recording->root));
}

static int recording_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

__attribute__((unused)) static void recording_deinit(struct recording *recording)
{
	nftw(recording->root, recording_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* A path below the root, with its folders made. Lifetime: until the next call. */
__attribute__((unused)) static const char *recording_path(const struct recording *recording,
							  const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", recording->root, name);
	for (char *slash = path + strlen(recording->root) + 1; (slash = strchr(slash, '/'));
	     slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	return path;
}

__attribute__((unused)) static void recording_add_bytes(const struct recording *recording,
							const char *name, const void *bytes,
							size_t size)
{
	FILE *file = fopen(recording_path(recording, name), "we");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

__attribute__((unused)) static void recording_add(const struct recording *recording,
						  const char *name, const char *text)
{
	recording_add_bytes(recording, name, text, strlen(text));
}

/* Process 77, "recorded", asleep, with one thread. */
__attribute__((unused)) static void recording_add_process(const struct recording *recording)
{
	char text[512];

	snprintf(text, sizeof(text), STAT_TEXT, 77, "recorded", 'S', 0x400000U, 1, 4711,
		 0x7ffc00001000ULL);
	recording_add(recording, "77/stat", text);
}

/* Opens process 77 of the tree. */
__attribute__((unused)) static struct vmat_target *recording_open(const struct recording *recording)
{
	struct vmat_target_options options = { .size = sizeof(options), .root = recording->root };
	struct vmat_target *target = NULL;
	struct vmat_error err = { 0 };

	if (vmat_target_open(&target, "77", &options, &err))
		fail_msg("%s", err.text);
	return target;
}

#endif
