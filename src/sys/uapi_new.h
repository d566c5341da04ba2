/* SPDX-License-Identifier: MIT */
/*
 * uapi_new.h: what newer kernels offer and the headers of Linux 6.1 do not declare.
 *
 * Numbers and layouts are the kernel's ABI: include/uapi/linux/fs.h (PAGEMAP_SCAN, Linux 6.7, commit
 * 52526ca7fdb9; PROCMAP_QUERY, Linux 6.11, commit ed5d583a88a9) and asm-generic/mman-common.h
 * (MADV_GUARD_INSTALL, Linux 6.13, commit 662df3e5c376), linux/pidfd.h (PIDFD_GET_INFO, Linux 6.13; its exit status,
 * Linux 6.15). The names have a prefix of their own so
 * that newer system headers do not collide.
 */
#ifndef VMAT_UAPI_NEW_H
#define VMAT_UAPI_NEW_H

#include <stdint.h>
#include <sys/ioctl.h>

struct vmat_uapi_page_region {
	uint64_t start;
	uint64_t end;
	uint64_t categories;
};

struct vmat_uapi_pm_scan_arg {
	uint64_t size;
	uint64_t flags;
	uint64_t start;
	uint64_t end;
	uint64_t walk_end;
	uint64_t vec;
	uint64_t vec_len;
	uint64_t max_pages;
	uint64_t category_inverted;
	uint64_t category_mask;
	uint64_t category_anyof_mask;
	uint64_t return_mask;
};

#define VMAT_UAPI_PM_SCAN_WP_MATCHING   1ULL
#define VMAT_UAPI_PM_SCAN_CHECK_WPASYNC 2ULL

#define VMAT_UAPI_PAGEMAP_SCAN _IOWR('f', 16, struct vmat_uapi_pm_scan_arg)

enum vmat_uapi_page_category {
	VMAT_UAPI_PAGE_IS_WPALLOWED = 1 << 0,
	VMAT_UAPI_PAGE_IS_WRITTEN = 1 << 1, /* means nothing without userfaultfd write-protect */
	VMAT_UAPI_PAGE_IS_FILE = 1 << 2,
	VMAT_UAPI_PAGE_IS_PRESENT = 1 << 3,
	VMAT_UAPI_PAGE_IS_SWAPPED = 1 << 4, /* guards and uffd markers have it too */
	VMAT_UAPI_PAGE_IS_PFNZERO = 1 << 5,
	VMAT_UAPI_PAGE_IS_HUGE = 1 << 6,
	VMAT_UAPI_PAGE_IS_SOFT_DIRTY = 1 << 7, /* accepted and never set where it is not built in */
	VMAT_UAPI_PAGE_IS_GUARD = 1 << 8,      /* Linux 6.15, commit a516403787e0 */
};

struct vmat_uapi_procmap_query {
	uint64_t size;
	uint64_t query_flags;
	uint64_t query_addr;
	uint64_t vma_start;
	uint64_t vma_end;
	uint64_t vma_flags;
	uint64_t vma_page_size;
	uint64_t vma_offset;
	uint64_t inode;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint32_t vma_name_size;
	uint32_t build_id_size;
	uint64_t vma_name_addr;
	uint64_t build_id_addr;
};

#define VMAT_UAPI_PROCMAP_QUERY _IOWR('f', 17, struct vmat_uapi_procmap_query)

#define VMAT_UAPI_MADV_GUARD_INSTALL 102
#define VMAT_UAPI_PR_SET_VMA         0x53564d41
#define VMAT_UAPI_PR_SET_VMA_NAME    0

/* The first layout, which all kernels with the call take. exit_code is a wait status, told once somebody has waited. */
struct vmat_uapi_pidfd_info {
	uint64_t mask;
	uint64_t cgroupid;
	uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code;
};

#define VMAT_UAPI_PIDFD_INFO_EXIT (1ULL << 3)
#define VMAT_UAPI_PIDFD_GET_INFO  _IOWR(0xFF, 11, struct vmat_uapi_pidfd_info)

#endif
