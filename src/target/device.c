/* SPDX-License-Identifier: MIT */
/*
 * device.c: what kind of file system a device number of maps stands for.
 *
 * Names cannot tell: any file may be called "/memfd:x". The kernel's own file systems (memfd, System V
 * shared memory, hugetlb) are in no mountinfo; an own memfd of each kind shows their device numbers.
 */
#include "target/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <vmatlas/feature.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "sys/pagemap.h"
#include "sys/procmap.h"
#include "sys/sys_file.h"

enum {
	MOUNTINFO_LIMIT = 64 << 20,
	HUGE_SHIFT_MIN = 16, /* 64 KiB, arm64 */
	HUGE_SHIFT_MAX = 34, /* 16 GiB, powerpc */
};

bool vmat_mountinfo_find(const char *mountinfo, uint32_t dev_major, uint32_t dev_minor, char *type,
			 size_t type_size, const char **options)
{
	char device[32];

	snprintf(device, sizeof(device), " %u:%u ", dev_major, dev_minor);
	for (const char *line = mountinfo; *line;) {
		const char *end = strchrnul(line, '\n');
		const char *found = memmem(line, (size_t)(end - line), device, strlen(device));
		const char *dash = found ? memmem(found, (size_t)(end - found), " - ", 3) : NULL;

		if (dash) {
			size_t length = strcspn(dash + 3, " \n");

			*options = dash + 3 + length;
			if (length >= type_size)
				length = type_size - 1;
			memcpy(type, dash + 3, length);
			type[length] = '\0';
			return true;
		}
		line = end + (*end == '\n');
	}
	return false;
}

/* FUSE and network file systems: who answers for them may be gone. */
static bool type_may_hang(const char *type)
{
	static const char *const types[] = { "fuse", "virtiofs", "9p",  "nfs",  "cifs",
					     "smb",  "ceph",     "afs", "coda", "lustre" };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strncmp(type, types[i], strlen(types[i])) == 0)
			return true;
	}
	return false;
}

/* Of some thousands of mounts few or none are of such a type: then no path needs to be looked at. */
static bool has_hanging_mounts(const char *mountinfo)
{
	for (const char *dash = mountinfo; (dash = strstr(dash, " - ")); dash += 3) {
		if (type_may_hang(dash + 3))
			return true;
	}
	return false;
}

/* The text, or NULL when it cannot be read. */
static const char *mountinfo_of(struct vmat_target *target)
{
	if (!target->mountinfo.data) {
		vmat_autoclose int fd = vmat_sys_open_at(target->memory_dir, "mountinfo", 0);

		if (fd < 0 || vmat_sys_read_all(fd, &target->mountinfo, MOUNTINFO_LIMIT)) {
			vmat_buffer_deinit(&target->mountinfo);
			return NULL;
		}
		target->has_hanging_mounts = has_hanging_mounts(target->mountinfo.data);
	}
	return target->mountinfo.data;
}

/* The byte that mountinfo writes at *c, where blanks and backslashes are \ooo; moves behind it. */
static char mountinfo_byte(const char **c)
{
	const char *at = *c;

	*c = at + 1;
	if (at[0] != '\\' || strspn(at + 1, "01234567") < 3)
		return at[0];
	*c = at + 4;
	return (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
}

/* Is the mount point of this line of mountinfo the path, or a folder above it? */
static bool is_mounted_above(const char *line, const char *path)
{
	const char *c = line;

	for (int field = 0; field < 4; field++) {
		c += strcspn(c, " \n");
		if (*c != ' ')
			return false;
		c++;
	}
	if (c[0] == '/' && c[1] == ' ')
		return true;
	while (*c != ' ' && *c != '\n' && *c) {
		if (mountinfo_byte(&c) != *path++)
			return false;
	}
	return *path == '/' || *path == '\0';
}

bool vmat_mountinfo_may_hang(const char *mountinfo, const char *path)
{
	for (const char *line = mountinfo; *line;) {
		const char *end = strchrnul(line, '\n');
		const char *dash = memmem(line, (size_t)(end - line), " - ", 3);

		if (dash && type_may_hang(dash + 3) && is_mounted_above(line, path))
			return true;
		line = end + (*end == '\n');
	}
	return false;
}

bool vmat_device_may_hang(struct vmat_target *target, const char *path, uint32_t dev_major,
			  uint32_t dev_minor)
{
	const char *mountinfo = mountinfo_of(target), *options;
	char type[32];

	if (!mountinfo)
		return true;
	if (!target->has_hanging_mounts)
		return false;
	if (vmat_mountinfo_may_hang(mountinfo, path))
		return true;
	return vmat_mountinfo_find(mountinfo, dev_major, dev_minor, type, sizeof(type), &options) &&
	       type_may_hang(type);
}

int vmat_device_root(struct vmat_target *target)
{
	if (target->root == VMAT_FD_NOT_OPENED)
		target->root = vmat_sys_open_at(target->memory_dir, "root", O_DIRECTORY | O_PATH);
	return target->root;
}

bool vmat_source_is_char_device(struct vmat_target *target, const char *path)
{
	vmat_autoclose int fd = -1;
	const char *mountinfo;
	struct stat stat;

	if (!target->ops->is_live || path[0] != '/')
		return false;
	mountinfo = mountinfo_of(target);
	if (!mountinfo || (target->has_hanging_mounts && vmat_mountinfo_may_hang(mountinfo, path)))
		return false;
	fd = vmat_sys_open_in_root(vmat_device_root(target), path, O_PATH);
	return fd >= 0 && vmat_sys_fstat(fd, &stat) == 0 && S_ISCHR(stat.st_mode);
}

/* "pagesize=2M" of a hugetlbfs: the number and its unit. The source before it may be any word. */
static uint64_t hugetlb_page_size(const char *options)
{
	const char *end = strchrnul(options, '\n'), *option, *unit;
	uint64_t size = 0;

	options += strspn(options, " ");
	options += strcspn(options, " \n");
	option = memmem(options, (size_t)(end - options), "pagesize=", 9);
	if (!option)
		return 0;
	unit = vmat_text_decimal(option + 9, end, &size);
	return size << (*unit == 'K' ? 10 : *unit == 'M' ? 20 : *unit == 'G' ? 30 : 0);
}

static struct vmat_device look_up(struct vmat_target *target, uint32_t major, uint32_t minor)
{
	struct vmat_device device = { major, minor, VMAT_DEVICE_OTHER, 0 };
	/* Numbers in a core are of the machine that it comes from: here they mean nothing. */
	const char *mountinfo = target->core ? NULL : mountinfo_of(target), *options;
	char type[32];
	dev_t number;

	if (mountinfo &&
	    vmat_mountinfo_find(mountinfo, major, minor, type, sizeof(type), &options)) {
		if (strcmp(type, "tmpfs") == 0) {
			device.kind = VMAT_DEVICE_TMPFS;
		} else if (strcmp(type, "hugetlbfs") == 0) {
			device.kind = VMAT_DEVICE_HUGETLB;
			device.page_size = hugetlb_page_size(options);
		}
		return device;
	}
	if (!target->ops->is_live || major != 0) /* the kernel's own have no block device */
		return device;
	if (!vmat_sys_memfd_device(0, &number) && number == makedev(major, minor)) {
		device.kind = VMAT_DEVICE_SHMEM;
		return device;
	}
	for (unsigned shift = HUGE_SHIFT_MIN; shift <= HUGE_SHIFT_MAX; shift++) {
		if (!vmat_sys_memfd_device(MFD_HUGETLB | shift << MFD_HUGE_SHIFT, &number) &&
		    number == makedev(major, minor)) {
			device.kind = VMAT_DEVICE_HUGETLB;
			device.page_size = 1ULL << shift;
		}
	}
	return device;
}

enum vmat_device_kind vmat_source_device(struct vmat_target *target, uint32_t dev_major,
					 uint32_t dev_minor, uint64_t *page_size)
{
	struct vmat_device device, *more;

	for (size_t i = 0; i < target->devices_count; i++) {
		device = target->devices[i];
		if (device.major == dev_major && device.minor == dev_minor) {
			*page_size = device.page_size;
			return device.kind;
		}
	}
	device = look_up(target, dev_major, dev_minor);
	more = realloc(target->devices, (target->devices_count + 1) * sizeof(*more));
	if (more) { /* else it is looked up again the next time */
		target->devices = more;
		target->devices[target->devices_count++] = device;
	}
	*page_size = device.page_size;
	return device.kind;
}

int64_t vmat_source_mapping_page_size(struct vmat_target *target, uint64_t addr)
{
	struct vmat_uapi_procmap_query query;
	int err;

	if (!target->ops->is_live || !vmat_feature_has(VMAT_FEATURE_PROCMAP_QUERY))
		return -EOPNOTSUPP;
	if (target->maps == VMAT_FD_NOT_OPENED)
		target->maps = vmat_sys_open_at(target->memory_dir, "maps", 0);
	if (target->maps < 0)
		return target->maps;
	err = vmat_sys_procmap_query(target->maps, addr, &query);
	return err ? err : (int64_t)query.vma_page_size;
}

static int read_frames(int *fd, const char *path, uint64_t pfn, uint64_t *values, size_t count)
{
	ssize_t got;

	if (*fd == VMAT_FD_NOT_OPENED)
		*fd = vmat_sys_open_at(AT_FDCWD, path, 0);
	if (*fd < 0)
		return *fd;
	got = vmat_sys_kpage_read(*fd, pfn, values, count);
	if (got < 0)
		return (int)got;
	return (size_t)got == count ? 0 : -EIO;
}

int vmat_source_frames(struct vmat_target *target, uint64_t pfn, uint64_t *flags, uint64_t *counts,
		       size_t count)
{
	int err = 0;

	if (!target->ops->is_live)
		return -ENOENT;
	if (vmat_feature_state(VMAT_FEATURE_KPAGEFLAGS) == VMAT_FEATURE_FORCED_OFF)
		return -EOPNOTSUPP;
	if (flags)
		err = read_frames(&target->kpageflags, "/proc/kpageflags", pfn, flags, count);
	if (!err && counts)
		err = read_frames(&target->kpagecount, "/proc/kpagecount", pfn, counts, count);
	return err;
}
