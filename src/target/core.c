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
#include "target/device.h"
#include "target/process.h"

enum { PAGE_SIZE = 4096, NOTE_MAX = 4096, HEADERS_MAX = 64 };

static uint64_t page_down(uint64_t addr)
{
	return addr & ~(uint64_t)(PAGE_SIZE - 1);
}

/* ---- Images: build ids and rights of segments. */

/* Gives all bytes or a negative errno. */
typedef int image_read_fn(void *context, void *buffer, size_t size, uint64_t offset);

struct image_source {
	image_read_fn *read;
	void *context;
};

/* Looks for NT_GNU_BUILD_ID in a note segment. */
static void find_build_id(struct vmat_core_image *image, const struct image_source *source,
			  const Elf64_Phdr *phdr)
{
	_Alignas(8) unsigned char notes[NOTE_MAX];
	uint64_t size = phdr->p_filesz < NOTE_MAX ? phdr->p_filesz : NOTE_MAX, at = 0;

	if (image->build_id_size || source->read(source->context, notes, size, phdr->p_offset))
		return;
	while (size - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		uint64_t desc, next;

		memcpy(&note, notes + at, sizeof(note));
		desc = at + sizeof(note) + (((uint64_t)note.n_namesz + 3) & ~UINT64_C(3));
		next = desc + (((uint64_t)note.n_descsz + 3) & ~UINT64_C(3));
		if (next > size)
			return;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
		    note.n_descsz <= sizeof(image->build_id) &&
		    memcmp(notes + at + sizeof(note), "GNU", 4) == 0) {
			memcpy(image->build_id, notes + desc, note.n_descsz);
			image->build_id_size = note.n_descsz;
			return;
		}
		at = next;
	}
}

static void add_segment(struct vmat_core_image *image, const Elf64_Phdr *phdr)
{
	size_t i = image->segments_count;

	if (i == sizeof(image->segments) / sizeof(image->segments[0]) ||
	    phdr->p_offset >> 62 || phdr->p_filesz >> 62)
		return;
	image->segments[i].start = page_down(phdr->p_offset);
	image->segments[i].end = page_down(phdr->p_offset + phdr->p_filesz + PAGE_SIZE - 1);
	image->segments[i].flags = phdr->p_flags & 7;
	image->segments_count++;
}

static void read_image(struct vmat_core_image *image, const struct image_source *source)
{
	Elf64_Ehdr header;
	bool is_wide;

	*image = (struct vmat_core_image){ 0 };
	if (source->read(source->context, &header, sizeof(header), 0) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
	    header.e_ident[EI_DATA] != ELFDATA2LSB)
		return;
	is_wide = header.e_ident[EI_CLASS] == ELFCLASS64;
	if (!is_wide) {
		Elf32_Ehdr narrow;

		memcpy(&narrow, &header, sizeof(narrow));
		header.e_phoff = narrow.e_phoff;
		header.e_phentsize = narrow.e_phentsize;
		header.e_phnum = narrow.e_phnum;
	}
	for (unsigned i = 0; i < header.e_phnum && i < HEADERS_MAX; i++) {
		uint64_t offset = header.e_phoff + (uint64_t)i * header.e_phentsize;
		Elf64_Phdr phdr;
		Elf32_Phdr narrow;
		int err = source->read(source->context, is_wide ? (void *)&phdr : (void *)&narrow,
				       is_wide ? sizeof(phdr) : sizeof(narrow), offset);

		if (err)
			return;
		if (!is_wide)
			phdr = (Elf64_Phdr){ .p_type = narrow.p_type,
					     .p_flags = narrow.p_flags,
					     .p_offset = narrow.p_offset,
					     .p_filesz = narrow.p_filesz };
		if (phdr.p_type == PT_LOAD)
			add_segment(image, &phdr);
		else if (phdr.p_type == PT_NOTE)
			find_build_id(image, source, &phdr);
	}
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
	uint64_t base = load->offset - load->start; /* wraps; add an address and it is in the file */
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

/* The descriptor of a mapped file that is still the one that was mapped, or a negative errno. */
static int file_of(struct vmat_target *target, const struct vmat_core_mapping *mapping);

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
	fd = file_of(target, mapping);
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

/* ---- Images of this core, and their files. */

struct memory_image {
	struct vmat_target *target;
	const struct vmat_core_mapping *mapping; /* of offset 0 */
};

static int read_memory_image(void *context, void *buffer, size_t size, uint64_t offset)
{
	const struct memory_image *image = context;
	struct vmat_target *target = image->target;
	uint64_t addr = image->mapping->start + offset, length;
	size_t i = vmat_core_load_find(&target->core->file, addr);
	const struct vmat_core_load *load = &target->core->file.loads[i];

	length = image->mapping->end - image->mapping->start;
	if (offset > length || size > length - offset)
		return -ENODATA;
	/* Only what the core holds itself: a file that says who it is would prove nothing. */
	if (i == target->core->file.loads_count || load->start > addr || addr >= load->held ||
	    size > load->held - addr)
		return -ENODATA;
	return core_read(target, addr, buffer, size) == (ssize_t)size ? 0 : -ENODATA;
}

static int read_file_image(void *context, void *buffer, size_t size, uint64_t offset)
{
	char *bytes = buffer;

	while (size) {
		ssize_t got = vmat_sys_pread(*(int *)context, bytes, size, offset);

		if (got <= 0)
			return got < 0 ? (int)got : -ENODATA;
		bytes += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}
	return 0;
}

const struct vmat_core_image *vmat_core_image_of(struct vmat_target *target, uint32_t number)
{
	const struct vmat_core_file *core = &target->core->file;
	struct vmat_core_image_file *file;

	if (!number || number > target->core->files_count)
		return NULL;
	file = &target->core->files[number - 1];
	for (size_t i = 0; i < core->mappings_count && !file->is_image_read; i++) {
		struct memory_image image = { target, &core->mappings[i] };
		struct image_source source = { read_memory_image, &image };

		if (core->mappings[i].file != number || core->mappings[i].offset)
			continue;
		read_image(&file->image, &source);
		file->is_image_read = true;
	}
	file->is_image_read = true;
	return &file->image;
}

/* Opens the path if it leads to what the process had mapped: a build id is the only proof. */
static int open_same(struct vmat_target *target, const char *path,
		     const struct vmat_core_image *wanted)
{
	vmat_autoclose int fd = -1;
	struct image_source source = { read_file_image, &fd };
	struct vmat_core_image found;
	struct stat stat;

	if (path[0] != '/' || !wanted || !wanted->build_id_size)
		return -ESTALE;
	if (vmat_device_may_hang(target, path, 0, 0))
		return -EOPNOTSUPP;
	fd = vmat_sys_open_at(AT_FDCWD, path, 0);
	if (fd < 0)
		return fd;
	if (vmat_sys_fstat(fd, &stat) || !S_ISREG(stat.st_mode))
		return -ESTALE;
	read_image(&found, &source);
	if (found.build_id_size != wanted->build_id_size ||
	    memcmp(found.build_id, wanted->build_id, found.build_id_size) != 0)
		return -ESTALE;
	return vmat_take_fd(&fd);
}

static int file_of(struct vmat_target *target, const struct vmat_core_mapping *mapping)
{
	struct vmat_core *core = target->core;
	struct vmat_core_image_file *file = &core->files[mapping->file - 1];

	if (file->fd == VMAT_FD_NOT_OPENED)
		file->fd = open_same(target, core->file.paths.data + mapping->path,
				     vmat_core_image_of(target, mapping->file));
	return file->fd;
}

static int core_open_file(struct vmat_target *target, const char *path, uint32_t dev_major,
			  uint32_t dev_minor, uint64_t inode)
{
	const struct vmat_core_file *file = &target->core->file;

	(void)dev_major, (void)dev_minor, (void)inode;
	for (size_t i = 0; i < file->mappings_count; i++) {
		if (strcmp(file->paths.data + file->mappings[i].path, path) == 0)
			return open_same(target, path,
					 vmat_core_image_of(target, file->mappings[i].file));
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

static int fill_process(struct vmat_target *target)
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
	process->threads = file->threads_count ? file->threads_count
					       : VMAT_UNKNOWN(VMAT_NOT_RECORDED);
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
	if (!vmat_core_link(target, "exe", &exe))
		process->exe = strdup(exe.data);
	vmat_buffer_deinit(&exe);
	return 0;
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

int vmat_core_open(struct vmat_target **ret, int fd, const char *path, struct vmat_error *err)
{
	struct vmat_target *target = vmat_target_new(&vmat_core_ops);
	struct vmat_core *core = calloc(1, sizeof(*core));
	uint32_t files = 0;
	int code;

	if (!target || !core) {
		close(fd);
		free(core);
		vmat_target_close(target);
		return vmat_error_set(err, -ENOMEM, "out of memory");
	}
	target->core = core;
	/* Files of its mappings are looked for where we are: our own mounts tell which may hang. */
	target->memory_dir = vmat_sys_open_at(AT_FDCWD, "/proc/self", O_DIRECTORY);
	code = vmat_core_file_read(&core->file, fd, path, err);
	if (code) {
		core->file.fd = -1;
		vmat_target_close(target);
		return code;
	}
	for (size_t i = 0; i < core->file.mappings_count; i++)
		files = core->file.mappings[i].file > files ? core->file.mappings[i].file : files;
	core->files = calloc(files + 1, sizeof(*core->files));
	core->path = strdup(path);
	if (!core->files || !core->path || read_runs(core) == -ENOMEM) {
		vmat_target_close(target);
		return vmat_error_set(err, -ENOMEM, "out of memory");
	}
	core->files_count = files;
	for (size_t i = 0; i < files; i++)
		core->files[i].fd = VMAT_FD_NOT_OPENED;
	describe(core);
	fill_process(target);
	*ret = target;
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
