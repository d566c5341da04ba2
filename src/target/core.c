/* SPDX-License-Identifier: MIT */
/*
 * core.c: a core file as a target.
 *
 * A core holds less than the process had, and what is missing is of three kinds. Left out: ranges whose
 * contents nobody wrote (file text, VM_DONTDUMP, what a filter excludes). They are not known, unless it is the text
 * of a file that is still there, by its build id. Holes in the sparse file of a kernel: pages that were never
 * touched, or that hold zeroes if somebody made the file sparse afterwards. And all that a core has no
 * place for: names of threads, page flags, counters; vmatlas dump keeps those in notes of its own.
 */
#include "target/core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/sys_file.h"
#include "target/process.h"

enum { PAGE_SIZE = 4096 };

static uint64_t page_down(uint64_t addr)
{
	return addr & ~(uint64_t)(PAGE_SIZE - 1);
}

/* ---- Memory. */

/*
 * The piece of the file around `offset` that is data or hole. Sets *end to where it ends, `limit` at most.
 * File systems that do not tell have no holes.
 */
static bool is_data(struct vmat_core *core, uint64_t offset, uint64_t limit, uint64_t *end)
{
	int64_t data, hole;

	*end = limit;
	if (!core->file.has_holes)
		return true;
	if (offset < core->data_start || offset >= core->data_end) {
		data = vmat_sys_seek_data(core->file.fd, offset);
		if (data < 0 && data != -ENXIO)
			return true;
		if (data < 0 || (uint64_t)data > offset) {
			if (data >= 0 && (uint64_t)data < limit)
				*end = (uint64_t)data;
			return false;
		}
		hole = vmat_sys_seek_hole(core->file.fd, offset);
		core->data_start = offset;
		core->data_end = hole > data ? (uint64_t)hole : limit;
	}
	if (core->data_end < limit)
		*end = core->data_end;
	return true;
}

/*
 * The same in memory, in whole pages: of a load, [addr, *end). A page is there when any byte of it is:
 * gdb does not align its loads in the file.
 */
static bool is_present(struct vmat_core *core, const struct vmat_core_load *load, uint64_t addr,
		       uint64_t *end)
{
	uint64_t base =
		load->offset - load->start; /* wraps; add an address and it is in the file */
	uint64_t held = load->held, at = addr, piece;

	if (is_data(core, at + base, held + base, &piece)) {
		*end = (piece - base + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
		if (*end > held)
			*end = held;
		return true;
	}
	at = page_down(piece - base);
	if (piece - base == held)
		at = held;
	if (at > addr) {
		*end = at;
		return false;
	}
	*end = addr + PAGE_SIZE < held ? addr + PAGE_SIZE : held;
	return true;
}

/* What the file that was mapped here holds: its text was left out, and never changed. */
static ssize_t read_mapped(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	const struct vmat_core_file *file = &target->core->file;
	size_t i = vmat_core_mapping_find(file, addr);
	const struct vmat_core_mapping *mapping = &file->mappings[i];
	ssize_t got;
	int fd;

	if (i == file->mappings_count || mapping->start > addr)
		return 0;
	if (size > mapping->end - addr)
		size = (size_t)(mapping->end - addr);
	fd = vmat_core_mapped_fd(target, mapping);
	if (fd < 0)
		return 0;
	got = vmat_sys_pread(fd, buffer, size, mapping->offset + (addr - mapping->start));
	return got < 0 ? 0 : got;
}

/* One piece; 0 where nothing is. */
static ssize_t read_piece(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	struct vmat_core *core = target->core;
	size_t i = vmat_core_load_find(&core->file, addr);
	const struct vmat_core_load *load = &core->file.loads[i];
	uint64_t end;

	if (i == core->file.loads_count || load->start > addr) {
		if (i < core->file.loads_count && size > load->start - addr)
			size = (size_t)(load->start - addr);
		return read_mapped(target, addr, buffer, size);
	}
	if (addr >= load->held) {
		if (size > load->end - addr)
			size = (size_t)(load->end - addr);
		/* What a load with contents lacks was cut off, or written by the process. */
		return load->flags & PF_W ? 0 : read_mapped(target, addr, buffer, size);
	}
	if (!is_present(core, load, page_down(addr), &end))
		return 0;
	if (end > load->held)
		end = load->held;
	if (size > end - addr)
		size = (size_t)(end - addr);
	return vmat_core_file_pread(&core->file, buffer, size, load->offset + (addr - load->start))
		       ? 0
		       : (ssize_t)size;
}

static ssize_t core_read(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	char *bytes = buffer;
	size_t done = 0;

	if (!size || addr + size < addr)
		return -EINVAL;
	while (done < size) {
		ssize_t got = read_piece(target, addr + done, bytes + done, size - done);

		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static int core_read_pieces(struct vmat_target *target, struct vmat_piece *pieces, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		ssize_t got = core_read(target, pieces[i].addr, pieces[i].buffer, pieces[i].size);

		pieces[i].got = got == (ssize_t)pieces[i].size ? pieces[i].size : 0;
	}
	return 0;
}

static int core_open_file(struct vmat_target *target, const char *path, uint32_t dev_major,
			  uint32_t dev_minor, uint64_t inode)
{
	const struct vmat_core_file *file = &target->core->file;

	(void)dev_major, (void)dev_minor, (void)inode;
	for (size_t i = 0; i < file->mappings_count; i++) {
		if (strcmp(file->paths.data + file->mappings[i].path, path) == 0)
			return vmat_core_open_same(
				target, path, vmat_core_image_of(target, file->mappings[i].file));
	}
	return -ENOENT;
}

/* ---- Pages. */

struct run_sink {
	struct vmat_page_run *runs;
	size_t count, capacity;
	uint32_t want;
};

/* False when there is no room. */
static bool sink_add(struct run_sink *sink, uint64_t start, uint64_t end, uint32_t flags)
{
	struct vmat_page_run *last = sink->count ? &sink->runs[sink->count - 1] : NULL;

	flags &= sink->want;
	if (!flags || start >= end)
		return true;
	if (last && last->end == start && last->flags == flags) {
		last->end = end;
		return true;
	}
	if (sink->count == sink->capacity)
		return false;
	sink->runs[sink->count++] = (struct vmat_page_run){ start, end, flags };
	return true;
}

/* What is to be said of the pages at addr, and up to where. */
static uint32_t flags_at(struct vmat_core *core, uint64_t addr, uint64_t *end)
{
	const struct vmat_core_file *file = &core->file;
	size_t i = vmat_core_load_find(file, addr), k;
	const struct vmat_core_load *load = &file->loads[i];
	uint64_t next = i < file->loads_count ? load->start : UINT64_MAX;

	if (i < file->loads_count && load->start <= addr) {
		uint64_t held = page_down(load->held);

		*end = load->end;
		if (addr >= held)
			return VMAT_PAGE_LEFT_OUT;
		if (!is_present(core, load, addr, end))
			return 0;
		*end = *end < held ? *end : held;
		return VMAT_PAGE_PRESENT | VMAT_PAGE_DUMPED;
	}
	k = vmat_core_mapping_find(file, addr);
	*end = next;
	if (k == file->mappings_count)
		return 0;
	if (file->mappings[k].start > addr) {
		*end = file->mappings[k].start < next ? file->mappings[k].start : next;
		return 0;
	}
	*end = file->mappings[k].end < next ? file->mappings[k].end : next;
	return VMAT_PAGE_LEFT_OUT;
}

/* The pages as vmatlas dump has seen them. */
static int scan_runs(struct vmat_core *core, uint64_t *addr, uint64_t end, struct run_sink *sink)
{
	size_t low = 0, high = core->runs_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (core->runs[middle].end <= *addr)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < core->runs_count && core->runs[low].start < end; low++) {
		const struct vmat_page_run *run = &core->runs[low];
		uint64_t start = run->start > *addr ? run->start : *addr;

		if (!sink_add(sink, start, run->end < end ? run->end : end, run->flags)) {
			*addr = start;
			return (int)sink->count;
		}
	}
	*addr = end;
	return (int)sink->count;
}

static int core_scan(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
		     struct vmat_page_run *runs, size_t count, uint32_t *known)
{
	struct vmat_core *core = target->core;
	struct run_sink sink = { .runs = runs, .capacity = count, .want = want };

	if (!count || *addr >= end)
		return -EINVAL;
	if (core->runs) {
		*known = want & core->runs_known;
		return scan_runs(core, addr, end, &sink);
	}
	*known = want & (VMAT_PAGE_LEFT_OUT | VMAT_PAGE_DUMPED);
	/* Without a single hole: gdb wrote it, or a copy that filled them. All of it looks present. */
	if (core->file.has_holes)
		*known |= want & VMAT_PAGE_PRESENT;
	while (*addr < end) {
		uint64_t until;
		uint32_t flags = flags_at(core, *addr, &until);

		if (until > end)
			until = end;
		if (!sink_add(&sink, *addr, until, flags))
			break;
		*addr = until;
	}
	return (int)sink.count;
}

static int core_pagemap(struct vmat_target *target, uint64_t addr, uint64_t *entries, size_t count)
{
	(void)target, (void)addr, (void)entries, (void)count;
	return -ENOENT;
}

/* ---- Opening. */

/* The runs of vmatlas dump: (start, end, flags, known) each, ascending. */
static int read_runs(struct vmat_core *core)
{
	uint64_t last = 0, count = core->file.runs_count;
	vmat_autofree struct vmat_page_run *runs = NULL;

	if (!count || count > core->file.size / 24)
		return 0;
	runs = malloc((size_t)count * sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	core->runs_known = UINT32_MAX;
	for (uint64_t i = 0; i < count; i++) {
		unsigned char bytes[24];
		uint32_t known;

		if (vmat_core_file_pread(&core->file, bytes, sizeof(bytes),
					 core->file.runs + 24 * i))
			return 0;
		memcpy(&runs[i].start, bytes, 8);
		memcpy(&runs[i].end, bytes + 8, 8);
		memcpy(&runs[i].flags, bytes + 16, 4);
		memcpy(&known, bytes + 20, 4);
		if (runs[i].start < last || runs[i].end <= runs[i].start ||
		    (runs[i].start | runs[i].end) & (PAGE_SIZE - 1)) {
			core->file.is_odd = true;
			return 0;
		}
		last = runs[i].end;
		core->runs_known &= known;
	}
	core->runs = vmat_take_ptr(&runs);
	core->runs_count = (size_t)count;
	return 0;
}

static void describe(struct vmat_core *core)
{
	static const char *const writers[] = {
		[VMAT_CORE_KERNEL] = "the kernel",
		[VMAT_CORE_GDB] = "gdb",
		[VMAT_CORE_VMATLAS] = "vmatlas",
	};
	struct vmat_core_info *info = &core->info;
	const struct vmat_core_thread *thread = NULL;

	info->path = core->path;
	info->writer = writers[core->file.writer];
	info->fault_addr = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	/* The kernel dumps for the thread that got the signal; gdb for whoever looked. */
	for (size_t i = 0; i < core->file.threads_count; i++) {
		const struct vmat_core_thread *one = &core->file.threads[i];
		bool is_fatal = core->file.writer == VMAT_CORE_KERNEL
					? one->tid == core->file.first_tid
					: vmat_is_known(one->fault_addr);

		if (is_fatal && one->signal > 0 && (!thread || one->order < thread->order))
			thread = one;
	}
	if (thread) {
		info->signal = thread->signal;
		info->signal_code = thread->signal_code;
		info->signal_tid = thread->tid;
		info->fault_addr = thread->fault_addr;
	}
	snprintf(info->lacks, sizeof(info->lacks), "%s%s%s%s%s",
		 core->file.is_cut ? "the core file ends before what it lists: it was cut off" : "",
		 core->file.is_cut && core->file.is_odd ? "; " : "",
		 core->file.is_odd ? "parts of the core file contradict each other" : "",
		 (core->file.is_cut || core->file.is_odd) && core->file.writer == VMAT_CORE_GDB
			 ? "; "
			 : "",
		 core->file.writer == VMAT_CORE_GDB
			 ? "gdb leaves regions out and calls those without rights readable"
			 : "");
}

/* What vmatlas dump has kept of stat and limits. */
static void fill_kept(struct vmat_process *process, struct vmat_core *core)
{
	struct vmat_buffer text = { 0 };
	struct vmat_stat stat;

	if (!vmat_core_kept_text(core, "stat", &text) &&
	    !vmat_stat_parse(&stat, text.data, text.size)) {
		process->state = stat.state;
		process->stack_addr = stat.stack_addr;
		memcpy(process->comm, stat.comm, sizeof(process->comm));
	}
	text.size = 0;
	if (!vmat_core_kept_text(core, "limits", &text))
		process->stack_limit = vmat_limit_parse(text.data, "Max stack size");
	vmat_buffer_deinit(&text);
}

static void fill_process(struct vmat_target *target)
{
	struct vmat_process *process = &target->process;
	const struct vmat_core_file *file = &target->core->file;
	const struct vmat_buffer *auxv = &file->auxv;
	struct vmat_buffer exe = { 0 };

	process->pid = file->pid ? file->pid : file->first_tid;
	process->ppid = file->ppid;
	process->uid = file->uid;
	process->state = '?';
	process->word_size = file->word_size;
	process->threads =
		file->threads_count ? file->threads_count : VMAT_UNKNOWN(VMAT_NOT_RECORDED);
	process->core = &target->core->info;
	memcpy(process->comm, file->comm, sizeof(file->comm));
	if (auxv->size) {
		process->auxv_base =
			vmat_auxv_find(auxv->data, auxv->size, file->word_size, AT_BASE);
		process->auxv_phdr =
			vmat_auxv_find(auxv->data, auxv->size, file->word_size, AT_PHDR);
		process->auxv_vdso =
			vmat_auxv_find(auxv->data, auxv->size, file->word_size, AT_SYSINFO_EHDR);
		/* The kernel puts these at the top of the first stack (execve(2)). */
		process->stack_addr =
			vmat_auxv_find(auxv->data, auxv->size, file->word_size, AT_RANDOM);
	}
	fill_kept(process, target->core);
	if (!vmat_core_link(target, "exe", &exe))
		process->exe = strdup(exe.data);
	vmat_buffer_deinit(&exe);
}

static void core_deinit(struct vmat_target *target)
{
	struct vmat_core *core = target->core;

	if (!core)
		return;
	for (size_t i = 0; i < core->files_count; i++) {
		if (core->files[i].fd >= 0)
			close(core->files[i].fd);
	}
	vmat_core_file_deinit(&core->file);
	free(core->files);
	free(core->runs);
	free(core->path);
	free(core);
}

int vmat_core_open(struct vmat_target *target, int fd, const char *path, struct vmat_error *err)
{
	struct vmat_core *core = calloc(1, sizeof(*core));
	uint32_t files = 0;
	int code;

	if (!core) {
		close(fd);
		return vmat_error_set(err, -ENOMEM, "out of memory");
	}
	core->file.fd = -1;
	target->core = core;
	/* Files of its mappings are looked for where we are: our own mounts tell which may hang. */
	target->memory_dir = vmat_sys_open_at(AT_FDCWD, "/proc/self", O_DIRECTORY);
	code = vmat_core_file_read(&core->file, fd, path, err);
	if (code)
		return code;
	for (size_t i = 0; i < core->file.mappings_count; i++)
		files = core->file.mappings[i].file > files ? core->file.mappings[i].file : files;
	core->files = calloc(files + 1, sizeof(*core->files));
	core->path = strdup(path);
	if (!core->files || !core->path || read_runs(core) == -ENOMEM)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	core->files_count = files;
	for (size_t i = 0; i < files; i++)
		core->files[i].fd = VMAT_FD_NOT_OPENED;
	describe(core);
	fill_process(target);
	return 0;
}

static int core_check(struct vmat_target *target, struct vmat_error *err)
{
	(void)target, (void)err;
	return 0;
}

const struct vmat_target_ops vmat_core_ops = {
	.is_live = false,
	.open_text = vmat_core_open_text,
	.link = vmat_core_link,
	.threads = vmat_core_list_threads,
	.scan = core_scan,
	.pagemap = core_pagemap,
	.read = core_read,
	.read_pieces = core_read_pieces,
	.open_file = core_open_file,
	.check = core_check,
	.deinit = core_deinit,
};
