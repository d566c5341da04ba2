/* SPDX-License-Identifier: MIT */
/*
 * core_file.c: see core_file.h. Why not libelf: it maps the file, so that one which is cut meanwhile is a
 * SIGBUS, believes more of its counts, and does not know what a core's notes hold; what is needed are three
 * tables and a walk over notes, by bounded reads, and they are fuzzed (tests/fuzz/core_fuzz.c).
 */
#include "target/core_file.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/sys_file.h"

enum {
	LOADS_MAX = 1 << 20,   /* vm.max_map_count is 65,530, and can be raised */
	NOTES_MAX = 1 << 20,   /* a thread has five */
	THREADS_MAX = 1 << 18, /* more than a kernel has pids by default */
	FILES_MAX = 64 << 20,  /* bytes of NT_FILE; the kernel writes at most 4 MiB by default */
	TEXTS_MAX = 1 << 20,
	AUXV_MAX = 64 << 10,
	PAGE_SIZE = 4096,
};

#define ADDR_LIMIT (UINT64_C(1) << 62)

int vmat_core_file_pread(const struct vmat_core_file *core, void *buffer, size_t size,
			 uint64_t offset)
{
	char *bytes = buffer;

	if (offset > core->size || size > core->size - offset)
		return -ENODATA;
	while (size) {
		ssize_t got = vmat_sys_pread(core->fd, bytes, size, offset);

		if (got <= 0)
			return got < 0 ? (int)got : -ENODATA; /* it was cut since it was opened */
		bytes += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}
	return 0;
}

/* Room for one more in an array that doubles. False without memory, or above `limit`. */
static bool grow(void *array, size_t count, size_t item_size, size_t limit)
{
	void **place = array, *more;

	if (count >= limit)
		return false;
	if (count && (count < 16 || count & (count - 1)))
		return true;
	more = realloc(*place, (count ? 2 * count : 16) * item_size);
	if (more)
		*place = more;
	return more;
}

static int bad(struct vmat_error *err, const char *path, const char *what)
{
	return vmat_error_set(err, -EBADMSG, "%.300s is a core file, but %s", path, what);
}

/* systemd-coredump and apport compress what they keep. */
static bool is_compressed(const unsigned char *bytes)
{
	return memcmp(bytes, "\x28\xb5\x2f\xfd", 4) == 0 ||
	       memcmp(bytes,
		      "\xfd"
		      "7zXZ",
		      5) == 0 ||
	       memcmp(bytes, "\x04\x22\x4d\x18", 4) == 0 || memcmp(bytes, "\x1f\x8b", 2) == 0;
}

static int read_header(struct vmat_core_file *core, const char *path, Elf64_Ehdr *ret,
		       struct vmat_error *err)
{
	static const char *const kinds[] = { "no kind of file", "an object file", "a program",
					     "a program or library" };
	unsigned char ident[EI_NIDENT + 2];
	Elf32_Ehdr narrow;
	uint16_t type;
	int code = vmat_core_file_pread(core, ident, sizeof(ident), 0);

	if (!code && is_compressed(ident))
		return vmat_error_set(
			err, -ENOEXEC,
			"%.300s is compressed.\n  Unpack it first (unzstd, unxz, unlz4, "
			"gunzip)",
			path);
	if (code == -ENODATA || (!code && memcmp(ident, ELFMAG, SELFMAG) != 0))
		return vmat_error_set(err, -ENOEXEC,
				      "%.300s is no core file: it does not begin as an ELF file",
				      path);
	if (code)
		return vmat_error_set(err, code, "%.300s cannot be read: %s", path,
				      strerrordesc_np(-code));
	if (ident[EI_DATA] != ELFDATA2LSB ||
	    (ident[EI_CLASS] != ELFCLASS32 && ident[EI_CLASS] != ELFCLASS64))
		return vmat_error_set(err, -ENOEXEC,
				      "%.300s is an ELF file that is not read here: only those of "
				      "little-endian processors are",
				      path);
	memcpy(&type, ident + EI_NIDENT, sizeof(type));
	if (type != ET_CORE)
		return vmat_error_set(
			err, -ENOEXEC,
			"%.300s is %s, not a core file.\n  Name a process that runs it by its "
			"pid or @name, or a core file of one",
			path, kinds[type < 4 ? type : 0]);
	core->word_size = ident[EI_CLASS] == ELFCLASS64 ? 8 : 4;
	if (core->word_size == 8) {
		code = vmat_core_file_pread(core, ret, sizeof(*ret), 0);
		return code ? bad(err, path, "it ends within its header") : 0;
	}
	if (vmat_core_file_pread(core, &narrow, sizeof(narrow), 0))
		return bad(err, path, "it ends within its header");
	*ret = (Elf64_Ehdr){
		.e_machine = narrow.e_machine,
		.e_phoff = narrow.e_phoff,
		.e_shoff = narrow.e_shoff,
		.e_phentsize = narrow.e_phentsize,
		.e_phnum = narrow.e_phnum,
	};
	return 0;
}

/* How many program headers: with PN_XNUM the first section header tells (elf(5)). */
static int count_headers(const struct vmat_core_file *core, const Elf64_Ehdr *header, uint64_t *ret)
{
	uint32_t info;
	int err;

	*ret = header->e_phnum;
	if (header->e_phnum != PN_XNUM)
		return 0;
	if (header->e_shoff > ADDR_LIMIT)
		return -ENODATA;
	err = vmat_core_file_pread(core, &info, sizeof(info),
				   header->e_shoff + (core->word_size == 8
							      ? offsetof(Elf64_Shdr, sh_info)
							      : offsetof(Elf32_Shdr, sh_info)));
	*ret = err ? 0 : info;
	return err;
}

static void widen(Elf64_Phdr *ret, const Elf32_Phdr *narrow)
{
	*ret = (Elf64_Phdr){
		.p_type = narrow->p_type,
		.p_flags = narrow->p_flags,
		.p_offset = narrow->p_offset,
		.p_vaddr = narrow->p_vaddr,
		.p_filesz = narrow->p_filesz,
		.p_memsz = narrow->p_memsz,
	};
}

static int add_load(struct vmat_core_file *core, const Elf64_Phdr *phdr)
{
	struct vmat_core_load load = {
		.start = phdr->p_vaddr,
		.end = phdr->p_vaddr + phdr->p_memsz,
		.offset = phdr->p_offset,
		.flags = phdr->p_flags & 7,
	};
	uint64_t size = phdr->p_filesz < phdr->p_memsz ? phdr->p_filesz : phdr->p_memsz;
	uint64_t stored = load.offset < core->size ? core->size - load.offset : 0;

	/* [vsyscall] lies in the upper half, and ends before it wraps. */
	if (!phdr->p_memsz || load.end <= load.start || (load.start | load.end) & (PAGE_SIZE - 1)) {
		core->is_odd |= phdr->p_memsz != 0;
		return 0;
	}
	core->is_odd |= phdr->p_filesz > phdr->p_memsz;
	core->is_cut |= stored < size;
	load.held = load.start + (stored < size ? stored : size);
	if (!grow(&core->loads, core->loads_count, sizeof(load), LOADS_MAX))
		return -ENOMEM;
	core->loads[core->loads_count++] = load;
	return 0;
}

static int compare_loads(const void *a, const void *b)
{
	const struct vmat_core_load *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static int compare_mappings(const void *a, const void *b)
{
	const struct vmat_core_mapping *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static int compare_threads(const void *a, const void *b)
{
	const struct vmat_core_thread *x = a, *y = b;

	if (x->tid != y->tid)
		return x->tid < y->tid ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

/* Ascending, and of what overlaps or stands twice the first stays. */
static void sort_tables(struct vmat_core_file *core)
{
	size_t kept = 0;

	if (core->loads_count)
		qsort(core->loads, core->loads_count, sizeof(*core->loads), compare_loads);
	for (size_t i = 0; i < core->loads_count; i++) {
		if (kept && core->loads[i].start < core->loads[kept - 1].end)
			core->is_odd = true;
		else
			core->loads[kept++] = core->loads[i];
	}
	core->loads_count = kept;
	kept = 0;
	if (core->mappings_count)
		qsort(core->mappings, core->mappings_count, sizeof(*core->mappings),
		      compare_mappings);
	for (size_t i = 0; i < core->mappings_count; i++) {
		if (kept && core->mappings[i].start < core->mappings[kept - 1].end)
			core->is_odd = true;
		else
			core->mappings[kept++] = core->mappings[i];
	}
	core->mappings_count = kept;
	kept = 0;
	if (core->threads_count)
		qsort(core->threads, core->threads_count, sizeof(*core->threads), compare_threads);
	for (size_t i = 0; i < core->threads_count; i++) {
		if (kept && core->threads[i].tid == core->threads[kept - 1].tid)
			core->is_odd = true;
		else
			core->threads[kept++] = core->threads[i];
	}
	core->threads_count = kept;
}

/* A word of 4 or 8 bytes. */
static uint64_t word_at(const struct vmat_core_file *core, const char *bytes, size_t index)
{
	uint64_t wide;
	uint32_t narrow;

	if (core->word_size == 8) {
		memcpy(&wide, bytes + 8 * index, sizeof(wide));
		return wide;
	}
	memcpy(&narrow, bytes + 4 * index, sizeof(narrow));
	return narrow;
}

/* NT_FILE: count, page size, (start, end, offset in pages) for each, then their names. */
static int take_files(struct vmat_core_file *core, uint64_t offset, uint64_t size)
{
	vmat_autofree char *bytes = NULL;
	uint64_t head = 2 * (uint64_t)core->word_size, entry = 3 * (uint64_t)core->word_size;
	uint64_t count, page_size, at;
	size_t last = 0;
	uint32_t file = 0;
	int err;

	if (core->mappings || size < head || size > FILES_MAX) {
		core->is_odd = true;
		return 0;
	}
	bytes = malloc((size_t)size);
	if (!bytes)
		return -ENOMEM;
	err = vmat_core_file_pread(core, bytes, (size_t)size, offset);
	if (err)
		return err;
	count = word_at(core, bytes, 0);
	page_size = word_at(core, bytes, 1);
	if (count > (size - head) / entry || page_size > (1 << 20)) {
		core->is_odd = true;
		return 0;
	}
	core->mappings = malloc((size_t)count * sizeof(*core->mappings) + 1);
	if (!core->mappings)
		return -ENOMEM;
	at = head + count * entry;
	for (uint64_t i = 0; i < count; i++) {
		const char *end = memchr(bytes + at, '\0', (size_t)(size - at));
		size_t first = 2 + 3 * (size_t)i;
		struct vmat_core_mapping mapping = {
			.start = word_at(core, bytes, first),
			.end = word_at(core, bytes, first + 1),
			.offset = word_at(core, bytes, first + 2) * page_size,
		};

		if (!end) {
			core->is_odd = true;
			break;
		}
		if (!file || strcmp(core->paths.data + last, bytes + at) != 0) {
			last = core->paths.size;
			err = vmat_buffer_add(&core->paths, bytes + at,
					      (size_t)(end - (bytes + at)) + 1);
			if (err)
				return err;
			file++;
		}
		mapping.path = last;
		mapping.file = file;
		at = (uint64_t)(end - bytes) + 1;
		if (mapping.start < mapping.end &&
		    !((mapping.start | mapping.end) & (PAGE_SIZE - 1)))
			core->mappings[core->mappings_count++] = mapping;
		else
			core->is_odd = true;
	}
	return 0;
}

static int take_status(struct vmat_core_file *core, uint64_t offset, uint64_t size)
{
	/* Linux include/linux/elfcore.h, struct elf_prstatus: where pr_pid and pr_reg are. */
	const bool is_wide = core->word_size == 8;
	uint64_t pid_at = is_wide ? 32 : 24, registers_at = is_wide ? 112 : 72;
	struct vmat_core_thread thread = { .order = core->threads_count,
					   .fault_addr = VMAT_UNKNOWN(VMAT_NOT_RECORDED) };
	int32_t tid;
	int err;

	if (size < registers_at) {
		core->is_odd = true;
		return 0;
	}
	err = vmat_core_file_pread(core, &tid, sizeof(tid), offset + pid_at);
	if (err)
		return err;
	if (tid <= 0) {
		core->is_odd = true;
		return 0;
	}
	thread.tid = tid;
	thread.registers =
		size - registers_at >= (is_wide ? 27 * 8 : 17 * 4) ? offset + registers_at : 0;
	if (!grow(&core->threads, core->threads_count, sizeof(thread), THREADS_MAX))
		return -ENOMEM;
	core->threads[core->threads_count++] = thread;
	return 0;
}

/* Signals that tell an address: SIGILL SIGTRAP SIGBUS SIGFPE SIGSEGV (sigaction(2)). */
static bool has_address(int signal, int code)
{
	return (signal == 4 || signal == 5 || signal == 7 || signal == 8 || signal == 11) &&
	       code > 0 && code != 0x80 /* SI_KERNEL: the address was not one of 48 bits */;
}

/* It belongs to the thread before it: the kernel writes one, for the first; gdb one for each. */
static int take_siginfo(struct vmat_core_file *core, uint64_t offset, uint64_t size)
{
	struct vmat_core_thread *thread =
		core->threads_count ? &core->threads[core->threads_count - 1] : NULL;
	char bytes[24];
	int32_t numbers[3];
	int err;

	if (!thread || size < sizeof(bytes))
		return 0;
	err = vmat_core_file_pread(core, bytes, sizeof(bytes), offset);
	if (err)
		return err;
	memcpy(numbers, bytes, sizeof(numbers));
	thread->signal = numbers[0];
	thread->signal_code = numbers[2];
	thread->fault_addr = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	if (has_address(thread->signal, thread->signal_code))
		thread->fault_addr =
			core->word_size == 8 ? word_at(core, bytes, 2) : word_at(core, bytes, 3);
	return 0;
}

/* struct elf_prpsinfo: ids and the name of the process. */
static int take_psinfo(struct vmat_core_file *core, uint64_t offset, uint64_t size)
{
	const bool is_wide = core->word_size == 8;
	/* pr_uid has 4 bytes on x86-64, 2 on x86; then gid, pid, ppid, pgrp, sid, name. */
	size_t uid_at = is_wide ? 16 : 8, pid_at = is_wide ? 24 : 12, name_at = is_wide ? 40 : 28;
	char bytes[56];
	int32_t ids[2];
	uint16_t narrow;
	int err;

	if (size < name_at + 16)
		return 0;
	err = vmat_core_file_pread(core, bytes, name_at + 16, offset);
	if (err)
		return err;
	memcpy(ids, bytes + pid_at, sizeof(ids));
	if (is_wide) {
		memcpy(&core->uid, bytes + uid_at, sizeof(core->uid));
	} else {
		memcpy(&narrow, bytes + uid_at, sizeof(narrow));
		core->uid = narrow;
	}
	core->pid = ids[0];
	core->ppid = ids[1];
	memcpy(core->comm, bytes + name_at, 16);
	core->has_psinfo = true;
	return 0;
}

/* A note of vmatlas dump: a text of /proc, or the runs of pages (dump_file.c). */
static int take_own(struct vmat_core_file *core, uint32_t type, uint64_t offset, uint64_t size)
{
	struct vmat_core_text text = { 0 };
	uint32_t head[2]; /* version; bytes of the name, or of a run */
	int err;

	core->writer = VMAT_CORE_VMATLAS;
	if (size < sizeof(head))
		return 0;
	err = vmat_core_file_pread(core, head, sizeof(head), offset);
	if (err)
		return err;
	offset += sizeof(head);
	size -= sizeof(head);
	if (head[0] != 1)
		return 0; /* of a later version: what it says is not known */
	if (type == VMAT_CORE_NOTE_PAGES && head[1] == 24 && !core->runs) {
		core->runs = offset;
		core->runs_count = size / 24;
	}
	if (type != VMAT_CORE_NOTE_TEXT || head[1] >= sizeof(text.name) || head[1] > size)
		return 0;
	err = vmat_core_file_pread(core, text.name, head[1], offset);
	if (err)
		return err;
	text.offset = offset + head[1];
	text.size = size - head[1];
	if (!grow(&core->texts, core->texts_count, sizeof(text), TEXTS_MAX))
		return -ENOMEM;
	core->texts[core->texts_count++] = text;
	return 0;
}

static int take_auxv(struct vmat_core_file *core, uint64_t offset, uint64_t size)
{
	int err;

	if (core->auxv.size || size > AUXV_MAX)
		return 0;
	err = vmat_buffer_reserve(&core->auxv, (size_t)size);
	if (!err)
		err = vmat_core_file_pread(core, core->auxv.data, (size_t)size, offset);
	core->auxv.size = err ? 0 : (size_t)size;
	return err;
}

static int take_note(struct vmat_core_file *core, const char *owner, uint32_t type, uint64_t offset,
		     uint64_t size)
{
	if (strcmp(owner, "vmatlas") == 0)
		return take_own(core, type, offset, size);
	if (strcmp(owner, "GDB") == 0) {
		core->writer = VMAT_CORE_GDB;
		return 0;
	}
	if (strcmp(owner, "LINUX") == 0) {
		if (type == NT_X86_XSTATE && core->threads_count) {
			core->threads[core->threads_count - 1].extended = offset;
			core->threads[core->threads_count - 1].extended_size = size;
		}
		return 0;
	}
	if (strcmp(owner, "CORE") != 0)
		return 0;
	switch (type) {
	case NT_PRSTATUS:
		return take_status(core, offset, size);
	case NT_PRPSINFO:
		return take_psinfo(core, offset, size);
	case NT_SIGINFO:
		return take_siginfo(core, offset, size);
	case NT_AUXV:
		return take_auxv(core, offset, size);
	case NT_FILE:
		return take_files(core, offset, size);
	default:
		return 0;
	}
}

/* The notes of a segment; each has a length of its own, so what follows a broken one is not found. */
static int read_notes(struct vmat_core_file *core, const Elf64_Phdr *phdr)
{
	uint64_t at = phdr->p_offset, end = at + phdr->p_filesz;

	if (at > ADDR_LIMIT || phdr->p_filesz > ADDR_LIMIT || at > core->size) {
		core->is_cut = true;
		return 0;
	}
	if (end > core->size) {
		end = core->size;
		core->is_cut = true;
	}
	/* The limit is of all segments together: each may name the same notes. */
	for (; end - at >= sizeof(Elf64_Nhdr) && core->notes_left; core->notes_left--) {
		char owner[12] = "";
		uint64_t name_size, size, desc;
		Elf64_Nhdr note; /* the same in files of 32 bits */
		int err = vmat_core_file_pread(core, &note, sizeof(note), at);

		if (err)
			return err;
		at += sizeof(note);
		name_size = ((uint64_t)note.n_namesz + 3) & ~UINT64_C(3);
		size = note.n_descsz;
		if (name_size > end - at || size > end - at - name_size) {
			core->is_odd |= end < core->size;
			break;
		}
		if (note.n_namesz < sizeof(owner))
			err = vmat_core_file_pread(core, owner, note.n_namesz, at);
		desc = at + name_size;
		if (!err)
			err = take_note(core, owner, note.n_type, desc, size);
		if (err)
			return err;
		size = (size + 3) & ~UINT64_C(3);
		at = size > end - desc ? end : desc + size;
	}
	return 0;
}

static int read_segments(struct vmat_core_file *core, const Elf64_Ehdr *header, uint64_t count)
{
	size_t entry = core->word_size == 8 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	core->notes_left = NOTES_MAX;
	for (uint64_t i = 0; i < count && i < LOADS_MAX; i++) {
		uint64_t offset = header->e_phoff + i * header->e_phentsize;
		Elf64_Phdr phdr = { 0 };
		Elf32_Phdr narrow = { 0 };
		int err = vmat_core_file_pread(
			core, core->word_size == 8 ? (void *)&phdr : (void *)&narrow, entry,
			offset);

		if (err == -ENODATA) {
			core->is_cut = true;
			return 0;
		}
		if (!err && core->word_size == 4)
			widen(&phdr, &narrow);
		if (!err && phdr.p_type == PT_LOAD)
			err = add_load(core, &phdr);
		else if (!err && phdr.p_type == PT_NOTE)
			err = read_notes(core, &phdr);
		if (err)
			return err;
	}
	return 0;
}

/* Does some load have a hole? The file system may not tell: then it has none. */
static bool find_holes(const struct vmat_core_file *core)
{
	for (size_t i = 0; i < core->loads_count; i++) {
		const struct vmat_core_load *load = &core->loads[i];
		uint64_t end = load->offset + (load->held - load->start);
		int64_t hole;

		if (load->held == load->start)
			continue;
		hole = vmat_sys_seek_hole(core->fd, load->offset);
		if (hole < 0)
			return false;
		if ((uint64_t)hole < end && (uint64_t)hole < core->size)
			return true;
	}
	return false;
}

static int read_core(struct vmat_core_file *core, const char *path, struct vmat_error *err)
{
	Elf64_Ehdr header;
	struct stat stat;
	uint64_t count;
	int code = vmat_sys_fstat(core->fd, &stat);

	if (!code && !S_ISREG(stat.st_mode))
		return vmat_error_set(err, -ENOEXEC, "%.300s is no regular file", path);
	if (code)
		return vmat_error_set(err, code, "%.300s cannot be read: %s", path,
				      strerrordesc_np(-code));
	core->size = (uint64_t)stat.st_size;
	code = read_header(core, path, &header, err);
	if (code)
		return code;
	core->machine = header.e_machine;
	if (count_headers(core, &header, &count))
		return bad(err, path, "the number of its parts lies beyond its end");
	if (!count || header.e_phoff > ADDR_LIMIT ||
	    header.e_phentsize < (core->word_size == 8 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return bad(err, path, "it lists no parts");
	code = read_segments(core, &header, count);
	if (code == -ENOMEM)
		return vmat_error_set(err, code, "out of memory");
	if (code)
		return bad(err, path, "it cannot be read");
	if (!core->loads_count)
		return bad(err, path, "it holds no memory: it was cut off near its beginning");
	if (core->threads_count)
		core->first_tid = core->threads[0].tid;
	sort_tables(core);
	core->has_holes = find_holes(core);
	return 0;
}

int vmat_core_file_read(struct vmat_core_file *ret, int fd, const char *path,
			struct vmat_error *err)
{
	struct vmat_core_file core = { .fd = fd, .uid = UINT32_MAX };
	int code = read_core(&core, path, err);

	if (code)
		vmat_core_file_deinit(&core);
	else
		*ret = core;
	return code;
}

void vmat_core_file_deinit(struct vmat_core_file *core)
{
	if (core->fd >= 0)
		close(core->fd);
	free(core->loads);
	free(core->mappings);
	free(core->threads);
	free(core->texts);
	vmat_buffer_deinit(&core->paths);
	vmat_buffer_deinit(&core->auxv);
	*core = (struct vmat_core_file){ .fd = -1 };
}

size_t vmat_core_load_find(const struct vmat_core_file *core, uint64_t addr)
{
	size_t low = 0, high = core->loads_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (core->loads[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t vmat_core_mapping_find(const struct vmat_core_file *core, uint64_t addr)
{
	size_t low = 0, high = core->mappings_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (core->mappings[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int vmat_core_registers(const struct vmat_core_file *core, const struct vmat_core_thread *thread,
			struct vmat_registers *ret)
{
	int err;

	if (core->machine != EM_X86_64 && core->machine != EM_386)
		return -EOPNOTSUPP;
	if (!thread->registers)
		return -ENOENT;
	memset(ret, 0, sizeof(*ret));
	ret->raw_size = core->word_size == 8 ? 27 * 8 : 17 * 4;
	err = vmat_core_file_pread(core, ret->raw, ret->raw_size, thread->registers);
	if (err)
		return err;
	ret->extended_size = thread->extended_size < sizeof(ret->extended)
				     ? (size_t)thread->extended_size
				     : sizeof(ret->extended);
	if (vmat_core_file_pread(core, ret->extended, ret->extended_size, thread->extended))
		ret->extended_size = 0;
	return vmat_registers_decode(ret);
}
