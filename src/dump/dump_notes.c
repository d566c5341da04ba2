/* SPDX-License-Identifier: MIT */
/*
 * dump_notes.c: the notes of a core.
 *
 * Those of every core, in the kernel's order (Linux fs/binfmt_elf.c: fill_note_info), and two of our own, both with the owner
 * "vmatlas", a version (1) and a size first, 4 bytes each:
 *   VMAT_CORE_NOTE_TEXT    a text of /proc/PID: the size of its name, the name, the text
 *   VMAT_CORE_NOTE_PAGES   what each page is: 24 for the size of an entry; entries of start, end (8 bytes each), flags, and
 *            which flags could be told (4 bytes each: enum vmat_page_flag), ascending
 * A reader skips versions that it does not know.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dump/dump_priv.h"
#include "target/core_file.h"

enum {
	/* Linux include/linux/elfcore.h, 64 bit: struct elf_prstatus and elf_prpsinfo. */
	PRSTATUS_SIZE = 336,
	PRSTATUS_PID = 32,
	PRSTATUS_REGISTERS = 112,
	PRSTATUS_HAS_FLOATS = 328,
	PRPSINFO_SIZE = 136,
	FLOATS_SIZE = 512, /* the beginning of the XSAVE area is what FXSAVE stores */
};

static int begin_note(struct vmat_buffer *notes, const char *owner, uint32_t type, uint64_t size)
{
	Elf64_Nhdr note = { .n_namesz = (uint32_t)strlen(owner) + 1, .n_type = type };
	char name[12] = "";
	int err;

	if (size > UINT32_MAX)
		return -EFBIG;
	note.n_descsz = (uint32_t)size;
	memcpy(name, owner, strlen(owner));
	err = vmat_buffer_add(notes, &note, sizeof(note));
	return err ? err : vmat_buffer_add(notes, name, (note.n_namesz + 3) & ~3U);
}

static int end_note(struct vmat_buffer *notes)
{
	static const char zeroes[4];

	return notes->size & 3 ? vmat_buffer_add(notes, zeroes, 4 - (notes->size & 3)) : 0;
}

static int add_note(struct vmat_buffer *notes, const char *owner, uint32_t type, const void *data,
		    uint64_t size)
{
	int err = begin_note(notes, owner, type, size);

	if (!err)
		err = vmat_buffer_add(notes, data, (size_t)size);
	return err ? err : end_note(notes);
}

static int add_psinfo(struct vmat_buffer *notes, const struct vmat_process *process,
		      struct vmat_target *target)
{
	unsigned char bytes[PRPSINFO_SIZE] = { 0 };
	struct vmat_buffer arguments = { 0 };
	int32_t ids[2] = { process->pid, process->ppid };
	size_t size;

	bytes[1] = (unsigned char)process->state;
	memcpy(bytes + 16, &process->uid, sizeof(process->uid));
	memcpy(bytes + 24, ids, sizeof(ids));
	memcpy(bytes + 40, process->comm, strnlen(process->comm, 15));
	if (!vmat_source_text(target, "cmdline", &arguments)) {
		size = arguments.size < 79 ? arguments.size : 79;
		for (size_t i = 0; i < size; i++)
			bytes[56 + i] = arguments.data[i] || i + 1 == size
						? (unsigned char)arguments.data[i]
						: ' ';
	}
	vmat_buffer_deinit(&arguments);
	return add_note(notes, "CORE", NT_PRPSINFO, bytes, sizeof(bytes));
}

static int add_thread(struct vmat_buffer *notes, const struct vmat_process *process,
		      const struct vmat_stopped_thread *thread)
{
	const struct vmat_registers *registers = &thread->registers;
	unsigned char bytes[PRSTATUS_SIZE] = { 0 };
	int32_t ids[2] = { thread->tid, process->ppid };
	uint32_t has_floats = registers->extended_size >= FLOATS_SIZE;
	int err;

	memcpy(bytes + PRSTATUS_PID, ids, sizeof(ids));
	memcpy(bytes + PRSTATUS_REGISTERS, registers->raw, registers->raw_size);
	memcpy(bytes + PRSTATUS_HAS_FLOATS, &has_floats, sizeof(has_floats));
	err = add_note(notes, "CORE", NT_PRSTATUS, bytes, sizeof(bytes));
	if (!err && has_floats)
		err = add_note(notes, "CORE", NT_FPREGSET, registers->extended, FLOATS_SIZE);
	/* Only whole: a debugger computes the places of the vectors from the size. */
	if (!err && has_floats && registers->extended_size < sizeof(registers->extended))
		err = add_note(notes, "LINUX", NT_X86_XSTATE, registers->extended,
			       registers->extended_size);
	return err;
}

static int add_threads(struct vmat_buffer *notes, const struct vmat_process *process,
		       struct vmat_target *target, const struct vmat_stopped_thread *threads,
		       size_t count)
{
	int err = 0;

	/* The first thread first: readers take it for the current one. */
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < count && !err; i++) {
			if ((threads[i].tid == process->pid) == (pass == 0))
				err = add_thread(notes, process, &threads[i]);
		}
		if (pass == 0 && !err)
			err = add_psinfo(notes, process, target);
	}
	return err;
}

static bool is_named(const struct vmat_region *region)
{
	return region->name[0] == '/';
}

static int add_files(struct vmat_buffer *notes, const struct vmat_map *map)
{
	struct vmat_buffer numbers = { 0 }, paths = { 0 };
	uint64_t head[2] = { 0, VMAT_DUMP_PAGE };
	int err = 0;

	for (size_t i = 0; i < map->count; i++)
		head[0] += is_named(&map->regions[i]);
	err = vmat_buffer_add(&numbers, head, sizeof(head));
	for (size_t i = 0; i < map->count && !err; i++) {
		const struct vmat_region *region = &map->regions[i];
		uint64_t entry[3] = { region->start, region->end, region->offset / VMAT_DUMP_PAGE };

		if (!is_named(region))
			continue;
		err = vmat_buffer_add(&numbers, entry, sizeof(entry));
		if (!err)
			err = vmat_buffer_add(&paths, region->name, strlen(region->name));
		if (!err && region->is_deleted)
			err = vmat_buffer_add(&paths, " (deleted)", 10);
		if (!err)
			err = vmat_buffer_add(&paths, "", 1);
	}
	if (!err && head[0])
		err = begin_note(notes, "CORE", NT_FILE, numbers.size + paths.size);
	if (!err && head[0])
		err = vmat_buffer_add(notes, numbers.data, numbers.size);
	if (!err && head[0])
		err = vmat_buffer_add(notes, paths.data, paths.size);
	vmat_buffer_deinit(&numbers);
	vmat_buffer_deinit(&paths);
	return err ? err : end_note(notes);
}

/* A text that cannot be read is not kept: readers then know as much as of any core. */
static int add_text(struct vmat_buffer *notes, struct vmat_target *target, const char *name,
		    struct vmat_buffer *text)
{
	uint32_t head[2] = { 1, (uint32_t)strlen(name) };
	int fd, err = 0;

	fd = vmat_source_open_text(target, name);
	if (fd < 0)
		return fd == -ENOMEM ? fd : 0;
	text->size = 0;
	for (;;) {
		ssize_t got;

		err = vmat_buffer_reserve(text, 65536);
		got = err ? err : vmat_source_read_text(fd, text->data + text->size, 65536);
		if (got <= 0)
			break;
		text->size += (size_t)got;
	}
	close(fd);
	if (err)
		return err;
	err = begin_note(notes, "vmatlas", VMAT_CORE_NOTE_TEXT,
			 sizeof(head) + head[1] + text->size);
	if (!err)
		err = vmat_buffer_add(notes, head, sizeof(head));
	if (!err)
		err = vmat_buffer_add(notes, name, head[1]);
	if (!err)
		err = vmat_buffer_add(notes, text->data, text->size);
	return err ? err : end_note(notes);
}

int vmat_dump_texts_make(struct vmat_buffer *texts, struct vmat_target *target)
{
	static const char *const names[] = { "stat", "status", "limits" };
	struct vmat_buffer text = { 0 };
	pid_t *tids = NULL;
	size_t count = 0;
	int err = vmat_source_threads(target, &tids, &count);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !err; i++)
		err = add_text(texts, target, names[i], &text);
	for (size_t i = 0; i < count && !err; i++) {
		char name[40];

		snprintf(name, sizeof(name), "task/%d/stat", (int)tids[i]);
		err = add_text(texts, target, name, &text);
	}
	vmat_buffer_deinit(&text);
	free(tids);
	return err;
}

static int add_pages(struct vmat_buffer *notes, const struct vmat_dump_plan *plan)
{
	uint32_t head[2] = { 1, sizeof(*plan->runs) };
	int err;

	_Static_assert(sizeof(*plan->runs) == 24, "as the file has it");
	err = begin_note(notes, "vmatlas", VMAT_CORE_NOTE_PAGES,
			 sizeof(head) + plan->runs_count * sizeof(*plan->runs));
	if (!err)
		err = vmat_buffer_add(notes, head, sizeof(head));
	if (!err && plan->runs_count)
		err = vmat_buffer_add(notes, plan->runs, plan->runs_count * sizeof(*plan->runs));
	return err;
}

int vmat_dump_notes_make(struct vmat_buffer *notes, const struct vmat_dump_plan *plan,
			 struct vmat_target *target, const struct vmat_stopped_thread *threads,
			 size_t threads_count, const struct vmat_buffer *texts)
{
	const struct vmat_process *process = vmat_target_process(target);
	struct vmat_buffer auxv = { 0 }, maps = { 0 };
	int err = add_threads(notes, process, target, threads, threads_count);

	if (!err && !vmat_source_text(target, "auxv", &auxv))
		err = add_note(notes, "CORE", NT_AUXV, auxv.data, auxv.size);
	vmat_buffer_deinit(&auxv);
	if (!err)
		err = add_files(notes, plan->map);
	if (!err)
		err = add_text(notes, target, "maps", &maps);
	vmat_buffer_deinit(&maps);
	if (!err && texts->size)
		err = vmat_buffer_add(notes, texts->data, texts->size);
	return err ? err : add_pages(notes, plan);
}
