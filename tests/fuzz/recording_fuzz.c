/* SPDX-License-Identifier: MIT */
/*
 * The input is a recording: whatever it holds, it is refused with a reason, or all of it is read, with little work. The file is the same
 * afterwards.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmatlas/store.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[128], path[160];

static void remove_all(void)
{
	static const char *const ends[] = { "-shm", "-wal", "-journal", "" };
	char name[192];

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		unlink(name);
	}
	rmdir(folder);
}

static void check_same(const uint8_t *data, size_t size)
{
	uint8_t *now = malloc(size + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (!now || fd < 0 || read(fd, now, size + 1) != (ssize_t)size ||
	    memcmp(now, data, size) != 0)
		abort();
	close(fd);
	free(now);
}

static void read_process(struct vmat_recording *recording, size_t index)
{
	static struct vmat_judgement judgement;
	struct vmat_error err = { 0 };
	struct vmat_owner_sample *owners;
	struct vmat_series series;
	size_t count;

	if (vmat_recording_series(recording, index, &series, NULL, &err) == 0) {
		for (size_t i = 1; i < series.samples_count; i++)
			if (series.samples[i].mono_ns <= series.samples[i - 1].mono_ns)
				abort();
		vmat_recording_series_free(&series);
	} else if (!err.text[0]) {
		abort();
	}
	vmat_recording_judgement(recording, index, &judgement, &err);
	err.text[0] = '\0';
	if (vmat_recording_owners(recording, index, INT64_MAX, &owners, &count, &err) == 0) {
		if (count > VMAT_OWNERS_MAX)
			abort();
		for (size_t i = 0; i < count; i++)
			if (!owners[i].name[0] || owners[i].kind >= VMAT_KIND_COUNT)
				abort();
		free(owners);
	} else if (!err.text[0]) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vmat_recording_options options = { .size = sizeof(options),
							.samples_max = 1000,
							.work_max = 2000000 };
	struct vmat_error err = { 0 };
	struct vmat_recording *recording;
	int fd;

	if (!folder[0]) {
		const char *place = getenv("TMPDIR");

		snprintf(folder, sizeof(folder), "%s/fuzz-XXXXXX", place ? place : "/tmp");
		if (!mkdtemp(folder))
			abort();
		snprintf(path, sizeof(path), "%s/recording", folder);
		atexit(remove_all);
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
	if (vmat_recording_open(&recording, path, &options, &err) == 0) {
		const struct vmat_recorded *processes;
		size_t count = vmat_recording_processes(recording, &processes);

		for (size_t i = 0; i < count && i < 8; i++)
			read_process(recording, i);
		vmat_recording_close(recording);
	} else if (!err.text[0]) {
		abort();
	}
	check_same(data, size);
	return 0;
}
