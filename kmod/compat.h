/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h: the only place that knows kernel versions, 6.1 and later.
 *
 * Each entry: what changed, and in which release. Older kernels are not built for.
 */
#ifndef VMATLAS_COMPAT_H
#define VMATLAS_COMPAT_H

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "vmatlas needs Linux 6.1 or later"
#endif

/* 6.3: vm_flags is written by functions that also lock the VMA. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}
#endif

/*
 * 6.12: a VM_PFNMAP mapping may have huge entries, which get_user_pages_fast() and the splitting code then know as special.
 * Before, huge_fault is never called for such a mapping, or what it inserts is taken for a normal page.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0) && defined(CONFIG_ARCH_SUPPORTS_HUGE_PFNMAP)
#define VMATLAS_HUGE_PFNMAP 1

/* 6.17: the frame is a plain number, pfn_t is gone. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
#include <linux/pfn_t.h>

#define vmatlas_insert_pmd(vmf, pfn, write) vmf_insert_pfn_pmd(vmf, pfn_to_pfn_t(pfn), write)
#else
#define vmatlas_insert_pmd(vmf, pfn, write) vmf_insert_pfn_pmd(vmf, pfn, write)
#endif
#else
#define VMATLAS_HUGE_PFNMAP 0
#endif

/* 6.2: the functions for importers that take the lock have a name of their own. For the importer of tests/kernel. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define dma_buf_vmap_unlocked   dma_buf_vmap
#define dma_buf_vunmap_unlocked dma_buf_vunmap
#endif

/* 6.13: the name of a symbol namespace is a string. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define VMATLAS_IMPORT_NS(name) MODULE_IMPORT_NS(name)
#else
#define VMATLAS_IMPORT_NS(name) MODULE_IMPORT_NS(#name)
#endif

#endif
