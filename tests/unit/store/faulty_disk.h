/* SPDX-License-Identifier: MIT */
/*
 * faulty_disk.h: a way to the disk for SQLite (a VFS) that writes down what is done to files, and can refuse.
 *
 * Everything is passed to the usual VFS. What is written, cut and synced is kept in order, so that a test can make the files
 * that a loss of power could have left: what was synced is there, and of what was written since then any part, in any order, and
 * torn between sectors.
 */
#ifndef VMAT_FAULTY_DISK_H
#define VMAT_FAULTY_DISK_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum disk_file { DISK_DATABASE, DISK_LOG, DISK_JOURNAL, DISK_FILES };

enum disk_step_kind { DISK_WRITE, DISK_CUT, DISK_SYNC, DISK_REMOVE, DISK_ACKNOWLEDGED };

struct disk_step {
	enum disk_step_kind kind;
	enum disk_file file;
	uint64_t offset, size; /* DISK_CUT: size; DISK_ACKNOWLEDGED: how many ticks */
	uint8_t *data;
};

static struct {
	struct disk_step *steps;
	size_t steps_count;
	uint64_t calls;              /* writes, cuts and syncs so far */
	uint64_t fail_from, fail_to; /* these of them fail; 0: none. From 1 */
	int fail_code;
} disk;

struct disk_handle {
	sqlite3_file base;
	enum disk_file file;
	sqlite3_file *real;
};

static sqlite3_vfs *disk_real_vfs(void)
{
	return sqlite3_vfs_find("unix");
}

static struct disk_step *disk_note(enum disk_step_kind kind, enum disk_file file, uint64_t offset,
				   uint64_t size)
{
	struct disk_step *step;

	if (!(disk.steps_count & (disk.steps_count - 1))) {
		size_t room = disk.steps_count ? 2 * disk.steps_count : 1;

		disk.steps = realloc(disk.steps, room * sizeof(*disk.steps));
		if (!disk.steps)
			abort();
	}
	step = &disk.steps[disk.steps_count++];
	*step = (struct disk_step){ .kind = kind, .file = file, .offset = offset, .size = size };
	return step;
}

static bool disk_fails(void)
{
	disk.calls++;
	return disk.fail_from && disk.calls >= disk.fail_from && disk.calls <= disk.fail_to;
}

static sqlite3_file *disk_of(sqlite3_file *file)
{
	return ((struct disk_handle *)(void *)file)->real;
}

static enum disk_file disk_name(sqlite3_file *file)
{
	return ((struct disk_handle *)(void *)file)->file;
}

static int disk_close(sqlite3_file *file)
{
	return disk_of(file)->pMethods ? disk_of(file)->pMethods->xClose(disk_of(file)) : SQLITE_OK;
}

static int disk_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
	return disk_of(file)->pMethods->xRead(disk_of(file), data, size, offset);
}

static int disk_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
	struct disk_step *step;

	if (disk_fails())
		return disk.fail_code;
	step = disk_note(DISK_WRITE, disk_name(file), (uint64_t)offset, (uint64_t)size);
	step->data = malloc((size_t)size);
	if (!step->data)
		abort();
	memcpy(step->data, data, (size_t)size);
	return disk_of(file)->pMethods->xWrite(disk_of(file), data, size, offset);
}

static int disk_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	if (disk_fails())
		return SQLITE_IOERR_TRUNCATE;
	disk_note(DISK_CUT, disk_name(file), 0, (uint64_t)size);
	return disk_of(file)->pMethods->xTruncate(disk_of(file), size);
}

/* The disk itself need not work for it. */
static int disk_sync(sqlite3_file *file, int flags)
{
	(void)flags;
	if (disk_fails())
		return SQLITE_IOERR_FSYNC;
	disk_note(DISK_SYNC, disk_name(file), 0, 0);
	return SQLITE_OK;
}

static int disk_size(sqlite3_file *file, sqlite3_int64 *ret)
{
	return disk_of(file)->pMethods->xFileSize(disk_of(file), ret);
}

static int disk_lock(sqlite3_file *file, int level)
{
	return disk_of(file)->pMethods->xLock(disk_of(file), level);
}

static int disk_unlock(sqlite3_file *file, int level)
{
	return disk_of(file)->pMethods->xUnlock(disk_of(file), level);
}

static int disk_check_lock(sqlite3_file *file, int *ret)
{
	return disk_of(file)->pMethods->xCheckReservedLock(disk_of(file), ret);
}

static int disk_control(sqlite3_file *file, int op, void *argument)
{
	return disk_of(file)->pMethods->xFileControl(disk_of(file), op, argument);
}

static int disk_sector(sqlite3_file *file)
{
	return disk_of(file)->pMethods->xSectorSize(disk_of(file));
}

/* Nothing is promised: an ordinary disk, whose sectors are written one by one. */
static int disk_traits(sqlite3_file *file)
{
	(void)file;
	return 0;
}

static int disk_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **ret)
{
	return disk_of(file)->pMethods->xShmMap(disk_of(file), page, size, extend, ret);
}

static int disk_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
	return disk_of(file)->pMethods->xShmLock(disk_of(file), offset, count, flags);
}

static void disk_shm_barrier(sqlite3_file *file)
{
	disk_of(file)->pMethods->xShmBarrier(disk_of(file));
}

static int disk_shm_unmap(sqlite3_file *file, int remove)
{
	return disk_of(file)->pMethods->xShmUnmap(disk_of(file), remove);
}

static const sqlite3_io_methods disk_methods = {
	.iVersion = 2,
	.xClose = disk_close,
	.xRead = disk_read,
	.xWrite = disk_write,
	.xTruncate = disk_truncate,
	.xSync = disk_sync,
	.xFileSize = disk_size,
	.xLock = disk_lock,
	.xUnlock = disk_unlock,
	.xCheckReservedLock = disk_check_lock,
	.xFileControl = disk_control,
	.xSectorSize = disk_sector,
	.xDeviceCharacteristics = disk_traits,
	.xShmMap = disk_shm_map,
	.xShmLock = disk_shm_lock,
	.xShmBarrier = disk_shm_barrier,
	.xShmUnmap = disk_shm_unmap,
};

static bool disk_ends(const char *name, const char *end)
{
	size_t size = strlen(name), tail = strlen(end);

	return size >= tail && !strcmp(name + size - tail, end);
}

static int disk_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret)
{
	struct disk_handle *handle = (struct disk_handle *)(void *)file;
	int rc;

	(void)vfs;
	handle->real = (sqlite3_file *)(void *)(handle + 1);
	handle->file = !name                         ? DISK_JOURNAL
		       : disk_ends(name, "-wal")     ? DISK_LOG
		       : disk_ends(name, "-journal") ? DISK_JOURNAL
						     : DISK_DATABASE;
	rc = disk_real_vfs()->xOpen(disk_real_vfs(), name, handle->real, flags, ret);
	file->pMethods = handle->real->pMethods ? &disk_methods : NULL;
	return rc;
}

static int disk_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	(void)vfs;
	disk_note(DISK_REMOVE, disk_ends(name, "-wal") ? DISK_LOG : DISK_JOURNAL, 0, 0);
	return disk_real_vfs()->xDelete(disk_real_vfs(), name, sync);
}

/* Makes the VFS "faulty", or forgets what it has seen. */
static void disk_begin(void)
{
	static sqlite3_vfs vfs;

	for (size_t i = 0; i < disk.steps_count; i++)
		free(disk.steps[i].data);
	free(disk.steps);
	memset(&disk, 0, sizeof(disk));
	disk.fail_code = SQLITE_FULL;
	if (vfs.zName)
		return;
	vfs = *disk_real_vfs();
	vfs.pNext = NULL;
	vfs.zName = "faulty";
	vfs.szOsFile += (int)sizeof(struct disk_handle);
	vfs.xOpen = disk_open;
	vfs.xDelete = disk_delete;
	sqlite3_vfs_register(&vfs, 0);
}

/* A file as it may be found. */
struct disk_content {
	uint8_t *data;
	uint64_t size, room;
	bool is_there;
};

static void disk_apply(struct disk_content *content, const struct disk_step *step, uint64_t first,
		       uint64_t end)
{
	const uint64_t until = step->kind == DISK_CUT ? step->size : step->offset + end;

	content->is_there = true;
	if (until > content->room) {
		content->data = realloc(content->data, until * 2);
		if (!content->data)
			abort();
		memset(content->data + content->room, 0, until * 2 - content->room);
		content->room = until * 2;
	}
	if (step->kind == DISK_CUT) {
		if (step->size < content->size)
			memset(content->data + step->size, 0, content->size - step->size);
		content->size = step->size;
		return;
	}
	if (content->data && end > first)
		memcpy(content->data + step->offset + first, step->data + first, end - first);
	if (until > content->size)
		content->size = until;
}

#endif
