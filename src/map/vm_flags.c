/* SPDX-License-Identifier: MIT */
/*
 * vm_flags.c: the names of the two letters that smaps calls VmFlags, after fs/proc/task_mmu.c
 * (show_smap_vma_flags, Linux 6.18). The bit numbers are ours: the kernel's differ by version.
 */
#include <vmatlas/map.h>

static const struct vmat_vm_flag flags[] = {
	{ "rd", "readable" },
	{ "wr", "writable" },
	{ "ex", "executable" },
	{ "sh", "shared" },
	{ "mr", "may be made readable" },
	{ "mw", "may be made writable" },
	{ "me", "may be made executable" },
	{ "ms", "may be shared" },
	{ "gd", "grows down, a stack" },
	{ "pf", "frames without page descriptors: device memory" },
	{ "lo", "locked in memory" },
	{ "io", "memory of a device" },
	{ "sr", "advised: will be read in sequence" },
	{ "rr", "advised: will be read at random" },
	{ "dc", "not copied at fork" },
	{ "de", "cannot grow by mremap" },
	{ "ac", "counts towards the commit limit" },
	{ "nr", "swap space is not reserved" },
	{ "ht", "huge pages of hugetlbfs" },
	{ "sf", "faults wait for the file system" },
	{ "ar", "flag of the architecture" },
	{ "wf", "wiped at fork" },
	{ "dd", "not in core dumps" },
	{ "sd", "soft-dirty" },
	{ "mm", "frames with and without page descriptors" },
	{ "hg", "advised: use huge pages" },
	{ "nh", "advised: no huge pages" },
	{ "mg", "equal pages may be merged" },
	{ "bt", "guarded against jumps into it" },
	{ "mt", "memory tags" },
	{ "um", "userfaultfd: missing pages" },
	{ "uw", "userfaultfd: write-protect" },
	{ "ui", "userfaultfd: minor faults" },
	{ "ss", "shadow stack" },
	{ "sl", "sealed" },
	{ "dp", "may be dropped by the kernel" },
	{ "gu", "may hold guard pages without a region" },
};

const struct vmat_vm_flag *vmat_vm_flag(unsigned bit)
{
	return bit < sizeof(flags) / sizeof(flags[0]) ? &flags[bit] : NULL;
}
