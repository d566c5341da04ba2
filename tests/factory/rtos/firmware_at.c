/* SPDX-License-Identifier: MIT */
/*
 * firmware_at: reads memory of firmware as vmatlas does, and prints it, for tests/live/rtos_gdb.py.
 *
 * usage: firmware_at gdb HOST:PORT ELF [TIMES] <RANGES
 *        firmware_at ram FILE@ADDR,... ELF [TIMES] <RANGES
 *
 * A line of input is ADDR SIZE, hexadecimal. For each a line: how many bytes were read, or -errno, and the bytes. Then what is known of
 * the target. TIMES: as often, each time with a connection of its own; printed is the last. Exit status: that of the command.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/target.h>

#include "target/target_source.h"

enum { RANGES = 64, IMAGES = 8, SIZE_MAX_READ = 1 << 16 };

static struct {
	uint64_t addr;
	size_t size;
} ranges[RANGES];

static size_t ranges_count;

static int exit_of(int code)
{
	switch (-code) {
	case 0:
		return 0;
	case EINVAL:
		return 2;
	case ESRCH:
		return 3;
	case ETIMEDOUT:
		return 4;
	case EPROTO:
	case EBADMSG:
	case ENOENT:
	case ENOEXEC:
		return 6;
	default:
		return 70;
	}
}

static void show(struct vmat_target *target, uint64_t addr, size_t size)
{
	static unsigned char bytes[SIZE_MAX_READ];
	ssize_t got = vmat_source_read(target, addr, bytes, size);

	printf("%zd ", got);
	for (ssize_t i = 0; i < got; i++)
		printf("%02x", bytes[i]);
	puts("");
}

static int read_once(const char *elf, const struct vmat_target_options *options, bool is_last)
{
	const struct vmat_firmware_info *info;
	struct vmat_target *target;
	struct vmat_error err = { 0 };
	int code = vmat_target_open(&target, elf, options, &err), closing;

	if (code) {
		fprintf(stderr, "%s\n", err.text);
		return code;
	}
	code = vmat_target_hold(target, &err);
	for (size_t i = 0; i < ranges_count && !code; i++) {
		if (is_last)
			show(target, ranges[i].addr, ranges[i].size);
		else
			code = vmat_source_read(target, ranges[i].addr, &closing, 4) < 0 ? -EIO : 0;
	}
	closing = vmat_target_release(target, &err);
	code = code ? code : closing;
	if (!code)
		code = vmat_target_check(target, &err);
	if (code)
		fprintf(stderr, "%s\n", err.text);
	info = vmat_target_process(target)->firmware;
	if (!code && is_last)
		printf("halted_us %lld was_halted %d checked %llu big %d\n",
		       vmat_is_known(info->halted_ns) ? (long long)(info->halted_ns / 1000) : -1LL,
		       info->was_halted, (unsigned long long)info->checked_bytes,
		       info->is_big_endian);
	vmat_target_close(target);
	return code;
}

int main(int argc, char **argv)
{
	struct vmat_target_options options = { .size = sizeof(options) };
	const char *images[IMAGES];
	unsigned long times = argc > 4 ? strtoul(argv[4], NULL, 10) : 1;
	char line[100];
	int code = 0;

	if (argc < 4)
		return 2;
	if (strcmp(argv[1], "gdb") == 0) {
		options.gdb = argv[2];
	} else {
		char *rest = argv[2];

		options.ram = images;
		while (options.ram_count < IMAGES && rest)
			images[options.ram_count++] = strsep(&rest, ",");
	}
	while (ranges_count < RANGES && fgets(line, sizeof(line), stdin)) {
		char *end;

		ranges[ranges_count].addr = strtoull(line, &end, 16);
		ranges[ranges_count].size = strtoul(end, NULL, 16);
		if (ranges[ranges_count].size <= SIZE_MAX_READ)
			ranges_count++;
	}
	for (unsigned long i = 0; i < times && !code; i++)
		code = read_once(argv[3], &options, i + 1 == times);
	return exit_of(code);
}
