/* SPDX-License-Identifier: MIT */
#include "sys/sys_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

/* A driver that says something else than ours ever could is not believed further than this. */
#define EXTENTS_LIMIT ((uint64_t)1 << 28)

int vmat_sys_driver_pin(const void *addr, size_t bytes)
{
	struct vmatlas_pin pin = { .size = sizeof(pin), .addr = (uintptr_t)addr, .bytes = bytes };
	vmat_autoclose int device = open(VMATLAS_DEVICE, O_RDWR | O_CLOEXEC);
	int fd;

	if (device < 0)
		return -errno;
	fd = ioctl(device, VMATLAS_PIN, &pin);
	return fd < 0 ? -errno : fd;
}

int vmat_sys_driver_extents(int buf, struct vmatlas_extent **ret, size_t *ret_count)
{
	struct vmatlas_extents list = { .size = sizeof(list) };
	vmat_autofree struct vmatlas_extent *extents = NULL;

	if (ioctl(buf, VMATLAS_EXTENTS, &list))
		return -errno;
	if (!list.total || list.total > EXTENTS_LIMIT)
		return -EPROTO;
	extents = calloc(list.total, sizeof(*extents));
	if (!extents)
		return -ENOMEM;
	list.count = list.total;
	list.extents = (uintptr_t)extents;
	if (ioctl(buf, VMATLAS_EXTENTS, &list))
		return -errno;
	*ret_count = list.count;
	*ret = vmat_take_ptr(&extents);
	return 0;
}

uint64_t vmat_sys_driver_number(const char *name)
{
	static const char before[] = "anon_inode:[vmatlas:";
	uint64_t number = 0;
	const char *digits, *end;

	if (strncmp(name, before, sizeof(before) - 1) != 0)
		return 0;
	digits = name + sizeof(before) - 1;
	end = vmat_text_decimal(digits, digits + strlen(digits), &number);
	return end > digits && strcmp(end, "]") == 0 ? number : 0;
}
