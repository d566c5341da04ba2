/* SPDX-License-Identifier: MIT */
#include "sys/feature_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/pagemap.h"
#include "sys/procmap.h"
#include "sys/sys_file.h"
#include "sys/sys_jail.h"
#include "sys/sys_memory.h"
#include "sys/sys_perf.h"
#include "sys/sys_process.h"
#include "sys/sys_uffd.h"

/* Three pages of own memory, the middle one touched. */
struct arena {
	char *start;
	size_t page;
	int pagemap;
};

static int arena_init(struct arena *arena)
{
	arena->page = (size_t)sysconf(_SC_PAGESIZE);
	arena->start = mmap(NULL, 3 * arena->page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena->start == MAP_FAILED)
		return -errno;
	arena->pagemap = vmat_sys_open_at(AT_FDCWD, "/proc/self/pagemap", 0);
	/* Without this a huge page could cover all three. */
	madvise(arena->start, 3 * arena->page, MADV_NOHUGEPAGE);
	*(volatile char *)(arena->start + arena->page) = 1;
	return 0;
}

static void arena_deinit(struct arena *arena)
{
	if (arena->pagemap >= 0)
		close(arena->pagemap);
	munmap(arena->start, 3 * arena->page);
}

/* What an open or a call that failed says about a feature. */
static int refused(int err)
{
	return err == -EACCES || err == -EPERM ? -EACCES : 0;
}

static int probe_pagemap_scan(struct arena *arena)
{
	struct vmat_uapi_page_region found[4];
	uint64_t start = (uintptr_t)arena->start;
	int count;

	if (arena->pagemap < 0)
		return refused(arena->pagemap);
	count = vmat_sys_pagemap_scan(arena->pagemap, start, start + 3 * arena->page,
				      VMAT_UAPI_PAGE_IS_PRESENT, VMAT_UAPI_PAGE_IS_PRESENT, 0,
				      found, 4);
	return count == 1 && found[0].start == start + arena->page &&
	       found[0].end == start + 2 * arena->page;
}

static int probe_page_guard(struct arena *arena)
{
	struct vmat_uapi_page_region found[4];
	uint64_t start = (uintptr_t)arena->start;

	if (arena->pagemap < 0)
		return refused(arena->pagemap);
	if (madvise(arena->start, arena->page, VMAT_UAPI_MADV_GUARD_INSTALL) != 0)
		return 0;
	return vmat_sys_pagemap_scan(arena->pagemap, start, start + 3 * arena->page,
				     VMAT_UAPI_PAGE_IS_GUARD, VMAT_UAPI_PAGE_IS_GUARD, 0, found,
				     4) == 1 &&
	       found[0].start == start && found[0].end == start + arena->page;
}

static int probe_procmap_query(struct arena *arena)
{
	vmat_autoclose int maps = vmat_sys_open_at(AT_FDCWD, "/proc/self/maps", 0);
	struct vmat_uapi_procmap_query query;

	if (maps < 0)
		return refused(maps);
	return vmat_sys_procmap_query(maps, (uintptr_t)arena->start, &query) == 0 &&
	       query.vma_start <= (uintptr_t)arena->start &&
	       query.vma_end > (uintptr_t)arena->start;
}

static int own_entry(const struct arena *arena, uint64_t *entry)
{
	uint64_t page = ((uintptr_t)arena->start + arena->page) / arena->page;

	if (arena->pagemap < 0)
		return arena->pagemap;
	return vmat_sys_pagemap_read(arena->pagemap, page, entry, 1) == 1 ? 0 : -EIO;
}

static int probe_pagemap(struct arena *arena)
{
	uint64_t entry = 0;
	int err = own_entry(arena, &entry);

	return err ? refused(err) : (entry & VMAT_PM_PRESENT) != 0;
}

static int probe_page_frames(struct arena *arena)
{
	uint64_t entry = 0;
	int err = own_entry(arena, &entry);

	if (err)
		return refused(err);
	return VMAT_PM_PFN(entry) != 0 ? 1 : -EACCES;
}

static int probe_kpageflags(struct arena *arena)
{
	vmat_autoclose int flags = vmat_sys_open_at(AT_FDCWD, "/proc/kpageflags", 0);
	vmat_autoclose int counts = vmat_sys_open_at(AT_FDCWD, "/proc/kpagecount", 0);
	uint64_t entry = 0, value = 0;

	if (flags < 0 || counts < 0)
		return refused(flags < 0 ? flags : counts);
	if (own_entry(arena, &entry) || VMAT_PM_PFN(entry) == 0)
		return -EACCES;
	return vmat_sys_kpage_read(flags, VMAT_PM_PFN(entry), &value, 1) == 1 && value != 0;
}

static int probe_process_vm_readv(struct arena *arena)
{
	char byte = 0;
	struct iovec local = { &byte, 1 }, remote = { arena->start + arena->page, 1 };
	ssize_t got = vmat_sys_process_read(getpid(), &local, &remote, 1);

	return got < 0 ? refused((int)got) : got == 1 && byte == 1;
}

static int probe_pidfd(struct arena *arena)
{
	vmat_autoclose int pidfd = vmat_sys_pidfd_open(getpid());

	(void)arena;
	return pidfd < 0 ? refused(pidfd) : vmat_sys_pidfd_wait(pidfd, 0) == 0;
}

/* Can a file of /proc be read, and is there anything in it? */
static int probe_file(const char *path)
{
	struct vmat_buffer text = { 0 };
	int err = vmat_sys_read_file_at(AT_FDCWD, path, &text, 1 << 20);
	int works = err ? refused(err) : text.size > 0;

	vmat_buffer_deinit(&text);
	return works;
}

static int probe_task_syscall(struct arena *arena)
{
	(void)arena;
	return probe_file("/proc/thread-self/syscall");
}

static int probe_smaps_rollup(struct arena *arena)
{
	(void)arena;
	return probe_file("/proc/self/smaps_rollup");
}

struct soft_dirty {
	struct arena *arena;
	volatile int works;
};

/* Clear, look, write, look: some kernels accept the clearing and never set the bit. */
static void soft_dirty_work(void *context)
{
	struct soft_dirty *test = context;
	uint64_t before = 0, after = 0;
	int fd;

	/* The child's own pagemap: that of the parent shows the parent. */
	test->arena->pagemap = vmat_sys_open_at(AT_FDCWD, "/proc/self/pagemap", 0);
	fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "4", 1) != 1 || own_entry(test->arena, &before))
		return;
	*(volatile char *)(test->arena->start + test->arena->page) = 2;
	if (own_entry(test->arena, &after))
		return;
	test->works = !(before & VMAT_PM_SOFT_DIRTY) && (after & VMAT_PM_SOFT_DIRTY);
}

/* In a child, so that the caller's own soft-dirty bits stay as they are. */
static int probe_soft_dirty(struct arena *arena)
{
	struct soft_dirty *test = vmat_sys_shared_alloc(sizeof(*test));
	int works = 0;

	if (!test)
		return 0;
	test->arena = arena;
	if (vmat_sys_run_child(soft_dirty_work, test, 2000) == 0)
		works = test->works;
	vmat_sys_shared_free(test, sizeof(*test));
	return works;
}

static int probe_madv_guard(struct arena *arena)
{
	char byte;
	struct iovec local = { &byte, 1 }, remote = { arena->start, 1 };

	if (madvise(arena->start, arena->page, VMAT_UAPI_MADV_GUARD_INSTALL) != 0)
		return 0;
	return vmat_sys_process_read(getpid(), &local, &remote, 1) == -EFAULT;
}

static int probe_madv_populate(struct arena *arena)
{
	char *last = arena->start + 2 * arena->page;
	unsigned char is_present = 0;

	return madvise(last, arena->page, MADV_POPULATE_WRITE) == 0 &&
	       mincore(last, arena->page, &is_present) == 0 && (is_present & 1);
}

static int probe_perf_faults(struct arena *arena)
{
	vmat_autoclose int fd = vmat_sys_perf_faults(0, 1, false);
	uint64_t count = 0;

	if (fd < 0)
		return refused(fd);
	if (vmat_sys_perf_enable(fd, true))
		return 0;
	*(volatile char *)arena->start = 1;
	return vmat_sys_perf_count(fd, &count) == 0 && count > 0;
}

static int probe_anon_names(struct arena *arena)
{
	struct vmat_buffer text = { 0 };
	int works = 0;

	if (prctl(VMAT_UAPI_PR_SET_VMA, VMAT_UAPI_PR_SET_VMA_NAME, arena->start, 3 * arena->page,
		  "vmatlas-probe") == 0 &&
	    vmat_sys_read_file_at(AT_FDCWD, "/proc/self/maps", &text, 64 << 20) == 0)
		works = strstr(text.data, "[anon:vmatlas-probe]") != NULL;
	vmat_buffer_deinit(&text);
	return works;
}

static int probe_seccomp(struct arena *arena)
{
	(void)arena;
	return vmat_sys_jail_probe() == 0;
}

static int probe_uffd(struct arena *arena, size_t page, uint64_t features)
{
	int works;

	if (arena->pagemap < 0)
		return refused(arena->pagemap);
	works = vmat_sys_uffd_probe(arena->pagemap, arena->start + page * arena->page, arena->page,
				    features);
	return works < 0 ? refused(works) : works;
}

static int probe_uffd_wp(struct arena *arena)
{
	return probe_uffd(arena, 1, UFFD_FEATURE_PAGEFAULT_FLAG_WP);
}

static int probe_uffd_wp_empty(struct arena *arena)
{
	return probe_uffd(arena, 2, UFFD_FEATURE_PAGEFAULT_FLAG_WP | VMAT_UAPI_UFFD_WP_UNPOPULATED);
}

/* PAGEMAP_SCAN came with it, and is what asks for its marks. */
static int probe_uffd_wp_async(struct arena *arena)
{
	int works = probe_pagemap_scan(arena);

	if (works <= 0)
		return works;
	return probe_uffd(arena, 2, VMAT_UAPI_UFFD_WP_ASYNC | VMAT_UAPI_UFFD_WP_UNPOPULATED);
}

static int probe_process_madvise(struct arena *arena)
{
	vmat_autoclose int pidfd = vmat_sys_pidfd_open(getpid());
	char *byte = arena->start + arena->page;
	struct iovec range = { byte, arena->page };

	if (pidfd < 0)
		return refused(pidfd);
	if (vmat_sys_process_madvise(pidfd, &range, 1, MADV_DONTNEED) != (ssize_t)arena->page)
		return 0;
	return *(volatile char *)byte == 0;
}

int vmat_feature_probe(enum vmat_feature feature)
{
	static int (*const probes[VMAT_FEATURE_COUNT])(struct arena *) = {
		[VMAT_FEATURE_PAGEMAP_SCAN] = probe_pagemap_scan,
		[VMAT_FEATURE_PAGE_GUARD] = probe_page_guard,
		[VMAT_FEATURE_PROCMAP_QUERY] = probe_procmap_query,
		[VMAT_FEATURE_PAGEMAP] = probe_pagemap,
		[VMAT_FEATURE_PAGE_FRAMES] = probe_page_frames,
		[VMAT_FEATURE_KPAGEFLAGS] = probe_kpageflags,
		[VMAT_FEATURE_PROCESS_VM_READV] = probe_process_vm_readv,
		[VMAT_FEATURE_PIDFD] = probe_pidfd,
		[VMAT_FEATURE_TASK_SYSCALL] = probe_task_syscall,
		[VMAT_FEATURE_SMAPS_ROLLUP] = probe_smaps_rollup,
		[VMAT_FEATURE_SOFT_DIRTY] = probe_soft_dirty,
		[VMAT_FEATURE_MADV_GUARD] = probe_madv_guard,
		[VMAT_FEATURE_MADV_POPULATE] = probe_madv_populate,
		[VMAT_FEATURE_PERF_FAULTS] = probe_perf_faults,
		[VMAT_FEATURE_ANON_NAMES] = probe_anon_names,
		[VMAT_FEATURE_SECCOMP] = probe_seccomp,
		[VMAT_FEATURE_UFFD_WP] = probe_uffd_wp,
		[VMAT_FEATURE_UFFD_WP_EMPTY] = probe_uffd_wp_empty,
		[VMAT_FEATURE_UFFD_WP_ASYNC] = probe_uffd_wp_async,
		[VMAT_FEATURE_PROCESS_MADVISE] = probe_process_madvise,
	};
	struct arena arena;
	int works = 0, saved = errno;

	if ((unsigned)feature < VMAT_FEATURE_COUNT && probes[feature] && arena_init(&arena) == 0) {
		works = probes[feature](&arena);
		arena_deinit(&arena);
	}
	/* The primitives ask from inside of anybody's code. */
	errno = saved;
	return works;
}
