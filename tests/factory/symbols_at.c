/* SPDX-License-Identifier: MIT */
/*
 * symbols_at: what src/symbols says of addresses of a file, for tests that compare it with nm.
 *
 * usage: symbols_at FILE [DEBUG-FILE] < addresses in hexadecimal, one a line
 *
 * Prints "ADDR BEGIN SIZE near|in SECTION SOURCE NAME" for each, "-" for what is not known. With a debug file, the
 * build id of the first must be that of the second. Exit status 1 and a reason when nothing is known.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <vmatlas/elf.h>
#include <vmatlas/symbols.h>

enum { PLACES_MAX = 65536 };

static struct vmat_place places[PLACES_MAX];

static void print(const struct vmat_place *place)
{
	const bool is_known = vmat_is_known(place->begin);

	printf("%" PRIx64 " ", place->addr);
	if (is_known)
		printf("%" PRIx64 " %" PRIu64 " %s ", place->begin, place->size,
		       place->is_near ? "near" : "in");
	else
		printf("- - - ");
	printf("%s %s %s\n", place->section[0] ? place->section : "-",
	       place->source[0] ? place->source : "-", is_known ? place->name : "-");
}

int main(int argc, char **argv)
{
	struct vmat_symbol_file file = { .fd = -1, .debug_fd = -1 };
	struct vmat_error err = { 0 };
	struct vmat_elf elf;
	char line[64];
	size_t count = 0;

	if (argc < 2)
		return 2;
	file.fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (argc > 2) {
		file.debug_fd = open(argv[2], O_RDONLY | O_CLOEXEC);
		if (vmat_elf_read(&elf, vmat_elf_read_fd, &file.fd, NULL) == 0) {
			file.build_id = elf.build_id;
			file.build_id_size = elf.build_id_size;
		}
	}
	while (count < PLACES_MAX && fgets(line, sizeof(line), stdin))
		places[count++] = (struct vmat_place){ .addr = strtoull(line, NULL, 16),
						       .wants_source = true };
	if (vmat_symbols_find(&file, places, count, &err) < 0) {
		printf("%s\n", err.text);
		return 1;
	}
	for (size_t i = 0; i < count; i++)
		print(&places[i]);
	return 0;
}
