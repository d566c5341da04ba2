/* SPDX-License-Identifier: MIT */
/*
 * core_text.c: the texts of /proc/PID that a core can give: maps, status, task/TID/stat and syscall.
 *
 * vmatlas dump keeps the true texts. Else they are put together from what the core says, in the form of proc(5), with
 * a question mark where it says nothing: whether a region is shared, the rights of a region that is only
 * named in NT_FILE, the state of a thread. Names of the kernel's own regions are deduced: [stack] holds what
 * AT_RANDOM points to, [vdso] is at AT_SYSINFO_EHDR with [vvar] just below it, and [heap] is the first
 * private memory above the program, within the 1 GiB that the kernel moves brk by (arch_randomize_brk).
 */
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "sys/sys_file.h"
#include "target/core.h"
#include "target/process.h"

#define BRK_MOVED_MAX (UINT64_C(1) << 30)
#define VSYSCALL_ADDR UINT64_C(0xffffffffff600000)

enum { VVAR_MAX = 4 /* neighbours below the vdso that may be the kernel's */ };

static uint64_t auxv_value(const struct vmat_core *core, uint64_t type)
{
	const struct vmat_buffer *auxv = &core->file.auxv;

	return auxv->size ? vmat_auxv_find(auxv->data, auxv->size, core->file.word_size, type) : 0;
}

const struct vmat_core_mapping *vmat_core_auxv_mapping(const struct vmat_core *core, uint64_t type)
{
	uint64_t addr = auxv_value(core, type);
	size_t i = vmat_core_mapping_find(&core->file, addr);

	if (!addr || i == core->file.mappings_count || core->file.mappings[i].start > addr)
		return NULL;
	return &core->file.mappings[i];
}

/* The load that holds addr, or the number of loads. */
static size_t load_at(const struct vmat_core_file *file, uint64_t addr)
{
	size_t i = vmat_core_load_find(file, addr);

	return addr && i < file->loads_count && file->loads[i].start <= addr ? i
									     : file->loads_count;
}

static bool is_mapped_file(const struct vmat_core_file *file, const struct vmat_core_load *load)
{
	size_t i = vmat_core_mapping_find(file, load->start);

	return i < file->mappings_count && file->mappings[i].start < load->end;
}

/* The first private memory above the program that no file lies in, or the number of loads. */
static size_t find_heap(const struct vmat_core *core)
{
	const struct vmat_core_file *file = &core->file;
	const struct vmat_core_mapping *program = vmat_core_auxv_mapping(core, AT_PHDR);
	size_t none = file->loads_count, bss = none;
	uint64_t end = 0;

	for (size_t i = 0; program && i < file->mappings_count; i++) {
		if (file->mappings[i].file == program->file)
			end = file->mappings[i].end;
	}
	if (!end)
		return none;
	for (size_t i = vmat_core_load_find(file, end); i < none; i++) {
		const struct vmat_core_load *load = &file->loads[i];

		if (load->start - end > BRK_MOVED_MAX || is_mapped_file(file, load))
			break;
		if (!(load->flags & PF_W) || load->held == load->start)
			continue;
		if (load->start > end)
			return i;
		/* What touches the program is its bss, unless there is nothing else: then brk is not moved. */
		bss = i;
		end = load->end;
	}
	return bss;
}

struct names {
	size_t stack, heap, vdso, vvar_first;
};

static struct names find_names(const struct vmat_core *core)
{
	const struct vmat_core_file *file = &core->file;
	struct names names = {
		.stack = load_at(file, auxv_value(core, AT_RANDOM)),
		.vdso = load_at(file, auxv_value(core, AT_SYSINFO_EHDR)),
		.heap = find_heap(core),
	};

	names.vvar_first = names.vdso;
	while (names.vdso < file->loads_count && names.vvar_first &&
	       names.vdso - names.vvar_first < VVAR_MAX) {
		const struct vmat_core_load *below = &file->loads[names.vvar_first - 1];

		if (below->end != below[1].start || below->flags != PF_R ||
		    is_mapped_file(file, below))
			break;
		names.vvar_first--;
	}
	return names;
}

static const char *name_of(const struct vmat_core *core, const struct names *names, size_t i)
{
	if (i == names->stack)
		return "[stack]";
	if (i == names->vdso)
		return "[vdso]";
	if (i == names->heap)
		return "[heap]";
	if (i >= names->vvar_first && i < names->vdso)
		return "[vvar]";
	return core->file.loads[i].start == VSYSCALL_ADDR ? "[vsyscall]" : "";
}

/* The kernel's own file systems, by their names alone: what region_reader.c makes of a record, too. */
static bool is_in_memory(const char *path)
{
	return strncmp(path, "/memfd:", 7) == 0 || strncmp(path, "/SYSV", 5) == 0 ||
	       strncmp(path, "/dev/zero", 9) == 0 || strncmp(path, "/anon_hugepage", 14) == 0;
}

/* A path as maps writes it: a newline would begin another region. */
static int add_path(struct vmat_buffer *text, const char *path)
{
	int err = 0;

	while (*path && !err) {
		size_t length = strcspn(path, "\n");

		err = vmat_buffer_add(text, path, length);
		path += length;
		if (!err && *path) {
			err = vmat_buffer_add(text, "\\012", 4);
			path++;
		}
	}
	return err;
}

static int add_line(struct vmat_core *core, struct vmat_buffer *text, uint64_t start, uint64_t end,
		    const char *rights, const struct vmat_core_mapping *mapping, const char *name)
{
	const char *path = mapping ? core->file.paths.data + mapping->path : "";
	int err;

	if (!mapping) {
		err = vmat_buffer_printf(text, "%08" PRIx64 "-%08" PRIx64 " %s 00000000 00:00 0 %s",
					 start, end, rights, name);
	} else {
		/* The inode is not known; a device of its own keeps files apart that have no inode. */
		err = vmat_buffer_printf(
			text, "%08" PRIx64 "-%08" PRIx64 " %s %08" PRIx64 " %x:%x %" PRIu64 " ",
			start, end, rights, mapping->offset + (start - mapping->start),
			is_in_memory(path) ? 0 : 0xffffffff, is_in_memory(path) ? 0 : mapping->file,
			VMAT_UNKNOWN(VMAT_NOT_RECORDED));
		if (!err)
			err = add_path(text, path);
	}
	return err ? err : vmat_buffer_add(text, "\n", 1);
}

/* The rights of a range that NT_FILE names and no load describes: those of its segment in the file. */
static void rights_of_mapping(struct vmat_target *target, const struct vmat_core_mapping *mapping,
			      uint64_t start, char rights[5])
{
	const struct vmat_core_image *image = vmat_core_image_of(target, mapping->file);
	uint64_t offset = mapping->offset + (start - mapping->start);

	memcpy(rights, "????", 5);
	for (size_t i = 0; image && i < image->segments_count; i++) {
		if (offset < image->segments[i].start || offset >= image->segments[i].end)
			continue;
		rights[0] = image->segments[i].flags & PF_R ? 'r' : '-';
		rights[1] = image->segments[i].flags & PF_W ? 'w' : '-';
		rights[2] = image->segments[i].flags & PF_X ? 'x' : '-';
		return;
	}
}

/* Ranges below `until` that only NT_FILE names, from *at on. */
static int add_unlisted(struct vmat_target *target, struct vmat_buffer *text, uint64_t *at,
			uint64_t until)
{
	const struct vmat_core_file *file = &target->core->file;
	size_t i = vmat_core_mapping_find(file, *at);
	int err = 0;

	for (; i < file->mappings_count && file->mappings[i].start < until && !err; i++) {
		const struct vmat_core_mapping *mapping = &file->mappings[i];
		uint64_t start = mapping->start > *at ? mapping->start : *at;
		uint64_t end = mapping->end < until ? mapping->end : until;
		char rights[5];

		rights_of_mapping(target, mapping, start, rights);
		if (start < end)
			err = add_line(target->core, text, start, end, rights, mapping, NULL);
	}
	return err;
}

/* A load, cut where another file begins in it: hostile ones alone are. */
static int add_load(struct vmat_core *core, struct vmat_buffer *text, const struct names *names,
		    size_t i)
{
	const struct vmat_core_file *file = &core->file;
	const struct vmat_core_load *load = &file->loads[i];
	const char rights[5] = { load->flags & PF_R ? 'r' : '-', load->flags & PF_W ? 'w' : '-',
				 load->flags & PF_X ? 'x' : '-', '?', '\0' };
	uint64_t at = load->start;
	int err = 0;

	for (size_t k = vmat_core_mapping_find(file, at);
	     k < file->mappings_count && file->mappings[k].start < load->end && !err; k++) {
		const struct vmat_core_mapping *mapping = &file->mappings[k];
		uint64_t end = mapping->end < load->end ? mapping->end : load->end;

		if (mapping->start > at)
			err = add_line(core, text, at, mapping->start, rights, NULL, "");
		if (mapping->start > at)
			at = mapping->start;
		if (!err)
			err = add_line(core, text, at, end, rights, mapping, NULL);
		at = end;
	}
	if (!err && at < load->end)
		err = add_line(core, text, at, load->end, rights, NULL, name_of(core, names, i));
	return err;
}

static int make_maps(struct vmat_target *target, struct vmat_buffer *text)
{
	struct vmat_core *core = target->core;
	struct names names = find_names(core);
	uint64_t at = 0;
	int err = 0;

	for (size_t i = 0; i < core->file.loads_count && !err; i++) {
		err = add_unlisted(target, text, &at, core->file.loads[i].start);
		if (!err)
			err = add_load(core, text, &names, i);
		at = core->file.loads[i].end;
	}
	return err ? err : add_unlisted(target, text, &at, UINT64_MAX);
}

static const struct vmat_core_thread *thread_of(const struct vmat_core_file *file, const char *name,
						const char **rest)
{
	uint64_t tid;

	*rest = vmat_text_decimal(name + 5, name + strlen(name), &tid);
	for (size_t i = 0; i < file->threads_count; i++) {
		if ((uint64_t)file->threads[i].tid == tid)
			return &file->threads[i];
	}
	return NULL;
}

static int make_task(struct vmat_core *core, const char *name, struct vmat_buffer *text)
{
	const struct vmat_core_file *file = &core->file;
	const char *rest;
	const struct vmat_core_thread *thread = thread_of(file, name, &rest);
	struct vmat_registers registers;
	int err;

	if (!thread)
		return -ENOENT;
	if (strcmp(rest, "/stat") == 0)
		return vmat_buffer_printf(
			text,
			"%d (%s) ? 0 0 0 0 -1 0 0 0 0 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0\n",
			(int)thread->tid, thread->tid == file->pid ? file->comm : "");
	if (strcmp(rest, "/syscall") != 0)
		return -ENOENT;
	err = vmat_core_registers(file, thread, &registers);
	if (err)
		return err == -ENOMEM ? err : -ENOENT;
	return vmat_buffer_printf(text, "-1 0x%" PRIx64 " 0x%" PRIx64 "\n", registers.sp,
				  registers.ip);
}

static int make_text(struct vmat_target *target, const char *name, struct vmat_buffer *text)
{
	struct vmat_core *core = target->core;

	if (strcmp(name, "maps") == 0)
		return make_maps(target, text);
	if (strcmp(name, "status") == 0)
		return vmat_buffer_printf(text, "Name:\t\nThreads:\t%zu\n",
					  core->file.threads_count);
	return strncmp(name, "task/", 5) == 0 ? make_task(core, name, text) : -ENOENT;
}

int vmat_core_kept_text(struct vmat_core *core, const char *name, struct vmat_buffer *text)
{
	for (size_t i = 0; i < core->file.texts_count; i++) {
		const struct vmat_core_text *kept = &core->file.texts[i];
		int err;

		if (strcmp(kept->name, name) != 0)
			continue;
		err = vmat_buffer_reserve(text, (size_t)kept->size);
		if (!err)
			err = vmat_core_file_pread(&core->file, text->data, (size_t)kept->size,
						   kept->offset);
		if (err)
			return err == -ENOMEM ? err : -ENOENT;
		text->size = (size_t)kept->size;
		text->data[text->size] = '\0';
		return 0;
	}
	return -ENOENT;
}

int vmat_core_open_text(struct vmat_target *target, const char *name)
{
	struct vmat_buffer text = { 0 };
	int err = vmat_core_kept_text(target->core, name, &text), fd;

	if (err == -ENOENT)
		err = make_text(target, name, &text);
	fd = err ? err : vmat_sys_text_fd(text.data, text.size);
	vmat_buffer_deinit(&text);
	return fd;
}

int vmat_core_link(struct vmat_target *target, const char *name, struct vmat_buffer *buffer)
{
	const struct vmat_core_mapping *program = vmat_core_auxv_mapping(target->core, AT_PHDR);
	const char *path;

	if (strcmp(name, "exe") != 0 || !program)
		return -ENOENT;
	path = target->core->file.paths.data + program->path;
	buffer->size = 0;
	return vmat_buffer_add(buffer, path, strlen(path));
}

int vmat_core_list_threads(struct vmat_target *target, pid_t **ret, size_t *ret_count)
{
	const struct vmat_core_file *file = &target->core->file;
	pid_t *tids = malloc((file->threads_count + 1) * sizeof(*tids));

	if (!tids)
		return -ENOMEM;
	for (size_t i = 0; i < file->threads_count; i++)
		tids[i] = file->threads[i].tid;
	*ret = tids;
	*ret_count = file->threads_count;
	return 0;
}
