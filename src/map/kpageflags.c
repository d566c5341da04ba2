/* SPDX-License-Identifier: MIT */
/*
 * kpageflags.c: the bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h and, above 31,
 * include/linux/kernel-page-flags.h, Linux 6.18).
 */
#include <vmatlas/page.h>

static const char *const names[] = {
	[0] = "LOCKED",         [1] = "ERROR",      [2] = "REFERENCED",   [3] = "UPTODATE",
	[4] = "DIRTY",          [5] = "LRU",        [6] = "ACTIVE",       [7] = "SLAB",
	[8] = "WRITEBACK",      [9] = "RECLAIM",    [10] = "BUDDY",       [11] = "MMAP",
	[12] = "ANON",          [13] = "SWAPCACHE", [14] = "SWAPBACKED",  [15] = "COMPOUND_HEAD",
	[16] = "COMPOUND_TAIL", [17] = "HUGE",      [18] = "UNEVICTABLE", [19] = "HWPOISON",
	[20] = "NOPAGE",        [21] = "KSM",       [22] = "THP",         [23] = "OFFLINE",
	[24] = "ZERO_PAGE",     [25] = "IDLE",      [26] = "PGTABLE",     [32] = "RESERVED",
	[33] = "MLOCKED",       [34] = "OWNER_2",   [35] = "PRIVATE",     [36] = "PRIVATE_2",
	[37] = "OWNER_PRIVATE", [38] = "ARCH",      [39] = "UNCACHED",    [40] = "SOFTDIRTY",
	[41] = "ARCH_2",        [42] = "ARCH_3",
};

const char *vmat_kpageflag_name(unsigned bit)
{
	return bit < sizeof(names) / sizeof(names[0]) ? names[bit] : NULL;
}
