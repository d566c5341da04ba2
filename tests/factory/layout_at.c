/* SPDX-License-Identifier: MIT */
/*
 * layout_at: what src/symbols says of names in a file, for tests that compare it with the compiler.
 *
 * usage: layout_at FILE PATH...
 *
 * Prints "symbols|- types|- big|little WORD", then a line for each path: "PATH KIND ADDR SYMBOL_SIZE OFFSET SIZE COUNT HOLDER
 * TARGET signed|unsigned array|one", "-" for what is not known. Exit status 1 and a reason when nothing is known.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include <vmatlas/layout.h>

enum { DATA_MAX = 256 };

static struct vmat_datum data[DATA_MAX];

static void print_number(uint64_t number)
{
	if (vmat_is_known(number))
		printf("%" PRIu64 " ", number);
	else
		printf("- ");
}

static void print(const struct vmat_datum *datum)
{
	static const char *const kinds[] = { "untyped", "integer", "pointer", "struct", "other" };

	printf("%s %s ", datum->path, kinds[datum->kind]);
	print_number(datum->addr);
	print_number(datum->symbol_size);
	print_number(datum->offset);
	print_number(datum->size);
	print_number(datum->count);
	print_number(datum->holder_size);
	print_number(datum->target_size);
	printf("%s %s\n", datum->is_signed ? "signed" : "unsigned",
	       datum->is_array ? "array" : "one");
}

int main(int argc, char **argv)
{
	struct vmat_symbol_file file = { .debug_fd = -1 };
	struct vmat_program program;
	struct vmat_error err = { 0 };
	size_t count = 0;

	if (argc < 3)
		return 2;
	file.fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	for (int i = 2; i < argc && count < DATA_MAX; i++, count++)
		snprintf(data[count].path, sizeof(data[count].path), "%s", argv[i]);
	if (vmat_layout_find(&file, &program, data, count, &err) < 0) {
		printf("%s\n", err.text);
		return 1;
	}
	printf("%s %s %s %u\n", program.has_symbols ? "symbols" : "-",
	       program.has_types ? "types" : "-", program.is_big_endian ? "big" : "little",
	       program.word_size);
	for (size_t i = 0; i < count; i++)
		print(&data[i]);
	return 0;
}
