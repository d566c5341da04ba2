/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * vmatlas.h: the interface of /dev/vmatlas, the driver in kmod/. For the kernel and for programs.
 *
 * VMATLAS_PIN pins memory of the calling process and returns a new descriptor, which *is* the buffer: there are no
 * ids by which a stranger could name it. It can be read, written, seeked, mapped (MAP_SHARED), passed on (SCM_RIGHTS, fork)
 * and asked for the rest. The pages stay until the last descriptor, mapping and dma-buf of it are gone, whatever the
 * process that pinned them does meanwhile.
 *
 * Each structure begins with its own size, which the caller fills in. The driver takes shorter (older) and longer (newer)
 * ones, as copy_struct_from_user() does: what it does not know must be zero, else -E2BIG. Unknown flags and reserved fields
 * that are not zero are -EINVAL.
 */
#ifndef _UAPI_VMATLAS_H
#define _UAPI_VMATLAS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VMATLAS_DEVICE "/dev/vmatlas"

/*
 * The name of a buffer in /proc/PID/fd and /proc/PID/maps is "anon_inode:[vmatlas:N]". N is never used twice while the
 * driver is loaded, so a mapping and a descriptor with the same N are the same buffer. Nothing can be opened by N.
 */
#define VMATLAS_NAME "[vmatlas:%llu]"

/**
 * struct vmatlas_pin - VMATLAS_PIN on /dev/vmatlas: memory to pin
 * @size: sizeof(struct vmatlas_pin)
 * @flags: 0
 * @addr: first byte, at a page
 * @bytes: whole pages, at least one
 * @reserved: 0
 *
 * Returns a descriptor (close-on-exec). The memory must be writable, and anonymous, hugetlb, a memfd or shared memory.
 * Errors: -EINVAL not whole pages, an overflow, too large, flags or reserved; -EFAULT not all of it is such memory;
 * -ENOMEM over RLIMIT_MEMLOCK, or no memory; -EBUSY too many buffers; -EMFILE; -EINTR.
 */
struct vmatlas_pin {
	__u32 size;
	__u32 flags;
	__u64 addr;
	__u64 bytes;
	__u64 reserved[2];
};

enum vmatlas_info_flag {
	VMATLAS_INFO_KERNEL_MAPPED = 1, /* the kernel has its sequential mapping already */
	VMATLAS_INFO_HUGE_FAULT = 2,    /* this kernel maps it with huge pages where it can */
};

/**
 * struct vmatlas_info - VMATLAS_INFO on a buffer
 * @size: sizeof(struct vmatlas_info)
 * @flags: out: enum vmatlas_info_flag
 * @bytes: out: size of the buffer
 * @extents: out: how many physical extents it has
 * @number: out: the N of its name
 * @pin_ns: out: what pinning took
 * @map_ns: out: what the kernel's mapping took; 0 until something needed it
 * @reserved: 0
 */
struct vmatlas_info {
	__u32 size;
	__u32 flags;
	__u64 bytes;
	__u64 extents;
	__u64 number;
	__u64 pin_ns;
	__u64 map_ns;
	__u64 reserved[2];
};

/* The physical address of an extent for those who may not know it: CAP_SYS_ADMIN is needed, as for /proc/PID/pagemap. */
#define VMATLAS_PHYSICAL_HIDDEN (~0ULL)

/**
 * struct vmatlas_extent - bytes of a buffer that lie behind each other in physical memory
 * @offset: in the buffer
 * @bytes: length
 * @physical: address of the first byte, or VMATLAS_PHYSICAL_HIDDEN
 */
struct vmatlas_extent {
	__u64 offset;
	__u64 bytes;
	__u64 physical;
};

/**
 * struct vmatlas_extents - VMATLAS_EXTENTS on a buffer: a page of its extents
 * @size: sizeof(struct vmatlas_extents)
 * @flags: 0
 * @first: number of the first extent wanted; at or behind @total nothing is written
 * @count: in: room in @extents, 0 to ask for @total only; out: how many were written
 * @extents: address of an array of struct vmatlas_extent
 * @total: out: how many there are. They never change
 * @reserved: 0
 */
struct vmatlas_extents {
	__u32 size;
	__u32 flags;
	__u64 first;
	__u64 count;
	__u64 extents;
	__u64 total;
	__u64 reserved;
};

/**
 * struct vmatlas_dmabuf - VMATLAS_DMABUF on a buffer: a dma-buf of all of it
 * @size: sizeof(struct vmatlas_dmabuf)
 * @flags: 0
 * @reserved: 0
 *
 * Returns a descriptor (close-on-exec) for drivers that import dma-bufs.
 */
struct vmatlas_dmabuf {
	__u32 size;
	__u32 flags;
	__u64 reserved;
};

/* The size stands in the structure and not in the number, so that the number stays when the structure grows. */
#define VMATLAS_IOC     0xb7
#define VMATLAS_PIN     _IO(VMATLAS_IOC, 0)
#define VMATLAS_INFO    _IO(VMATLAS_IOC, 1)
#define VMATLAS_EXTENTS _IO(VMATLAS_IOC, 2)
#define VMATLAS_DMABUF  _IO(VMATLAS_IOC, 3)

#endif
