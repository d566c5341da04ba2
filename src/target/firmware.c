/* SPDX-License-Identifier: MIT */
/*
 * firmware.c: firmware as a target: see firmware.h.
 *
 * What is read comes from the gdb server; or else from the memory images, the last one first, and what none of them has
 * from the read-only segments of the ELF file, which are flash. A writable segment of the file says how memory began,
 * not what it is now, and is never taken. All else is not known.
 *
 * Of the ELF file only its header and its segments are read here, 32 and 64 bits, in either byte order.
 */
#include "target/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "sys/sys_event.h"
#include "sys/sys_file.h"
#include "target/gdb_remote.h"

enum {
	SEGMENTS_MAX = 64,
	ELF_HEADER = 64,
	EI_CLASS = 4,
	EI_DATA = 5,
	PT_LOAD = 1,
	PF_W = 2,
	/* How much of each read-only segment is compared with the machine's memory. */
	SAMPLES = 16,
	SAMPLE_SIZE = 32,
};

/* Memory from addr on: `size` bytes of a file. */
struct part {
	int fd;
	uint64_t addr;
	uint64_t size;
	uint64_t offset;
};

struct vmat_firmware {
	struct vmat_firmware_info info;
	char *path;
	char *memory;      /* for people */
	const char *place; /* of the gdb server, in `memory`; NULL: none */
	int elf;
	struct part flash[SEGMENTS_MAX]; /* read-only segments */
	size_t flash_count;
	struct part *images;
	size_t images_count;
	struct vmat_gdb *gdb;      /* while it stands */
	bool is_compared;          /* with its ELF file */
	struct vmat_error failure; /* the first one; code 0: none */
};

/* Numbers of an ELF file. */
struct elf {
	bool is_big_endian;
	bool is_64;
};

static uint64_t number(const struct elf *elf, const unsigned char *bytes, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value = value << 8 | bytes[elf->is_big_endian ? i : size - 1 - i];
	return value;
}

static int no_elf(struct vmat_error *err, const char *path, const char *why)
{
	return vmat_error_set(err, -ENOEXEC,
			      "%.300s is no ELF file of firmware: %s. Give the file that was "
			      "linked (.elf, .axf), not a .bin or .hex",
			      path, why);
}

/* One program header: takes a read-only segment down. */
static void add_segment(struct vmat_firmware *firmware, const struct elf *elf,
			const unsigned char *h)
{
	struct part part = {
		.fd = firmware->elf,
		.offset = number(elf, h + (elf->is_64 ? 8 : 4), elf->is_64 ? 8 : 4),
		.addr = number(elf, h + (elf->is_64 ? 16 : 8), elf->is_64 ? 8 : 4),
		.size = number(elf, h + (elf->is_64 ? 32 : 16), elf->is_64 ? 8 : 4),
	};
	uint64_t type = number(elf, h, 4), flags = number(elf, h + (elf->is_64 ? 4 : 24), 4);

	if (type == PT_LOAD && !(flags & PF_W) && part.size &&
	    part.size <= UINT64_MAX - part.addr && part.offset <= INT64_MAX - part.size)
		firmware->flash[firmware->flash_count++] = part;
}

static int read_elf(struct vmat_target *target, struct vmat_error *err)
{
	struct vmat_firmware *firmware = target->firmware;
	unsigned char header[ELF_HEADER] = { 0 }, table[SEGMENTS_MAX * 56];
	struct elf elf;
	uint64_t offset, entry, count;

	if (vmat_sys_pread(firmware->elf, header, sizeof(header), 0) < 52 ||
	    memcmp(header, "\177ELF", 4) != 0)
		return no_elf(err, firmware->path, "it does not begin as one");
	if (header[EI_CLASS] < 1 || header[EI_CLASS] > 2 || header[EI_DATA] < 1 ||
	    header[EI_DATA] > 2)
		return no_elf(err, firmware->path, "it has no word size or byte order");
	elf = (struct elf){ header[EI_DATA] == 2, header[EI_CLASS] == 2 };
	offset = number(&elf, header + (elf.is_64 ? 32 : 28), elf.is_64 ? 8 : 4);
	entry = number(&elf, header + (elf.is_64 ? 54 : 42), 2);
	count = number(&elf, header + (elf.is_64 ? 56 : 44), 2);
	if (!count || count > SEGMENTS_MAX || entry != (elf.is_64 ? 56 : 32))
		return no_elf(err, firmware->path, "it has no segments, or none that fit");
	if (offset > INT64_MAX ||
	    vmat_sys_pread(firmware->elf, table, count * entry, offset) != (ssize_t)(count * entry))
		return no_elf(err, firmware->path, "its segments lie behind its end");
	for (size_t i = 0; i < count; i++)
		add_segment(firmware, &elf, table + i * entry);
	firmware->info.is_big_endian = elf.is_big_endian;
	target->process.word_size = elf.is_64 ? 8 : 4;
	return 0;
}

/* "FILE@ADDR"; the address is hexadecimal with 0x before it, else decimal. */
static int open_image(struct part *ret, const char *spec, struct vmat_error *err)
{
	const char *at = strrchr(spec, '@'), *end = spec + strlen(spec), *rest;
	vmat_autofree char *path = NULL;
	struct stat stat;
	int code;

	if (!at || at == spec || !at[1])
		rest = NULL;
	else if (strncmp(at + 1, "0x", 2) == 0 && at[3] && end - (at + 3) <= 16)
		rest = vmat_text_hex(at + 3, end, &ret->addr);
	else
		rest = vmat_text_decimal(at + 1, end, &ret->addr);
	if (!rest || *rest)
		return vmat_error_set(err, -EINVAL,
				      "'%.200s' is no memory image: give FILE@ADDR, as in "
				      "ram.bin@0x20000000",
				      spec);
	path = strndup(spec, (size_t)(at - spec));
	if (!path)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	ret->fd = vmat_sys_open_at(AT_FDCWD, path, 0);
	code = ret->fd < 0 ? ret->fd : vmat_sys_fstat(ret->fd, &stat);
	if (code)
		return vmat_error_set(err, code, "%.300s cannot be opened: %s", path,
				      strerrordesc_np(-code));
	if (!S_ISREG(stat.st_mode))
		return vmat_error_set(err, -EBADMSG, "%.300s is no regular file", path);
	ret->size = (uint64_t)stat.st_size;
	ret->offset = 0;
	if (ret->size > UINT64_MAX - ret->addr)
		return vmat_error_set(err, -EINVAL,
				      "%.300s does not fit at 0x%llx: it would go beyond the last "
				      "address",
				      path, (unsigned long long)ret->addr);
	return 0;
}

static int open_images(struct vmat_firmware *firmware, const struct vmat_target_options *options,
		       struct vmat_error *err)
{
	int code = 0;

	firmware->images = calloc(options->ram_count, sizeof(*firmware->images));
	if (!firmware->images)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < options->ram_count && !code; i++) {
		firmware->images[i].fd = -1;
		firmware->images_count = i + 1;
		code = open_image(&firmware->images[i], options->ram[i], err);
	}
	return code;
}

static void fill_process(struct vmat_target *target)
{
	struct vmat_firmware *firmware = target->firmware;
	const char *slash = strrchr(firmware->path, '/');
	struct vmat_process *process = &target->process;

	snprintf(process->comm, sizeof(process->comm), "%s", slash ? slash + 1 : firmware->path);
	process->uid = UINT32_MAX;
	process->state = '?';
	process->threads = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	process->exe = strdup(firmware->path);
	firmware->info.path = firmware->path;
	firmware->info.memory = firmware->memory;
	firmware->info.is_from_server = firmware->place != NULL;
	firmware->info.halted_ns = VMAT_UNKNOWN(VMAT_NOT_ASKED);
	process->firmware = &firmware->info;
}

static char *describe(const struct vmat_target_options *options)
{
	static const char server[] = "gdb server ";
	size_t room = 1;
	char *text;

	for (size_t i = 0; i < options->ram_count; i++)
		room += strlen(options->ram[i]) + 2;
	if (options->gdb)
		room += strlen(server) + strlen(options->gdb);
	text = calloc(1, room);
	if (text && options->gdb)
		snprintf(text, room, "%s%s", server, options->gdb);
	for (size_t i = 0; text && i < options->ram_count; i++) {
		size_t used = strlen(text);

		snprintf(text + used, room - used, "%s%s", i ? ", " : "", options->ram[i]);
	}
	return text;
}

int vmat_firmware_open(struct vmat_target *target, const char *path,
		       const struct vmat_target_options *options, struct vmat_error *err)
{
	struct vmat_firmware *firmware = calloc(1, sizeof(*firmware));
	int code = 0;

	if (!firmware)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	target->firmware = firmware;
	firmware->path = strdup(path);
	firmware->memory = describe(options);
	firmware->elf = vmat_sys_open_at(AT_FDCWD, path, 0);
	if (!firmware->path || !firmware->memory)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	if (firmware->elf < 0)
		return vmat_error_set(err, firmware->elf, "%.300s cannot be opened: %s", path,
				      strerrordesc_np(-firmware->elf));
	code = read_elf(target, err);
	if (!code && options->gdb) {
		firmware->place =
			firmware->memory + strlen(firmware->memory) - strlen(options->gdb);
		code = vmat_gdb_check_place(options->gdb, err);
	} else if (!code) {
		code = open_images(firmware, options, err);
	}
	if (code)
		return code;
	fill_process(target);
	return target->process.exe ? 0 : vmat_error_set(err, -ENOMEM, "out of memory");
}

static ssize_t read_part(const struct part *part, uint64_t addr, void *buffer, size_t size)
{
	uint64_t left = part->size - (addr - part->addr);

	return vmat_sys_pread(part->fd, buffer, size < left ? size : (size_t)left,
			      part->offset + (addr - part->addr));
}

/* The parts of files in the order in which they count: the last image first, and flash last. NULL: no more. */
static const struct part *part_of(const struct vmat_firmware *firmware, size_t i)
{
	if (i < firmware->images_count)
		return &firmware->images[firmware->images_count - 1 - i];
	i -= firmware->images_count;
	return i < firmware->flash_count ? &firmware->flash[i] : NULL;
}

/* The bytes of one part, up to where one that counts more begins. */
static ssize_t read_one(const struct vmat_firmware *firmware, uint64_t addr, void *buffer,
			size_t size)
{
	const struct part *part;

	for (size_t i = 0; (part = part_of(firmware, i)); i++) {
		if (addr >= part->addr && addr - part->addr < part->size)
			return read_part(part, addr, buffer, size);
		if (part->addr > addr && part->addr - addr < size)
			size = (size_t)(part->addr - addr);
	}
	return 0;
}

static ssize_t read_files(const struct vmat_firmware *firmware, uint64_t addr, void *buffer,
			  size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = read_one(firmware, addr + done, (char *)buffer + done, size - done);

		if (got < 0)
			return got;
		/* Nobody has the next byte; or the file has become shorter. */
		if (!got)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

/* Once it has failed it is not tried again: each try may halt the machine. */
static int fail(struct vmat_firmware *firmware, const struct vmat_error *why)
{
	if (!firmware->failure.code)
		firmware->failure = *why;
	return firmware->failure.code;
}

static ssize_t read_memory(struct vmat_firmware *firmware, uint64_t addr, void *buffer, size_t size)
{
	struct vmat_error why = { 0 };
	ssize_t got;

	if (!firmware->place) {
		const struct part *images = firmware->images;

		/* For comparing: what only the file has is no evidence. */
		for (size_t i = firmware->images_count; i-- > 0;)
			if (addr >= images[i].addr && addr - images[i].addr < images[i].size)
				return read_part(&images[i], addr, buffer, size);
		return 0;
	}
	got = vmat_gdb_read(firmware->gdb, addr, buffer, size, &why);
	return got < 0 ? fail(firmware, &why) : got;
}

/* Pieces of a segment, from its first byte to its last, are compared with what the machine has there. */
static int check_segment(struct vmat_firmware *firmware, const struct part *segment)
{
	const uint64_t most =
		segment->size - (segment->size < SAMPLE_SIZE ? segment->size : SAMPLE_SIZE);
	unsigned char wanted[SAMPLE_SIZE], found[SAMPLE_SIZE];

	for (unsigned i = most ? 0 : SAMPLES - 1; i < SAMPLES; i++) {
		/* So that no product is too large. */
		uint64_t at = most / (SAMPLES - 1) * i;
		ssize_t size, got;

		at = i == SAMPLES - 1 ? most : at;
		size = read_part(segment, segment->addr + at, wanted, SAMPLE_SIZE);
		if (size <= 0)
			return 0;
		got = read_memory(firmware, segment->addr + at, found, (size_t)size);
		if (got < 0)
			return (int)got;
		for (ssize_t k = 0; k < got; k++) {
			struct vmat_error why = { 0 };
			unsigned long long where = segment->addr + at + (uint64_t)k;

			if (found[k] == wanted[k])
				continue;
			vmat_error_set(
				&why, -EBADMSG,
				"the memory (%.150s) is not that of this firmware: at 0x%llx "
				"it holds 0x%02x, and %.150s has 0x%02x there. Load this "
				"firmware, or give the ELF file of the one that runs",
				firmware->memory, where, found[k], firmware->path, wanted[k]);
			return fail(firmware, &why);
		}
		firmware->info.checked_bytes += (uint64_t)got;
	}
	return 0;
}

static int firmware_release(struct vmat_target *target, struct vmat_error *err)
{
	struct vmat_firmware *firmware = target->firmware;
	struct vmat_error why = { 0 };
	uint64_t halted_ns;

	if (firmware->gdb) {
		if (vmat_gdb_close(firmware->gdb, &halted_ns, &why))
			fail(firmware, &why);
		firmware->gdb = NULL;
		/* Several times are one sum. */
		if (vmat_is_known(firmware->info.halted_ns))
			halted_ns += firmware->info.halted_ns;
		firmware->info.halted_ns = halted_ns;
	}
	if (firmware->failure.code && err)
		*err = firmware->failure;
	return firmware->failure.code;
}

static int firmware_hold(struct vmat_target *target, struct vmat_error *err)
{
	struct vmat_firmware *firmware = target->firmware;
	struct vmat_error why = { 0 };
	int code = firmware->failure.code;

	if (!code && firmware->place && !firmware->gdb) {
		code = vmat_gdb_open(&firmware->gdb, firmware->place, &why);
		if (code)
			fail(firmware, &why);
		else
			firmware->info.was_halted = vmat_gdb_was_halted(firmware->gdb);
	}
	for (size_t i = 0; !firmware->is_compared && i < firmware->flash_count && !code; i++)
		code = check_segment(firmware, &firmware->flash[i]);
	firmware->is_compared = true;
	if (code)
		firmware_release(target, err);
	return code;
}

static ssize_t firmware_read(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	struct vmat_firmware *firmware = target->firmware;
	int code = firmware->failure.code;

	if (!code && (!firmware->is_compared || (firmware->place && !firmware->gdb)))
		code = firmware_hold(target, NULL);
	if (code)
		return code;
	if (size > UINT64_MAX - addr)
		size = (size_t)(UINT64_MAX - addr);
	return firmware->place ? read_memory(firmware, addr, buffer, size)
			       : read_files(firmware, addr, buffer, size);
}

static int firmware_read_pieces(struct vmat_target *target, struct vmat_piece *pieces, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		ssize_t got =
			firmware_read(target, pieces[i].addr, pieces[i].buffer, pieces[i].size);

		if (got < 0)
			return (int)got;
		pieces[i].got = got == (ssize_t)pieces[i].size ? pieces[i].size : 0;
	}
	return 0;
}

static int firmware_check(struct vmat_target *target, struct vmat_error *err)
{
	if (target->firmware->failure.code && err)
		*err = target->firmware->failure;
	return target->firmware->failure.code;
}

static int firmware_open_program(struct vmat_target *target)
{
	return vmat_sys_open_at(AT_FDCWD, target->firmware->path, 0);
}

static void firmware_deinit(struct vmat_target *target)
{
	struct vmat_firmware *firmware = target->firmware;

	if (!firmware)
		return;
	firmware_release(target, NULL);
	for (size_t i = 0; i < firmware->images_count; i++)
		vmat_sys_close(firmware->images[i].fd);
	vmat_sys_close(firmware->elf);
	free(firmware->images);
	free(firmware->memory);
	free(firmware->path);
	free(firmware);
}

/*
 * It has no regions, pages, threads or texts of proc(5).
 */

static int no_text(struct vmat_target *target, const char *name)
{
	(void)target, (void)name;
	return -ENOENT;
}

static int no_link(struct vmat_target *target, const char *name, struct vmat_buffer *buffer)
{
	(void)target, (void)name, (void)buffer;
	return -ENOENT;
}

static int no_threads(struct vmat_target *target, pid_t **ret, size_t *ret_count)
{
	(void)target, (void)ret, (void)ret_count;
	return -ENOENT;
}

static int no_scan(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
		   struct vmat_page_run *runs, size_t count, uint32_t *known)
{
	(void)target, (void)addr, (void)end, (void)want, (void)runs, (void)count, (void)known;
	return -ENOENT;
}

static int no_pagemap(struct vmat_target *target, uint64_t addr, uint64_t *entries, size_t count)
{
	(void)target, (void)addr, (void)entries, (void)count;
	return -ENOENT;
}

static int no_file(struct vmat_target *target, const char *path, uint32_t dev_major,
		   uint32_t dev_minor, uint64_t inode)
{
	(void)target, (void)path, (void)dev_major, (void)dev_minor, (void)inode;
	return -ENOENT;
}

const struct vmat_target_ops vmat_firmware_ops = {
	.is_live = false,
	.open_text = no_text,
	.link = no_link,
	.threads = no_threads,
	.scan = no_scan,
	.pagemap = no_pagemap,
	.read = firmware_read,
	.read_pieces = firmware_read_pieces,
	.open_file = no_file,
	.check = firmware_check,
	.open_program = firmware_open_program,
	.hold = firmware_hold,
	.release = firmware_release,
	.deinit = firmware_deinit,
};
