/* SPDX-License-Identifier: MIT */
/*
 * dump.c: writing a core: header, program headers, notes, then the pages, in this order and no sections.
 *
 * What is small (the map, the scan, the notes) is put together in memory while the process stands; the pages go through a
 * window of 1 MiB, of a fork of the process if they are many. The file is made as long as it will be and then
 * only written where there is something.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/dump.h>

#include "base/cleanup.h"
#include "dump/dump_priv.h"
#include "sys/sys_output.h"
#include "sys/sys_process.h"

#define DEFAULT_STOP_NS UINT64_C(2000000000)

enum {
	WINDOW = 1 << 20,
	FORK_BYTES = 16 << 20, /* some 20 ms of copying; a fork takes 1 ms of it, and a process */
};

struct dumping {
	struct vmat_target *target;
	struct vmat_target *from; /* whose pages are copied: the target's, or those of its fork */
	const struct vmat_dump_options *options;
	struct vmat_dump *dump;
	struct vmat_map *map;
	struct vmat_stop *stop;
	struct vmat_dump_plan plan;
	struct vmat_buffer texts; /* notes that were made before the stop */
	struct vmat_buffer head;  /* ELF header, program headers, notes */
	uint64_t data;            /* where the first page goes */
	uint64_t size;            /* of the file */
	uint64_t sections;        /* where the one section header is, with PN_XNUM; 0: none */
	struct vmat_output output;
	bool is_interrupted; /* progress said so */
};

static void mark_partial(struct vmat_dump *dump, const char *why)
{
	dump->is_partial = true;
	snprintf(dump->partial_why, sizeof(dump->partial_why), "%s", why);
}

static uint64_t page_up(uint64_t size)
{
	return (size + VMAT_DUMP_PAGE - 1) & ~(uint64_t)(VMAT_DUMP_PAGE - 1);
}

static uint64_t held_size(const struct vmat_dump_piece *piece)
{
	return piece->is_held ? piece->end - piece->start : 0;
}

static uint32_t flags_of(uint8_t prot)
{
	return (prot & VMAT_PROT_READ ? PF_R : 0U) | (prot & VMAT_PROT_WRITE ? PF_W : 0U) |
	       (prot & VMAT_PROT_EXEC ? PF_X : 0U);
}

static int add_headers(struct dumping *dumping, uint64_t notes_size)
{
	const struct vmat_dump_plan *plan = &dumping->plan;
	uint64_t count = plan->pieces_count + 1;
	bool is_extended = count >= PN_XNUM; /* elf(5): then the first section header counts */
	Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT },
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = is_extended ? PN_XNUM : (Elf64_Half)count,
	};
	Elf64_Shdr section = { .sh_info = (uint32_t)count, .sh_size = 1 };
	Elf64_Phdr note = { .p_type = PT_NOTE, .p_filesz = notes_size, .p_align = 4 };
	uint64_t at;
	int err;

	if (count > UINT32_MAX)
		return -EFBIG;
	note.p_offset = sizeof(header) + count * sizeof(Elf64_Phdr);
	if (is_extended) {
		header.e_shoff = note.p_offset;
		header.e_shentsize = sizeof(section);
		header.e_shnum = 1;
		note.p_offset += sizeof(section);
	}
	at = dumping->data = page_up(note.p_offset + notes_size);
	err = vmat_buffer_add(&dumping->head, &header, sizeof(header));
	if (!err)
		err = vmat_buffer_add(&dumping->head, &note, sizeof(note));
	for (size_t i = 0; i < plan->pieces_count && !err; i++) {
		const struct vmat_dump_piece *piece = &plan->pieces[i];
		Elf64_Phdr load = {
			.p_type = PT_LOAD,
			.p_flags = flags_of(piece->prot),
			.p_offset = at,
			.p_vaddr = piece->start,
			.p_filesz = held_size(piece),
			.p_memsz = piece->end - piece->start,
			.p_align = VMAT_DUMP_PAGE,
		};

		at += load.p_filesz;
		err = vmat_buffer_add(&dumping->head, &load, sizeof(load));
	}
	if (!err && is_extended)
		err = vmat_buffer_add(&dumping->head, &section, sizeof(section));
	dumping->size = at;
	return err;
}

/* All that stands before the pages. */
static int make_head(struct dumping *dumping, const struct vmat_stopped_thread *threads,
		     size_t count)
{
	struct vmat_buffer notes = { 0 };
	int err = vmat_dump_notes_make(&notes, &dumping->plan, dumping->target, threads, count,
				       &dumping->texts);

	if (!err)
		err = add_headers(dumping, notes.size);
	if (!err)
		err = vmat_buffer_add(&dumping->head, notes.data, notes.size);
	vmat_buffer_deinit(&notes);
	return err;
}

/* Copies [start, end), which lies at `offset` in the file. Pages that went away meanwhile stay holes. */
static int copy_range(struct dumping *dumping, char *window, uint64_t start, uint64_t end,
		      uint64_t offset)
{
	while (start < end) {
		size_t size = end - start < WINDOW ? (size_t)(end - start) : WINDOW;
		ssize_t got = vmat_source_read(dumping->from, start, window, size);
		int err;

		if (got < 0)
			return (int)got;
		if ((size_t)got < VMAT_DUMP_PAGE) {
			mark_partial(dumping->dump, "some pages went away while they were read");
			start += VMAT_DUMP_PAGE;
			offset += VMAT_DUMP_PAGE;
			continue;
		}
		got &= ~(ssize_t)(VMAT_DUMP_PAGE - 1);
		err = vmat_output_pwrite(&dumping->output, window, (size_t)got, offset);
		if (err)
			return err;
		dumping->dump->copied += (uint64_t)got;
		start += (uint64_t)got;
		offset += (uint64_t)got;
		if (dumping->options->progress &&
		    !dumping->options->progress(dumping->options->progress_context,
						dumping->dump->copied, dumping->plan.bytes)) {
			dumping->is_interrupted = true;
			return -ECANCELED;
		}
		if (vmat_stop_is_over(dumping->stop))
			return -ETIMEDOUT;
	}
	return 0;
}

static int copy_pages(struct dumping *dumping)
{
	const struct vmat_dump_plan *plan = &dumping->plan;
	vmat_autofree char *window = malloc(WINDOW);
	uint64_t offset = dumping->data;
	size_t piece = 0;
	int err = window ? 0 : -ENOMEM;

	/* Both ascend, and a copy lies in pieces that the file holds. */
	for (size_t i = 0; i < plan->copies_count && !err; i++) {
		uint64_t at = plan->copies[i].start;

		while (at < plan->copies[i].end && !err) {
			uint64_t end = plan->copies[i].end;

			while (plan->pieces[piece].end <= at)
				offset += held_size(&plan->pieces[piece++]);
			if (end > plan->pieces[piece].end)
				end = plan->pieces[piece].end;
			err = copy_range(dumping, window, at, end,
					 offset + (at - plan->pieces[piece].start));
			at = end;
		}
	}
	return err;
}

/*
 * A process with more than a little to copy is forked, and goes on while its copy is read. Where it cannot be,
 * it stands until all is written.
 */
static int choose_source(struct dumping *dumping)
{
	struct vmat_error unused;
	int err;

	dumping->from = dumping->target;
	if (dumping->plan.bytes < FORK_BYTES)
		return 0;
	err = vmat_stop_fork(dumping->stop, &dumping->from, &unused);
	if (!err)
		return 0;
	dumping->from = dumping->target;
	return vmat_stop_is_over(dumping->stop) ? err : 0;
}

static int write_vdso(struct dumping *dumping)
{
	const struct vmat_dump_plan *plan = &dumping->plan;
	uint64_t offset = dumping->data;
	const void *vdso;
	size_t size, i = 0;

	if (!plan->vdso_addr)
		return 0;
	while (plan->pieces[i].start != plan->vdso_addr)
		offset += held_size(&plan->pieces[i++]);
	vdso = vmat_sys_own_vdso(&size);
	return vmat_output_pwrite(&dumping->output, vdso, size, offset);
}

static int write_file(struct dumping *dumping)
{
	int err = choose_source(dumping);

	if (!err)
		err = vmat_output_resize(&dumping->output, dumping->size);

	if (!err)
		err = vmat_output_pwrite(&dumping->output, dumping->head.data, dumping->head.size,
					 0);
	if (!err)
		err = write_vdso(dumping);
	return err ? err : copy_pages(dumping);
}

/* Everything that is read of the process, while it stands. */
static int dump_standing(struct dumping *dumping, struct vmat_error *err)
{
	static const struct vmat_map_options map_options = { .size = sizeof(map_options) };
	const struct vmat_stopped_thread *threads;
	size_t count;
	int code = vmat_map_read(&dumping->map, dumping->target, &map_options, err);

	if (code)
		return code;
	if (dumping->map->is_partial)
		mark_partial(dumping->dump, dumping->map->partial_why);
	threads = vmat_stop_threads(dumping->stop, &count);
	for (size_t i = 0; i < count; i++) {
		if (threads[i].registers.word_size == 4)
			return vmat_error_set(err, -EOPNOTSUPP,
					      "threads of 32-bit programs are not dumped yet");
	}
	dumping->dump->regions = dumping->map->count;
	dumping->dump->threads = count;
	code = vmat_dump_plan_make(&dumping->plan, dumping->dump, dumping->target, dumping->map);
	if (!code)
		code = make_head(dumping, threads, count);
	return code ? code : write_file(dumping);
}

static int explain(const struct dumping *dumping, const char *path, int code,
		   struct vmat_error *err)
{
	uint64_t limit_ns =
		dumping->options->max_stop_ns ? dumping->options->max_stop_ns : DEFAULT_STOP_NS;

	switch (code) {
	case -EEXIST:
		return vmat_error_set(err, code,
				      "%.300s is there already, or %.40s.part is.\n  Remove it, "
				      "name another file, or replace it with --force",
				      path, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
	case -ETIMEDOUT:
	case -ECANCELED:
		if (dumping->is_interrupted)
			return vmat_error_set(err, code, "interrupted: nothing was kept");
		/* Who stops the process has let it go, or was killed when its time was over. */
		code = -ETIMEDOUT;
		return vmat_error_set(
			err, code,
			"the process could not be dumped within %llu ms, and was let go; nothing "
			"was kept.\n  Give more time with --max-stop MS",
			(unsigned long long)(limit_ns / 1000000));
	case -ENOMEM:
		return vmat_error_set(err, code, "out of memory");
	case -ESRCH:
		return vmat_error_set(err, code, "process %d has ended",
				      (int)vmat_target_process(dumping->target)->pid);
	default:
		return vmat_error_set(err, code, "%.300s cannot be written: %s; nothing was kept",
				      path, strerrordesc_np(-code));
	}
}

static void deinit(struct dumping *dumping)
{
	vmat_output_drop(&dumping->output);
	vmat_dump_plan_deinit(&dumping->plan);
	vmat_map_free(dumping->map);
	vmat_buffer_deinit(&dumping->texts);
	vmat_buffer_deinit(&dumping->head);
}

static int dump_all(struct dumping *dumping, const char *path, struct vmat_error *err)
{
	struct vmat_stop_options stop_options = {
		.size = sizeof(stop_options),
		.is_fork_wanted = true,
		.max_stop_ns = dumping->options->max_stop_ns ? dumping->options->max_stop_ns
							     : DEFAULT_STOP_NS,
	};
	int ended, code = vmat_output_open(&dumping->output, path, dumping->options->may_replace);

	if (!code)
		code = vmat_dump_texts_make(&dumping->texts, dumping->target);
	if (code)
		return explain(dumping, path, code, err);
	code = vmat_stop_begin(&dumping->stop, dumping->target, &stop_options, err);
	if (code)
		return code;
	err->text[0] = '\0';
	code = dump_standing(dumping, err);
	ended = vmat_stop_end(dumping->stop, &dumping->dump->stopped_ns);
	if (!code)
		code = ended;
	if (code && err->text[0])
		return code;
	if (!code) {
		dumping->dump->file_size = dumping->size;
		dumping->dump->stored = vmat_output_stored(&dumping->output);
		code = vmat_output_finish(&dumping->output);
	}
	return code ? explain(dumping, path, code, err) : 0;
}

int vmat_dump_write(struct vmat_dump *ret, struct vmat_target *target, const char *path,
		    const struct vmat_dump_options *options, struct vmat_error *err)
{
	static const struct vmat_dump_options defaults = { .size = sizeof(defaults) };
	struct vmat_dump dump = { 0 };
	struct vmat_error unused;
	struct dumping dumping = { .target = target,
				   .options = options ? options : &defaults,
				   .dump = &dump,
				   .output = { .fd = -1 } };
	int code;

	err = err ? err : &unused;
	if (!vmat_source_is_live(target))
		return vmat_error_set(err, -EOPNOTSUPP,
				      "only a living process can be dumped, and this is none");
	code = dump_all(&dumping, path, err);
	deinit(&dumping);
	if (!code)
		*ret = dump;
	return code;
}
