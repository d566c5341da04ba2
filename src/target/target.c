/* SPDX-License-Identifier: MIT */
/*
 * target.c: opening a target by its name or number, and everything that all kinds of targets share.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmatlas/feature.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "sys/sys_file.h"
#include "sys/sys_process.h"
#include "target/core.h"
#include "target/firmware.h"
#include "target/process.h"
#include "target/target_ops.h"

enum { TEXT_LIMIT = 1 << 20, HITS_SHOWN = 8 };

static int gone(struct vmat_error *err, const char *pid)
{
	return vmat_error_set(err, -ESRCH, "there is no process %s", pid);
}

/* Only these mean that it is not there; what else fails says nothing of the process. */
static int cannot_open(struct vmat_error *err, const char *pid, int code)
{
	if (code == -ENOENT || code == -ESRCH)
		return gone(err, pid);
	return vmat_error_set(err, code, "process %s cannot be opened: %s", pid,
			      strerrordesc_np(-code));
}

/* A pid that is a thread's: /proc/TID exists, but is no process. */
static int check_leader(int dir, pid_t pid, struct vmat_error *err)
{
	struct vmat_buffer text = { 0 };
	uint64_t leader = 0;
	const char *line;

	if (!vmat_sys_read_file_at(dir, "status", &text, TEXT_LIMIT)) {
		line = strstr(text.data, "\nTgid:\t");
		if (line)
			vmat_text_decimal(line + 7, text.data + text.size, &leader);
	}
	vmat_buffer_deinit(&text);
	if (!leader || leader == (uint64_t)pid)
		return 0;
	return vmat_error_set(err, -ESRCH,
			      "%d is a thread of process %llu. Ask for the process: %llu", (int)pid,
			      (unsigned long long)leader, (unsigned long long)leader);
}

/* Zombies and kernel threads have no memory: an empty table would be a lie. */
static int check_has_memory(const struct vmat_process *process, uint64_t stat_flags,
			    struct vmat_error *err)
{
	if (process->state == 'Z' || process->state == 'X')
		return vmat_error_set(
			err, -ESRCH,
			"process %d has ended and is a zombie until its parent %d asks "
			"for its exit status: it has no memory any more",
			(int)process->pid, (int)process->ppid);
	if (stat_flags & VMAT_PF_KTHREAD)
		return vmat_error_set(err, -ESRCH,
				      "process %d is a kernel thread: it has no memory of its own",
				      (int)process->pid);
	return 0;
}

struct vmat_target *vmat_target_new(const struct vmat_target_ops *ops)
{
	struct vmat_target *target = calloc(1, sizeof(*target));

	if (!target)
		return NULL;
	target->ops = ops;
	target->dir = -1;
	target->memory_dir = -1;
	target->pidfd = -1;
	target->pagemap = VMAT_FD_NOT_OPENED;
	target->memory = VMAT_FD_NOT_OPENED;
	target->root = VMAT_FD_NOT_OPENED;
	target->maps = VMAT_FD_NOT_OPENED;
	target->kpageflags = VMAT_FD_NOT_OPENED;
	target->kpagecount = VMAT_FD_NOT_OPENED;
	target->zero_pfn = VMAT_UNKNOWN(VMAT_NOT_ASKED);
	return target;
}

struct vmat_target *vmat_target_close(struct vmat_target *target)
{
	if (!target)
		return NULL;
	target->ops->deinit(target);
	vmat_buffer_deinit(&target->mountinfo);
	free(target->devices);
	if (target->memory_dir >= 0)
		close(target->memory_dir);
	if (target->dir >= 0)
		close(target->dir);
	free(target->process.exe);
	free(target);
	return NULL;
}

static void cleanup_target(struct vmat_target **target)
{
	vmat_target_close(*target);
}

static bool is_zombie(int dir)
{
	struct vmat_buffer text = { 0 };
	struct vmat_stat stat = { 0 };

	if (!vmat_sys_read_file_at(dir, "stat", &text, TEXT_LIMIT))
		vmat_stat_parse(&stat, text.data, text.size);
	vmat_buffer_deinit(&text);
	return stat.state == 'Z';
}

/*
 * Handle first, folder second, handle again: if the process is still alive then, the folder is its,
 * and not that of a successor with the same number.
 */
static int bind_process(struct vmat_target *target, int root, const char *pid,
			struct vmat_error *err)
{
	uint64_t number;

	vmat_text_decimal(pid, pid + strlen(pid), &number);
	if (target->ops->is_live && vmat_feature_has(VMAT_FEATURE_PIDFD)) {
		target->pidfd = vmat_sys_pidfd_open((pid_t)number);
		if (target->pidfd == -ESRCH)
			return gone(err, pid);
	}
	target->dir = vmat_sys_open_at(root, pid, O_DIRECTORY);
	if (target->dir == -ENOENT && !target->ops->is_live)
		return vmat_error_set(err, -ENOENT, "the record holds no process %s", pid);
	if (target->dir < 0)
		return cannot_open(err, pid, target->dir);
	/* A handle of a zombie says that it has ended, too: what is said of it is found out later. */
	if (target->pidfd >= 0 && vmat_sys_pidfd_wait(target->pidfd, 0) != 0 &&
	    !is_zombie(target->dir))
		return gone(err, pid);
	return check_leader(target->dir, (pid_t)number, err);
}

/*
 * Where the first thread has exited and others live on, /proc/PID looks like a zombie and its maps are
 * empty: the memory is found below any of the threads that live.
 */
static int choose_memory_dir(struct vmat_target *target, uint64_t *stat_flags)
{
	vmat_autofree pid_t *tids = NULL;
	size_t count = 0;
	int err = 0;

	target->memory_dir = vmat_sys_open_at(target->dir, ".", O_DIRECTORY);
	if (target->memory_dir < 0)
		return target->memory_dir;
	if (target->process.state != 'Z' || target->process.threads < 2)
		return 0;
	err = vmat_source_threads(target, &tids, &count);
	for (size_t i = 0; !err && i < count && target->process.state == 'Z'; i++) {
		struct vmat_process process;
		char path[32];
		int dir;

		snprintf(path, sizeof(path), "task/%d", (int)tids[i]);
		dir = vmat_sys_open_at(target->dir, path, O_DIRECTORY);
		if (dir < 0 || vmat_process_read(&process, stat_flags, dir)) {
			if (dir >= 0)
				close(dir);
			continue;
		}
		close(target->memory_dir);
		target->memory_dir = dir;
		process.pid = target->process.pid;
		free(target->process.exe);
		target->process = process;
	}
	return err;
}

static int open_pid(struct vmat_target **ret, int root, bool is_live, const char *pid,
		    struct vmat_error *err)
{
	vmat_cleanup(cleanup_target) struct vmat_target *target =
		vmat_target_new(is_live ? &vmat_live_ops : &vmat_recorded_ops);
	uint64_t stat_flags = 0;
	int code;

	if (!target)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	code = bind_process(target, root, pid, err);
	if (code)
		return code;
	code = vmat_process_read(&target->process, &stat_flags, target->dir);
	if (code == -ENOENT && !is_live)
		return vmat_error_set(err, code, "the record of process %s has no stat", pid);
	if (code == -ENOMEM)
		return vmat_error_set(err, code, "out of memory");
	if (code == -EINVAL)
		return vmat_error_set(err, -EBADMSG,
				      "the stat of process %s is not in the form of proc(5)", pid);
	if (code)
		return cannot_open(err, pid, code);
	code = choose_memory_dir(target, &stat_flags);
	if (code == -ENOMEM)
		return vmat_error_set(err, code, "out of memory");
	if (code)
		return cannot_open(err, pid, code);
	code = check_has_memory(&target->process, stat_flags, err);
	if (code)
		return code;
	*ret = vmat_take_ptr(&target);
	return 0;
}

/* Is this the base name of the program? The kernel marks one whose file was removed. */
static bool fits_exe(const char *exe, const char *name)
{
	const char *slash = strrchr(exe, '/');
	const char *base = slash ? slash + 1 : exe;
	size_t length = strlen(base);

	if (length > 10 && strcmp(base + length - 10, " (deleted)") == 0)
		length -= 10;
	return length == strlen(name) && memcmp(base, name, length) == 0;
}

static bool fits_name(int root, pid_t pid, const char *name)
{
	struct vmat_buffer text = { 0 };
	struct vmat_stat stat;
	char path[32];
	bool fits = false;

	snprintf(path, sizeof(path), "%d/stat", (int)pid);
	if (!vmat_sys_read_file_at(root, path, &text, TEXT_LIMIT) &&
	    !vmat_stat_parse(&stat, text.data, text.size) && stat.state != 'Z')
		fits = strcmp(stat.comm, name) == 0;
	snprintf(path, sizeof(path), "%d/exe", (int)pid);
	if (!fits && !vmat_sys_readlink_at(root, path, &text))
		fits = fits_exe(text.data, name);
	vmat_buffer_deinit(&text);
	return fits;
}

static bool is_named(const struct vmat_process *process, const char *name)
{
	return strcmp(process->comm, name) == 0 || (process->exe && fits_exe(process->exe, name));
}

static int find_name(int root, bool is_live, const char *name, char *pid, size_t pid_size,
		     struct vmat_error *err)
{
	vmat_autofree pid_t *pids = NULL;
	struct vmat_buffer hits = { 0 };
	size_t count = 0, found = 0;
	int code = vmat_sys_list_numbers(root, ".", &pids, &count);

	if (code)
		return vmat_error_set(err, code, "the list of processes cannot be read");
	for (size_t i = 0; i < count && !code; i++) {
		if ((is_live && pids[i] == getpid()) || !fits_name(root, pids[i], name))
			continue;
		if (found++ == 0)
			snprintf(pid, pid_size, "%d", (int)pids[i]);
		if (found <= HITS_SHOWN)
			code = vmat_buffer_printf(&hits, "%s%d", found > 1 ? ", " : "",
						  (int)pids[i]);
	}
	if (code)
		vmat_error_set(err, code, "out of memory");
	else if (!found)
		code = vmat_error_set(err, -ESRCH, "there is no process named %s", name);
	else if (found > 1)
		code = vmat_error_set(err, -EEXIST,
				      "%zu processes are named %s: %s%s. Name one by its pid",
				      found, name, hits.data, found > HITS_SHOWN ? ", ..." : "");
	vmat_buffer_deinit(&hits);
	return code;
}

/* What is neither a pid nor a name is the path of a core file. */
static int open_file(struct vmat_target **ret, const char *spec, struct vmat_error *err)
{
	vmat_cleanup(cleanup_target) struct vmat_target *target = NULL;
	int code, fd = vmat_sys_open_at(AT_FDCWD, spec, 0);

	if (fd == -ENOENT && !strchr(spec, '/'))
		return vmat_error_set(
			err, -EINVAL,
			"'%.64s' is no target: give a pid, @name, or the path of a core file",
			spec);
	if (fd < 0)
		return vmat_error_set(err, fd, "%.300s cannot be opened: %s", spec,
				      strerrordesc_np(-fd));
	target = vmat_target_new(&vmat_core_ops);
	if (!target) {
		close(fd);
		return vmat_error_set(err, -ENOMEM, "out of memory");
	}
	code = vmat_core_open(target, fd, spec, err);
	if (!code)
		*ret = vmat_take_ptr(&target);
	return code;
}

static int open_firmware(struct vmat_target **ret, const char *path,
			 const struct vmat_target_options *options, struct vmat_error *err)
{
	vmat_cleanup(cleanup_target) struct vmat_target *target = NULL;
	int code;

	if (options->root || (options->gdb && options->ram_count))
		return vmat_error_set(
			err, -EINVAL,
			"memory comes from a gdb server, from images or from a record: "
			"give one of --gdb, --ram and --root");
	target = vmat_target_new(&vmat_firmware_ops);
	if (!target)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	code = vmat_firmware_open(target, path, options, err);
	if (!code)
		*ret = vmat_take_ptr(&target);
	return code;
}

int vmat_target_open(struct vmat_target **ret, const char *spec,
		     const struct vmat_target_options *options, struct vmat_error *err)
{
	const char *root_path = options ? options->root : NULL;
	vmat_autoclose int root =
		vmat_sys_open_at(AT_FDCWD, root_path ? root_path : "/proc", O_DIRECTORY);
	vmat_cleanup(cleanup_target) struct vmat_target *target = NULL;
	char pid[16] = "";
	int code;

	if (options && (options->gdb || options->ram_count))
		return open_firmware(ret, spec, options, err);
	if (root < 0)
		return vmat_error_set(err, root, "%s cannot be opened: %s",
				      root_path ? root_path : "/proc", strerrordesc_np(-root));
	if (spec[0] == '@' && spec[1]) {
		code = find_name(root, !root_path, spec + 1, pid, sizeof(pid), err);
		if (code)
			return code;
	} else {
		size_t digits = strspn(spec, "0123456789");

		if (!root_path && (!digits || spec[digits]))
			return open_file(ret, spec, err);
		if (!digits || spec[digits] || digits >= sizeof(pid))
			return vmat_error_set(err, -EINVAL,
					      "'%.64s' is no target: give a pid, or @name", spec);
		memcpy(pid, spec, digits);
	}
	code = open_pid(&target, root, !root_path, pid, err);
	if (code)
		return code;
	/* Since the names were read the number may have passed on, or the process executed another. */
	if (spec[0] == '@' && !is_named(&target->process, spec + 1))
		return vmat_error_set(err, -ESRCH, "there is no process named %s any more",
				      spec + 1);
	*ret = vmat_take_ptr(&target);
	return 0;
}

int vmat_target_hold(struct vmat_target *target, struct vmat_error *err)
{
	return target->ops->hold ? target->ops->hold(target, err) : 0;
}

int vmat_target_release(struct vmat_target *target, struct vmat_error *err)
{
	return target->ops->release ? target->ops->release(target, err) : 0;
}

const struct vmat_process *vmat_target_process(const struct vmat_target *target)
{
	return &target->process;
}

int vmat_target_check(struct vmat_target *target, struct vmat_error *err)
{
	return target->ops->check(target, err);
}

/* Threads are listed below the process; all else is asked where the memory is. */
static int dir_of(const struct vmat_target *target, const char *name)
{
	return strncmp(name, "task/", 5) == 0 ? target->dir : target->memory_dir;
}

int vmat_source_open_text(struct vmat_target *target, const char *name)
{
	if (target->ops->open_text)
		return target->ops->open_text(target, name);
	return vmat_sys_open_at(dir_of(target, name), name, 0);
}

int vmat_source_open_whole(struct vmat_target *target, const char *name)
{
	if (target->ops->open_text)
		return target->ops->open_text(target, name);
	return vmat_sys_open_at(target->dir, name, 0);
}

ssize_t vmat_source_read_text(int fd, void *buffer, size_t size)
{
	return vmat_sys_read(fd, buffer, size);
}

int vmat_source_text(struct vmat_target *target, const char *name, struct vmat_buffer *buffer)
{
	if (target->ops->open_text) {
		vmat_autoclose int fd = target->ops->open_text(target, name);

		return fd < 0 ? fd : vmat_sys_read_all(fd, buffer, TEXT_LIMIT);
	}
	return vmat_sys_read_file_at(dir_of(target, name), name, buffer, TEXT_LIMIT);
}

int vmat_source_link(struct vmat_target *target, const char *name, struct vmat_buffer *buffer)
{
	if (target->ops->link)
		return target->ops->link(target, name, buffer);
	return vmat_sys_readlink_at(dir_of(target, name), name, buffer);
}

int vmat_source_threads(struct vmat_target *target, pid_t **ret, size_t *ret_count)
{
	if (target->ops->threads)
		return target->ops->threads(target, ret, ret_count);
	return vmat_sys_list_numbers(target->dir, "task", ret, ret_count);
}

int vmat_source_scan(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
		     struct vmat_page_run *runs, size_t count, uint32_t *known)
{
	return target->ops->scan(target, addr, end, want, runs, count, known);
}

int vmat_source_pagemap(struct vmat_target *target, uint64_t addr, uint64_t *entries, size_t count)
{
	return target->ops->pagemap(target, addr, entries, count);
}

ssize_t vmat_source_read(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	return target->ops->read(target, addr, buffer, size);
}

int vmat_source_read_pieces(struct vmat_target *target, struct vmat_piece *pieces, size_t count)
{
	for (size_t i = 0; i < count; i++)
		pieces[i].got = 0;
	return count ? target->ops->read_pieces(target, pieces, count) : 0;
}

int vmat_source_open_file(struct vmat_target *target, const char *path, uint32_t dev_major,
			  uint32_t dev_minor, uint64_t inode)
{
	return target->ops->open_file(target, path, dev_major, dev_minor, inode);
}

uint64_t vmat_source_sysctl(struct vmat_target *target, const char *name)
{
	struct vmat_buffer text = { 0 };
	uint64_t value = 0;
	char path[64];

	/* Beside the folder of the process, in a record as in /proc. */
	snprintf(path, sizeof(path), "../sys/%s", name);
	if (vmat_sys_read_file_at(target->dir, path, &text, TEXT_LIMIT) ||
	    vmat_text_decimal(text.data, text.data + text.size, &value) == text.data)
		value = VMAT_UNKNOWN(target->ops->is_live ? VMAT_NOT_FOUND : VMAT_NOT_RECORDED);
	vmat_buffer_deinit(&text);
	return value;
}

int vmat_source_extents(struct vmat_target *target, const char *name, struct vmat_extent **ret,
			size_t *ret_count)
{
	if (!target->ops->extents)
		return -EOPNOTSUPP;
	return target->ops->extents(target, name, ret, ret_count);
}

bool vmat_source_is_live(const struct vmat_target *target)
{
	return target->ops->is_live;
}
