/* SPDX-License-Identifier: MIT */
/*
 * feature.c: the table of kernel features (vmatlas/feature.h). The experiments that fill it stand in
 * feature_probe.c; `vmatlas doctor` prints it. The state is the only thing in this library that is
 * not owned by a caller: it is written once per feature and never changes after that.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/feature.h>

#include "sys/feature_probe.h"

struct row {
	struct vmat_feature_info info;
	const char *evidence_yes;
	const char *evidence_no;
};

static const struct row rows[VMAT_FEATURE_COUNT] = {
	[VMAT_FEATURE_PAGEMAP_SCAN] = { { "pagemap_scan",
					  "one call finds the pages of a range that are there",
					  "presence is read page by page from pagemap, which costs 4 to 60 times as much and "
					  "cannot tell the zero page without frame numbers",
					  "6.7", "" },
					"a scan of own memory found the one page that was touched",
					"a scan of own memory did not find the page that was touched" },
	[VMAT_FEATURE_PAGE_GUARD] = { { "page_guard",
					"guard pages that no region shows can be told from swapped ones",
					"guard pages are looked up in pagemap, or not told from swapped pages",
					"6.15", "" },
				      "a guard page installed in own memory was found by a scan",
				      "a guard page could not be installed in own memory, or not found again" },
	[VMAT_FEATURE_PROCMAP_QUERY] = { { "procmap_query", "the region at one address in one call",
					   "the whole of maps is read to find one region", "6.11",
					   "" },
					 "the region of an own page was found by its address",
					 "the region of an own page was not found by its address" },
	[VMAT_FEATURE_PAGEMAP] = { { "pagemap", "the state of each page of a process",
				     "resident, swapped, copied and huge are unknown unless smaps is read",
				     "2.6.25",
				     "ptrace access to the target (own uid, or CAP_SYS_PTRACE)" },
				   "an own page that was touched is shown as present",
				   "an own page that was touched is not shown as present" },
	[VMAT_FEATURE_PAGE_FRAMES] = { { "page_frames", "the frame number of a page, in pagemap",
					 "physical runs, real sizes of large folios and flags of pages are unknown",
					 "2.6.25", "CAP_SYS_ADMIN" },
				       "the frame number of an own page is shown",
				       "the frame number of an own page is shown as 0" },
	[VMAT_FEATURE_KPAGEFLAGS] = { { "kpageflags",
					"the kernel's flags and map counts of each frame",
					"`pages --flags` and real sizes of large folios are unknown",
					"2.6.25",
					"CAP_DAC_READ_SEARCH for the file, CAP_SYS_ADMIN for frame numbers" },
				      "the flags of the frame of an own page can be read",
				      "the flags of the frame of an own page cannot be read" },
	[VMAT_FEATURE_PROCESS_VM_READV] = { { "process_vm_readv",
					      "own memory at an address that may be anything, read without a signal",
					      "the sizes of glibc's malloc are not foretold", "3.2",
					      "no filter of system calls that forbids it" },
					    "own memory was read with it",
					    "own memory could not be read with it" },
	[VMAT_FEATURE_PIDFD] = { { "pidfd",
				   "a handle of a process that its successor by number does not inherit",
				   "an ended target is noticed by its start time only", "5.3", "" },
				 "a handle of the own process was opened",
				 "no handle of the own process could be opened" },
	[VMAT_FEATURE_TASK_SYSCALL] = { { "task_syscall", "the stack pointer of a blocked thread",
					  "how much of a stack is used right now is unknown; its high water is not",
					  "2.6.27",
					  "ptrace access to the target (own uid, or CAP_SYS_PTRACE)" },
					"the own thread's file can be read",
					"the own thread's file cannot be read" },
	[VMAT_FEATURE_SMAPS_ROLLUP] = { { "smaps_rollup",
					  "proportional size of a whole process in one file",
					  "totals of PSS are summed from smaps", "4.14",
					  "ptrace access to the target (own uid, or CAP_SYS_PTRACE)" },
					"the own file can be read",
					"the own file cannot be read" },
	[VMAT_FEATURE_SOFT_DIRTY] = { { "soft_dirty",
					"a bit on each page written since it was cleared",
					"writes are not tracked from outside",
					"3.11 (built in by CONFIG_MEM_SOFT_DIRTY)", "" },
				      "the bit was cleared and came back after a write, in a child",
				      "clearing was accepted or refused, and the bit did not come back after a write" },
	[VMAT_FEATURE_MADV_GUARD] = { { "madv_guard", "guard pages that cost no region",
					"a guard page is a region of its own", "6.13", "" },
				      "a page with it in own memory cannot be read any more",
				      "it could not be put on an own page, or had no effect" },
	[VMAT_FEATURE_MADV_POPULATE] = { { "madv_populate",
					   "pages of own memory made present many at a time",
					   "each page of a growing buffer is faulted in when it is written",
					   "5.14", "" },
					 "an own page that was never touched was made present",
					 "an own page that was never touched could not be made present" },
	[VMAT_FEATURE_PERF_FAULTS] = { { "perf_faults", "the addresses of a thread's page faults",
					 "page faults are counted, but where they happen is unknown",
					 "2.6.31",
					 "kernel.perf_event_paranoid <= 2, or CAP_PERFMON" },
				       "the fault on an own page was counted",
				       "the fault on an own page was not counted" },
	[VMAT_FEATURE_ANON_NAMES] = { { "anon_names",
					"names that programs give to their anonymous memory",
					"such names are not there to be shown",
					"5.17 (built in by CONFIG_ANON_VMA_NAME)", "" },
				      "a name given to own memory is shown in maps",
				      "a name given to own memory is not shown in maps" },
	[VMAT_FEATURE_SECCOMP] = { { "seccomp",
				     "a child that can do nothing but compute, for parsing files of strangers",
				     "symbols and source files are unknown", "3.5", "" },
				   "a child was locked up and could not look out",
				   "a child could not be locked up" },
	[VMAT_FEATURE_UFFD_WP] = { { "uffd_wp",
				     "a thread is told the first write to each page of own memory",
				     "own writes are tracked by mprotect and SIGSEGV, so that system calls fail that "
				     "write to a tracked page",
				     "5.7", "" },
				   "an own page was protected, and is shown so",
				   "an own page could not be protected, or is not shown so" },
	[VMAT_FEATURE_UFFD_WP_EMPTY] = { { "uffd_wp_empty",
					   "the same for pages that are not there yet",
					   "pages of own memory that are read for the first time count as written",
					   "6.4", "" },
					 "an own page was protected with it",
					 "an own page could not be protected with it" },
	[VMAT_FEATURE_UFFD_WP_ASYNC] = { { "uffd_wp_async",
					   "the kernel itself keeps account of which pages of own memory are written",
					   "a thread handles each first write to a page, at four times the cost",
					   "6.7", "" },
					 "an own page was protected, and a write took the mark away",
					 "an own page could not be protected with it, or a write left the mark" },
	[VMAT_FEATURE_PROCESS_MADVISE] = { { "process_madvise",
					     "many ranges of own memory given back or guarded in one call",
					     "they are given back and guarded one by one", "6.13",
					     "" },
					   "an own page given back with it reads as zero",
					   "an own page could not be given back with it" },
};

/* 0: not probed yet; else the state plus one. */
static _Atomic int states[VMAT_FEATURE_COUNT];

/* Calls fn for each name of VMAT_WITHOUT until it returns true; whether it did. */
static bool any_forced_name(bool (*fn)(const char *name, size_t size, void *context), void *context)
{
	const char *list = secure_getenv("VMAT_WITHOUT");

	while (list && *list) {
		size_t size = strcspn(list, ",");

		if (size && fn(list, size, context))
			return true;
		list += size + (list[size] == ',');
	}
	return false;
}

static bool is_name(const char *text, size_t size, const char *name)
{
	return strlen(name) == size && memcmp(text, name, size) == 0;
}

static bool forces_off(const char *text, size_t size, void *context)
{
	const struct vmat_feature_info *info = context;

	return is_name(text, size, info->name) || is_name(text, size, "all");
}

const struct vmat_feature_info *vmat_feature_info(enum vmat_feature feature)
{
	return (unsigned)feature < VMAT_FEATURE_COUNT ? &rows[feature].info : NULL;
}

static enum vmat_feature_state find_state(enum vmat_feature feature)
{
	struct vmat_feature_info info = rows[feature].info;
	int works;

	if (any_forced_name(forces_off, &info))
		return VMAT_FEATURE_FORCED_OFF;
	works = vmat_feature_probe(feature);
	if (works < 0)
		return VMAT_FEATURE_NOT_PERMITTED;
	return works ? VMAT_FEATURE_YES : VMAT_FEATURE_NO;
}

enum vmat_feature_state vmat_feature_state(enum vmat_feature feature)
{
	int state;

	if ((unsigned)feature >= VMAT_FEATURE_COUNT)
		return VMAT_FEATURE_NO;
	/* Relaxed: the state is the whole message, and a second probe finds the same. */
	state = atomic_load_explicit(&states[feature], memory_order_relaxed);
	if (!state) {
		state = (int)find_state(feature) + 1;
		atomic_store_explicit(&states[feature], state, memory_order_relaxed);
	}
	return (enum vmat_feature_state)(state - 1);
}

const char *vmat_feature_evidence(enum vmat_feature feature)
{
	if ((unsigned)feature >= VMAT_FEATURE_COUNT)
		return "";
	switch (vmat_feature_state(feature)) {
	case VMAT_FEATURE_YES:
		return rows[feature].evidence_yes;
	case VMAT_FEATURE_NOT_PERMITTED:
		return "the kernel refused";
	case VMAT_FEATURE_FORCED_OFF:
		return "named in VMAT_WITHOUT";
	case VMAT_FEATURE_NO:
		break;
	}
	return rows[feature].evidence_no;
}

struct unknown_name {
	char *name;
	size_t size;
};

static bool is_unknown(const char *text, size_t size, void *context)
{
	struct unknown_name *ret = context;

	if (is_name(text, size, "all"))
		return false;
	for (size_t i = 0; i < VMAT_FEATURE_COUNT; i++) {
		if (is_name(text, size, rows[i].info.name))
			return false;
	}
	if (size >= ret->size)
		size = ret->size - 1;
	memcpy(ret->name, text, size);
	ret->name[size] = '\0';
	return true;
}

bool vmat_feature_unknown_name(char *name, size_t name_size)
{
	struct unknown_name ret = { name, name_size };

	return any_forced_name(is_unknown, &ret);
}
