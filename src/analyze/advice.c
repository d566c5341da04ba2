/* SPDX-License-Identifier: MIT */
/*
 * What helps, by finding: the setting, its value, what it changes and what it costs.
 *
 * A setting of one allocator does nothing, silently, in a program that has another one: so advice about malloc is told by allocator. musl
 * has no setting; static programs of glibc read GLIBC_TUNABLES, too, and setuid ones never do (ld.so(8)).
 * glibc's settings are read when a program starts, so each needs a restart. Setting either of mmap_threshold and trim_threshold ends
 * that they adjust themselves: measured with blocks of 2 MiB, 16 of them live, one alone makes 6.0 faults of 5.7 for each request, both
 * make none. So they are always advised together. 32 MiB is the highest mmap_threshold that glibc takes (half a heap of an arena).
 */
#include <string.h>

#include "analyze/view.h"

static const struct {
	const char *id, *text;
} advices[] = {
	{ "leak.heap",
	  "`vmatlas leaks` shows the blocks that nothing refers to; what is still referred to (a list "
	  "that only grows) it does not. No setting ends a leak; systemd's MemoryMax= or a cgroup's "
	  "memory.max makes its end a clean restart; costs that restart" },
	{ "leak.memory",
	  "`vmatlas heap` tells whether what grows is in use (a leak) or free between blocks in use "
	  "(fragmentation), `vmatlas leaks` which blocks nothing refers to. No setting ends a leak; "
	  "memory.max of a cgroup makes its end a clean restart; costs that restart" },
	{ "leak.shared",
	  "`vmatlas map` shows which shared memory grows; what is left in /dev/shm or by shmget(2) "
	  "outlives the process: ipcs -m, ls /dev/shm. kernel.shmall limits System V's; a program "
	  "that needs more then fails" },
	{ "leak.untouched",
	  "blocks are taken and never written. `vmatlas heap` shows their sizes. Nothing of it takes "
	  "memory yet; with vm.overcommit_memory=2 it would count, and malloc fail" },
	{ "stacks.threads",
	  "threads begin and never end: `vmatlas stacks` shows where each waits. ulimit -s (or "
	  "pthread_attr_setstacksize) makes each stack smaller, 256 KiB instead of 8 MiB, which "
	  "postpones the end; costs a crash where a thread needs more. kernel.threads-max and "
	  "TasksMax= end it earlier" },
	{ "stacks.unjoined",
	  "threads end but nobody joins them: their stacks stay. pthread_detach(3) at their begin or "
	  "pthread_join(3) at their end gives them back; costs nothing" },
	{ "stacks.reserved",
	  "ulimit -s 256 before the start, or pthread_attr_setstacksize(3): stacks of 256 KiB instead of "
	  "8 MiB of address space each. What is reserved takes no memory, so this only helps where "
	  "address space or an overcommit limit is short; costs a crash where a thread needs more" },
	{ "stacks.near_end",
	  "a larger stack: ulimit -s before the start (main thread, and the default of others) or "
	  "pthread_attr_setstacksize(3); costs address space only, memory when it is touched" },
	{ "mappings.regions",
	  "`vmatlas map --tree` shows whose regions these are. At vm.max_map_count each further mmap, "
	  "mprotect and many a munmap fails with ENOMEM; sysctl vm.max_map_count=1048576 postpones it; "
	  "costs some 200 bytes of the kernel's memory for each region" },
	{ "mappings.touched",
	  "`vmatlas map --tree` shows whose regions these are: what is mapped must be unmapped. "
	  "sysctl vm.max_map_count=1048576 postpones the end by number, not by memory" },
	{ "mappings.untouched",
	  "`vmatlas map --tree` shows whose address space grows. It takes no memory until it is touched; "
	  "ulimit -v makes it fail early, which finds the caller; costs that failure" },
	{ "mappings.size",
	  "`vmatlas map --tree` shows whose address space grows. It takes no memory: mappings of files "
	  "or without rights; ulimit -v makes it fail early, which finds the caller; costs that failure" },
	{ "mappings.near_max",
	  "sysctl vm.max_map_count=1048576 (65530 by default): at the limit each further mmap, mprotect "
	  "and many a munmap fails with ENOMEM, often far from the cause; costs some 200 bytes of "
	  "the kernel's memory for each region" },
	{ "cache.filling",
	  "nothing is wrong yet: watch until it stands still. If that is more than you have, the "
	  "program's own limit for its cache is the one to set" },
	{ "thp.bloat",
	  "glibc.malloc.hugetlb=0 if that tunable is set, else prctl(PR_SET_THP_DISABLE) or "
	  "transparent_hugepage=madvise: pages of 4 KiB again, only what is touched is resident; costs "
	  "more TLB misses, 0 to 15 % of time for programs that hop over much memory" },
	{ "data.few", "watch longer: `--for` takes more time" },
	{ "data.unclear", "watch longer: twice as long tells whether it goes on" },
	{ "data.noise", "watch longer: the floor falls faster than the time grows" },
};

#define TRIM                                                                                  \
	"malloc_trim(0), called by the program at quiet times, gives whole free pages back: " \
	"`vmatlas heap` shows how much in TRIMMABLE; costs a walk over the heap and faults "  \
	"when they are used again. What lives long, allocated before what lives short, "      \
	"fragments less; jemalloc or mimalloc by LD_PRELOAD do, too, and cost a restart"
#define ARENAS                                                                           \
	"GLIBC_TUNABLES=glibc.malloc.arena_max=2 or MALLOC_ARENA_MAX=2 at its start "    \
	"(mallopt(M_ARENA_MAX) in it): at most two arenas instead of eight for each "    \
	"processor, so that what one thread frees another one reuses; costs waiting of " \
	"threads for each other in malloc"
#define THRESHOLDS                                                                                                                                                 \
	"GLIBC_TUNABLES=glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold="                                                                         \
	"134217728 at its start (both: one alone makes it worse; before glibc 2.26 MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_): freed blocks up to 32 MiB " \
	"stay with malloc instead of going back to the kernel; costs up to 128 MiB of freed "                                                                      \
	"memory that stays resident"
#define JEMALLOC_GIVE                                                                       \
	"MALLOC_CONF=background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0 at its "   \
	"start: free pages go back after a second; costs faults when they are used again. " \
	"What is free within pages in use stays: MALLOC_CONF=stats_print:true shows it"
#define CAUSE     "`vmatlas faults` tells the cause and where. "
#define IF_MALLOC "If it is malloc that gives memory back and takes it again: "
#define KEEP      "Keep what is soon used again instead of freeing it; costs that memory"
#define JEMALLOC_KEEP                                                                       \
	"MALLOC_CONF=dirty_decay_ms:60000,muzzy_decay_ms:60000 at its start: what is free " \
	"for less than a minute is kept; costs the memory that was free in the last minute"
#define JEMALLOC_ARENAS                                                                        \
	"MALLOC_CONF=narenas:4 at its start: four arenas instead of four for each processor; " \
	"costs waiting of threads for each other in malloc"

#define OTHER                                                                   \
	"no setting of this allocator is known here. glibc's (GLIBC_TUNABLES, " \
	"MALLOC_ARENA_MAX, malloc_trim) do nothing for it. "

/* Advice about malloc. Of glibc's texts, IF_GLIBC is said before where the allocator is not known. */
#define IF_GLIBC "If malloc is glibc's (`vmatlas heap` tells): "

static const struct {
	const char *id, *glibc, *unknown, *jemalloc, *other;
} allocators[] = {
	{ "fragmentation.heap", TRIM, IF_GLIBC TRIM, JEMALLOC_GIVE,
	  OTHER "What lives long, allocated before what lives short, fragments less" },
	{ "fragmentation.arenas", ARENAS, IF_GLIBC ARENAS, JEMALLOC_ARENAS,
	  OTHER "Fewer threads that allocate make fewer arenas" },
	{ "arenas.many", ARENAS, IF_GLIBC ARENAS, JEMALLOC_ARENAS,
	  OTHER "Fewer threads that allocate make fewer arenas" },
	{ "faults.churn", CAUSE IF_MALLOC THRESHOLDS, CAUSE IF_GLIBC THRESHOLDS,
	  CAUSE IF_MALLOC JEMALLOC_KEEP, CAUSE OTHER KEEP },
};

const char *vmat_advice(const char *id, const char *allocator)
{
	for (size_t i = 0; i < sizeof(advices) / sizeof(*advices); i++)
		if (!strcmp(advices[i].id, id))
			return advices[i].text;
	for (size_t i = 0; i < sizeof(allocators) / sizeof(*allocators); i++) {
		if (strcmp(allocators[i].id, id) != 0)
			continue;
		if (!allocator || !*allocator)
			return allocators[i].unknown;
		if (!strncmp(allocator, "glibc", 5))
			return allocators[i].glibc;
		return strncmp(allocator, "jemalloc", 8) ? allocators[i].other
							 : allocators[i].jemalloc;
	}
	return "";
}
