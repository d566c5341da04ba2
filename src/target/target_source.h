/* SPDX-License-Identifier: MIT */
/*
 * target_source.h: the contract between the models and whatever a target is made of.
 *
 * A target speaks proc(5): its regions, counters and threads are texts by the names they have below
 * /proc/PID ("maps", "status", "task/7/comm"); its pages are runs; its memory is read by address.
 * live.c asks the kernel, recorded.c a folder. A source that has no such text says -ENOENT, and one
 * that is not permitted to give it -EACCES or -EPERM.
 *
 * All of it is bound to one process: the texts are opened below a directory handle of /proc/PID,
 * which the kernel ties to the process and not to its number.
 */
#ifndef VMAT_TARGET_SOURCE_H
#define VMAT_TARGET_SOURCE_H

#include <vmatlas/target.h>

#include "base/buffer.h"

/*
 * Opens a text. Returns a file descriptor (O_CLOEXEC) that the caller closes, or a negative errno.
 * For texts that are long: maps, smaps.
 */
int vmat_source_open_text(struct vmat_target *target, const char *name);

/*
 * The same for a text of the process as a whole. Where its first thread has exited and others live on, the texts above are those
 * of one that lives, so that there is memory to tell of; stat then counts that thread alone.
 */
int vmat_source_open_whole(struct vmat_target *target, const char *name);

/* The next bytes of an opened text: how many, 0 at the end, or -errno. maps and smaps give 4 KiB at most. */
ssize_t vmat_source_read_text(int fd, void *buffer, size_t size);

/*
 * Reads a whole text into `buffer` (reset first; always ends in a NUL that is not counted), at most
 * 1 MiB. Returns 0 or a negative errno; -EFBIG when it is longer.
 */
int vmat_source_text(struct vmat_target *target, const char *name, struct vmat_buffer *buffer);

/* Reads the target of a symbolic link ("exe", "task/7/cwd"), like vmat_source_text. */
int vmat_source_link(struct vmat_target *target, const char *name, struct vmat_buffer *buffer);

/* All thread ids, ascending. Frees with free(). */
int vmat_source_threads(struct vmat_target *target, pid_t **ret, size_t *ret_count);

/*
 * The next pages from *addr on, below end: at most `count` runs, ascending, not overlapping; pages
 * that were never touched are in no run. Moves *addr behind what has been examined; the scan is done
 * when *addr == end. One call holds the target's lock for less than 1 ms.
 *
 * `want`: the flags that the caller needs (enum vmat_page_flag); FILE and EXCLUSIVE cost more, and
 * pages may be merged across flags that were not wanted. `*known`: the wanted flags that this source
 * can tell; the others are 0 in the runs and mean nothing.
 *
 * Returns the number of runs, or a negative errno: -EACCES, -EPERM, -ESRCH (it has ended), -ENOENT.
 */
int vmat_source_scan(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
		     struct vmat_page_run *runs, size_t count, uint32_t *known);

/*
 * Entries of /proc/PID/pagemap for `count` pages from addr on (sys/pagemap.h has their bits), at most
 * 4096 at a time. Returns how many were read, or a negative errno (-ENOENT: not recorded).
 */
int vmat_source_pagemap(struct vmat_target *target, uint64_t addr, uint64_t *entries, size_t count);

/*
 * Reads memory, but only pages that are present: reading others would change the target (it would
 * fill its page tables) or hang (userfaultfd, FUSE). Returns the number of bytes up to the first page
 * that is absent or refused, which may be 0, or a negative errno: -EACCES, -EPERM, -ESRCH, -ENOENT.
 * Of firmware: up to the first byte that nobody has; nothing is read that was not asked for, since reading a
 * register of a device may change it; the errors are those of vmat_target_hold.
 */
ssize_t vmat_source_read(struct vmat_target *target, uint64_t addr, void *buffer, size_t size);

/* One of many small reads. `got`: bytes read, or 0. A piece must not cross a page. */
struct vmat_piece {
	uint64_t addr;
	void *buffer;
	uint32_t size;
	uint32_t got;
};

/*
 * Reads many pieces at once. The caller has just seen in a scan that their pages are present. Done by
 * a short-lived child that may be killed, so a page that turns into a hole that hangs costs only the
 * pieces not read yet. Returns 0 or a negative errno; pieces not read have got == 0.
 */
int vmat_source_read_pieces(struct vmat_target *target, struct vmat_piece *pieces, size_t count);

/*
 * Opens a file that the target maps, as the target sees its path (its root, its mounts), for reading.
 * Only a regular file whose inode is `inode` is opened, and none on a file system that may hang
 * (FUSE, network). Returns a file descriptor or a negative errno: -ESTALE another file is there now,
 * -EOPNOTSUPP a file system that may hang, -ENOENT, -EACCES.
 */
int vmat_source_open_file(struct vmat_target *target, const char *path, uint32_t dev_major,
			  uint32_t dev_minor, uint64_t inode);

/*
 * Opens the ELF file of the program that runs: that of firmware, or of a process by its exe, as
 * vmat_source_open_file does. A file descriptor or a negative errno; -ENOENT: it is not known.
 */
int vmat_source_open_program(struct vmat_target *target);

/*
 * Opens the separate debug file of a build id, below /usr/lib/debug/.build-id of the target's root, else of
 * ours. A file descriptor or a negative errno: -ENOENT there is none. That it has this build id is not checked.
 */
int vmat_source_open_debug(struct vmat_target *target, const uint8_t *build_id, size_t size);

/* What a file system is, as far as it decides what kind of memory a mapping of its files is. */
enum vmat_device_kind {
	VMAT_DEVICE_OTHER,
	VMAT_DEVICE_SHMEM, /* the kernel's own tmpfs: memfd, System V and anonymous shared memory */
	VMAT_DEVICE_TMPFS, /* a mounted tmpfs */
	VMAT_DEVICE_HUGETLB, /* a hugetlbfs, mounted or the kernel's own */
};

/*
 * The kind of the file system with this device number, by the target's mountinfo and, for the kernel's
 * own ones, by asking where a memfd lies. `*page_size` is that of a hugetlbfs, else 0.
 */
enum vmat_device_kind vmat_source_device(struct vmat_target *target, uint32_t dev_major,
					 uint32_t dev_minor, uint64_t *page_size);

/* Is this path a character device, as the target sees it? False when it cannot be told. */
bool vmat_source_is_char_device(struct vmat_target *target, const char *path);

/* The page size of the mapping at addr, from PROCMAP_QUERY, or -EOPNOTSUPP, -ENOENT (not mapped), ... */
int64_t vmat_source_mapping_page_size(struct vmat_target *target, uint64_t addr);

/*
 * Flags (/proc/kpageflags) and map counts (/proc/kpagecount) of `count` frames from pfn on; either may
 * be NULL. 0 or a negative errno; -EACCES without the rights.
 */
int vmat_source_frames(struct vmat_target *target, uint64_t pfn, uint64_t *flags, uint64_t *counts,
		       size_t count);

/* A number below /proc/sys by its name there ("vm/max_map_count"), or VMAT_UNKNOWN. */
uint64_t vmat_source_sysctl(struct vmat_target *target, const char *name);

/* Pages of a mapped buffer that lie behind each other in memory, by the driver in kmod/. */
struct vmat_extent {
	uint64_t offset; /* in the buffer, in bytes */
	uint64_t bytes;
	uint64_t physical; /* VMAT_UNKNOWN without CAP_SYS_ADMIN */
};

/* Is this the name of a mapping of such a buffer, "anon_inode:[vmatlas:N]"? Pure. */
bool vmat_source_is_buffer(const char *name);

/*
 * All extents of the buffer with this name, by offset, over a copy of a descriptor that the target has of it. Frees with
 * free(). 0 or a negative errno: -ENOENT the target has closed its descriptors, and only the mapping is left; -EPERM the
 * target's descriptors are not ours to copy (ptrace access mode ATTACH); -EOPNOTSUPP no living process.
 */
int vmat_source_extents(struct vmat_target *target, const char *name, struct vmat_extent **ret,
			size_t *ret_count);

/* Is this target a living process (else a record)? */
bool vmat_source_is_live(const struct vmat_target *target);

#endif
