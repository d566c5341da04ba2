/* SPDX-License-Identifier: MIT */
/* A core made by hand: what is read, scanned and told of it is what was put into it, and nothing of what was not. */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "target/target_source.h"

enum { PAGE = 4096, NOTES = 1024, DATA = 2 * PAGE };

/*
 * Loads: file text that is left out; three pages of memory of which the middle one is a hole; a guard. NT_FILE names the
 * text, and a page above it that no load describes.
 */
static const Elf64_Phdr loads[] = {
	{ .p_type = PT_LOAD,
	  .p_flags = PF_R | PF_X,
	  .p_offset = DATA,
	  .p_vaddr = 0x10000,
	  .p_memsz = PAGE },
	{ .p_type = PT_LOAD,
	  .p_flags = PF_R | PF_W,
	  .p_offset = DATA,
	  .p_vaddr = 0x30000,
	  .p_filesz = 3 * PAGE,
	  .p_memsz = 3 * PAGE },
	{ .p_type = PT_LOAD, .p_offset = DATA + 3 * PAGE, .p_vaddr = 0x40000, .p_memsz = PAGE },
};

enum { LOADS = sizeof(loads) / sizeof(loads[0]) };

struct core {
	int fd;
	char notes[NOTES];
	size_t size;
};

static void put(struct core *core, size_t offset, const void *data, size_t size)
{
	assert_int_equal(pwrite(core->fd, data, size, (off_t)offset), (ssize_t)size);
}

static void add_note(struct core *core, uint32_t type, const void *data, size_t size)
{
	Elf64_Nhdr note = { .n_namesz = 5, .n_descsz = (uint32_t)size, .n_type = type };

	memcpy(core->notes + core->size, &note, sizeof(note));
	memcpy(core->notes + core->size + sizeof(note), "CORE\0\0\0", 8);
	memcpy(core->notes + core->size + sizeof(note) + 8, data, size);
	core->size += sizeof(note) + 8 + ((size + 3) & ~(size_t)3);
	assert_true(core->size <= NOTES);
}

/* Linux include/linux/elfcore.h: pr_pid, and rsp among pr_reg. */
static void add_thread(struct core *core, int32_t tid, uint64_t sp)
{
	char status[336] = { 0 };

	memcpy(status + 32, &tid, sizeof(tid));
	memcpy(status + 112 + 19 * sizeof(sp), &sp, sizeof(sp));
	add_note(core, NT_PRSTATUS, status, sizeof(status));
}

static void add_signal(struct core *core, int32_t number, int32_t code, uint64_t addr)
{
	int32_t numbers[3] = { number, 0, code };
	char info[32] = { 0 };

	memcpy(info, numbers, sizeof(numbers));
	memcpy(info + 16, &addr, sizeof(addr));
	add_note(core, NT_SIGINFO, info, sizeof(info));
}

static void add_files(struct core *core)
{
	static const uint64_t numbers[] = { 2, PAGE, 0x10000, 0x11000, 1, 0x11000, 0x12000, 2 };
	static const char names[] = "/bin/program\0/bin/program";
	char note[sizeof(numbers) + sizeof(names)];

	memcpy(note, numbers, sizeof(numbers));
	memcpy(note + sizeof(numbers), names, sizeof(names));
	add_note(core, NT_FILE, note, sizeof(note));
}

static struct vmat_target *open_core(struct core *core)
{
	Elf64_Ehdr header = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
					   ELFDATA2LSB, EV_CURRENT },
			      .e_type = ET_CORE,
			      .e_machine = EM_X86_64,
			      .e_phoff = sizeof(header),
			      .e_phentsize = sizeof(Elf64_Phdr),
			      .e_phnum = LOADS + 1 };
	Elf64_Phdr note = { .p_type = PT_NOTE, .p_offset = PAGE, .p_filesz = core->size };
	struct vmat_target *target = NULL;
	struct vmat_error err;
	char path[40];

	put(core, 0, &header, sizeof(header));
	put(core, sizeof(header), &note, sizeof(note));
	put(core, sizeof(header) + sizeof(note), loads, sizeof(loads));
	put(core, PAGE, core->notes, core->size);
	put(core, DATA, "first", 5);
	put(core, DATA + 2 * PAGE, "third", 5);
	assert_int_equal(ftruncate(core->fd, DATA + 3 * PAGE), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", core->fd);
	assert_int_equal(vmat_target_open(&target, path, NULL, &err), 0);
	return target;
}

static void init(struct core *core)
{
	*core = (struct core){ .fd = memfd_create("core", MFD_CLOEXEC) };
	assert_true(core->fd >= 0);
	add_thread(core, 78, 0x30f00);
	add_signal(core, 11, 1, 0x2ff8);
	add_thread(core, 77, 0x31f00);
	add_files(core);
}

static void test_process(void **state)
{
	struct core core;
	struct vmat_target *target;
	const struct vmat_process *process;
	struct vmat_buffer text = { 0 };
	pid_t *tids;
	size_t count;

	(void)state;
	init(&core);
	target = open_core(&core);
	process = vmat_target_process(target);
	assert_string_equal(process->core->writer, "the kernel");
	assert_int_equal(process->core->signal, 11);
	assert_int_equal(process->core->signal_tid, 78); /* the first in the file, not the lowest */
	assert_int_equal(process->core->fault_addr, 0x2ff8);
	assert_string_equal(process->core->lacks, "");
	assert_int_equal(vmat_source_threads(target, &tids, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(tids[0], 77);
	free(tids);
	assert_int_equal(vmat_source_text(target, "task/78/syscall", &text), 0);
	assert_string_equal(text.data, "-1 0x30f00 0x0\n");
	assert_int_equal(vmat_source_text(target, "task/79/syscall", &text), -ENOENT);
	assert_int_equal(vmat_source_text(target, "smaps", &text), -ENOENT);
	assert_int_equal(vmat_source_text(target, "maps", &text), 0);
	assert_non_null(strstr(text.data, "00010000-00011000 r-x? 00001000 "));
	assert_non_null(strstr(text.data, "00011000-00012000 ???? 00002000 "));
	assert_non_null(strstr(text.data, "00030000-00033000 rw-? 00000000 00:00 0 \n"));
	assert_non_null(strstr(text.data, "00040000-00041000 ---? 00000000 00:00 0 \n"));
	vmat_buffer_deinit(&text);
	vmat_target_close(target);
	close(core.fd);
}

static void test_memory(void **state)
{
	struct core core;
	struct vmat_target *target;
	char bytes[3 * PAGE];

	(void)state;
	init(&core);
	target = open_core(&core);
	assert_int_equal(vmat_source_read(target, 0x30000, bytes, sizeof(bytes)), PAGE);
	assert_memory_equal(bytes, "first", 6);
	assert_int_equal(vmat_source_read(target, 0x31000, bytes, PAGE), 0);
	assert_int_equal(vmat_source_read(target, 0x32000, bytes, sizeof(bytes)), PAGE);
	assert_memory_equal(bytes, "third", 6);
	/* Left out; and of a file that no build id vouches for. */
	assert_int_equal(vmat_source_read(target, 0x40000, bytes, PAGE), 0);
	assert_int_equal(vmat_source_read(target, 0x10000, bytes, PAGE), 0);
	assert_int_equal(vmat_source_open_file(target, "/bin/program", 0, 0, 0), -ESTALE);
	assert_int_equal(vmat_source_open_file(target, "/bin/sh", 0, 0, 0), -ENOENT);
	vmat_target_close(target);
	close(core.fd);
}

static void test_pages(void **state)
{
	struct core core;
	struct vmat_target *target;
	struct vmat_page_run runs[8];
	uint64_t at = 0;
	uint32_t known;

	(void)state;
	init(&core);
	target = open_core(&core);
	assert_int_equal(vmat_source_scan(target, &at, 0x50000, UINT32_MAX, runs, 8, &known), 4);
	assert_int_equal(at, 0x50000);
	assert_int_equal(known, VMAT_PAGE_PRESENT | VMAT_PAGE_LEFT_OUT | VMAT_PAGE_DUMPED);
	assert_int_equal(runs[0].start, 0x10000);
	assert_int_equal(runs[0].end, 0x12000);
	assert_int_equal(runs[0].flags, VMAT_PAGE_LEFT_OUT);
	assert_int_equal(runs[1].start, 0x30000);
	assert_int_equal(runs[1].end, 0x31000);
	assert_int_equal(runs[1].flags, VMAT_PAGE_PRESENT | VMAT_PAGE_DUMPED);
	assert_int_equal(runs[2].start, 0x32000);
	assert_int_equal(runs[3].start, 0x40000);
	assert_int_equal(runs[3].flags, VMAT_PAGE_LEFT_OUT);
	/* One at a time, and only what is wanted. */
	at = 0;
	assert_int_equal(vmat_source_scan(target, &at, 0x50000, VMAT_PAGE_PRESENT, runs, 1, &known),
			 1);
	assert_int_equal(runs[0].start, 0x30000);
	assert_int_equal(runs[0].flags, VMAT_PAGE_PRESENT);
	assert_int_equal(vmat_source_scan(target, &at, 0x50000, VMAT_PAGE_PRESENT, runs, 1, &known),
			 1);
	assert_int_equal(runs[0].start, 0x32000);
	vmat_target_close(target);
	close(core.fd);
}

/* The same file without its hole: then all of it looks present, and that is known of nothing. */
static void test_filled(void **state)
{
	static const char zeroes[PAGE];
	struct core core;
	struct vmat_target *target;
	struct vmat_page_run run;
	uint64_t at = 0x30000;
	uint32_t known;

	(void)state;
	init(&core);
	put(&core, DATA + PAGE, zeroes, sizeof(zeroes));
	target = open_core(&core);
	assert_int_equal(vmat_source_scan(target, &at, 0x33000, UINT32_MAX, &run, 1, &known), 1);
	assert_int_equal(run.end, 0x33000);
	assert_int_equal(known, VMAT_PAGE_LEFT_OUT | VMAT_PAGE_DUMPED);
	vmat_target_close(target);
	close(core.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_filled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
