/* SPDX-License-Identifier: MIT */
/*
 * Lives of trackers, copies and snapshots for prim_calls.c: whatever fails, contents are right, no written page is passed over, an
 * image that calls itself whole is right, and no descriptor is lost. A way that was not there when it was asked for, for
 * its probe failed, says so twice.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/prim/cow.h>
#include <vmatlas/prim/snapshot.h>
#include <vmatlas/prim/track.h>

#include "prim_calls.h"

enum { PAGE = 4096, PAGES = 64 };

static char *map(int fd)
{
	char *memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
			    fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_PRIVATE, fd, 0);

	return memory == MAP_FAILED ? map(fd) : memory;
}

static int file_of(size_t size)
{
	int fd = memfd_create("prim_calls", MFD_CLOEXEC);

	while (fd < 0 || ftruncate(fd, (off_t)size))
		fd = fd < 0 ? memfd_create("prim_calls", MFD_CLOEXEC) : fd;
	return fd;
}

/* The lowest free descriptor: higher than before when one is lost. */
static int lowest_free(void)
{
	int fd = dup(2);

	close(fd);
	return fd;
}

static bool is_filled(const char *memory, char byte)
{
	for (size_t i = 0; i < PAGES * PAGE; i++)
		if (memory[i] != byte)
			return false;
	return true;
}

/* Which pages an answer names. The failed one is asked again. */
static uint64_t collect(struct vmat_track *track, const char *memory)
{
	struct vmat_range runs[PAGES];
	ssize_t got = vmat_track_collect(track, runs, PAGES);
	uint64_t pages = 0;

	if (got < 0)
		got = vmat_track_collect(track, runs, PAGES);
	if (got < 0)
		errx(1, "an answer fails twice: %zd", got);
	for (ssize_t i = 0; i < got; i++)
		for (const char *page = runs[i].start; page < runs[i].end; page += PAGE)
			pages |= 1ULL << (page - memory) / PAGE;
	return pages;
}

static void live_track(enum vmat_track_backend backend)
{
	struct vmat_track_options options = { .size = sizeof(options), .backend = backend };
	const int before = lowest_free();
	struct vmat_track *track = NULL;
	char *memory = map(-1);
	int first, second;

	memset(memory, 1, PAGES * PAGE);
	first = vmat_track_open(memory, PAGES * PAGE, &options, &track);
	if (first < 0) {
		if (track || !is_filled(memory, 1) || lowest_free() != before)
			errx(1, "opening failed with %d and has left something", first);
		memset(memory, 1, PAGES * PAGE);
		second = vmat_track_open(memory, PAGES * PAGE, &options, &track);
		if (second == -EOPNOTSUPP && first == -EOPNOTSUPP) {
			munmap(memory, PAGES * PAGE);
			return;
		}
		if (second < 0)
			errx(1, "opening fails with %d and %d", first, second);
	}
	for (unsigned pass = 0; pass < 3; pass++) {
		const uint64_t wanted =
			1ULL << pass | 1ULL << 20 | 1ULL << 21 | 1ULL << (40 + pass);

		for (size_t page = 0; page < PAGES; page++)
			if (wanted >> page & 1)
				memory[page * PAGE + 5] = (char)(pass + 2);
		if (wanted & ~collect(track, memory))
			errx(1, "pass %u: a written page is not in the answer", pass);
	}
	if (memory[20 * PAGE + 5] != 4 || memory[40 * PAGE + 5] != 2 || memory[50 * PAGE + 5] != 1)
		errx(1, "the contents have changed");
	vmat_track_close(track);
	memset(memory, 9, PAGES * PAGE);
	munmap(memory, PAGES * PAGE);
	if (lowest_free() != before)
		errx(1, "a descriptor is lost");
}

void live_track_auto(void)
{
	live_track(VMAT_TRACK_AUTO);
}

void live_track_async(void)
{
	live_track(VMAT_TRACK_UFFD_ASYNC);
}

void live_track_sync(void)
{
	live_track(VMAT_TRACK_UFFD_SYNC);
}

void live_track_mprotect(void)
{
	live_track(VMAT_TRACK_MPROTECT);
}

void live_cow(void)
{
	const int before = lowest_free();
	struct vmat_range runs[4];
	int fd = file_of(PAGES * PAGE);
	char *memory = map(fd);
	ssize_t got;

	close(fd);
	memory[3 * PAGE] = memory[4 * PAGE] = memory[9 * PAGE] = 1;
	got = vmat_cow_copied(memory, PAGES * PAGE, runs, 4);
	if (got < 0)
		got = vmat_cow_copied(memory, PAGES * PAGE, runs, 4);
	/* Without its probe there is no pagemap, for the life of the process. */
	if (got != -ENOTSUP && got != -EACCES &&
	    (got != 2 || runs[0].start != memory + 3 * PAGE || runs[0].end != memory + 5 * PAGE ||
	     runs[1].start != memory + 9 * PAGE || runs[1].end != memory + 10 * PAGE))
		errx(1, "the copies are not those that were made: %zd", got);
	munmap(memory, PAGES * PAGE);
	if (lowest_free() != before)
		errx(1, "a descriptor is lost");
}

/* One image, from question to end. 0, or what failed. */
static int take(enum vmat_snapshot_backend backend, char *memory)
{
	struct vmat_snapshot_options options = { .size = sizeof(options), .backend = backend };
	struct vmat_range range = { memory, memory + PAGES * PAGE };
	struct vmat_snapshot *snapshot = NULL;
	static char image[PAGES * PAGE];
	int fd = file_of(0), err;

	memset(memory, 1, PAGES * PAGE);
	err = vmat_snapshot_begin(&range, 1, &fd, 1, &options, &snapshot);
	if (err < 0 && (snapshot || !is_filled(memory, 1)))
		errx(1, "beginning failed with %d and has changed something", err);
	memset(memory, 2, PAGES * PAGE);
	if (!err)
		err = vmat_snapshot_end(snapshot, NULL);
	if (!is_filled(memory, 2))
		errx(1, "the contents have changed");
	if (!err) {
		ssize_t got = pread(fd, image, sizeof(image), 0);

		if (got < 0)
			got = pread(fd, image, sizeof(image), 0);
		if (got != sizeof(image) || !is_filled(image, 1))
			errx(1, "a whole image is not what was there");
	}
	close(fd);
	return err;
}

static void live_snapshot(enum vmat_snapshot_backend backend)
{
	const int before = lowest_free();
	char *memory = map(-1);
	int first = take(backend, memory), second = first ? take(backend, memory) : 0;

	if (second && !(first == -EOPNOTSUPP && second == -EOPNOTSUPP))
		errx(1, "an image fails with %d and %d", first, second);
	munmap(memory, PAGES * PAGE);
	if (lowest_free() != before)
		errx(1, "a descriptor is lost");
}

void live_snapshot_fork(void)
{
	live_snapshot(VMAT_SNAPSHOT_FORK);
}

void live_snapshot_protect(void)
{
	live_snapshot(VMAT_SNAPSHOT_PROTECT);
}
