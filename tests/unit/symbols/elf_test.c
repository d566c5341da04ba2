/* SPDX-License-Identifier: MIT */
/*
 * The ELF reader against readelf, over real files of this machine and of this build: 64 and 32 bits,
 * programs, libraries, static ones. Then against files that are broken on purpose, and against this
 * program's own memory, where the loader has moved the pointers of PT_DYNAMIC.
 */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmatlas/elf.h>

/* clang-format off: it needs the types of the headers above */
#include <cmocka.h>

/* clang-format on */

enum { LINE_SIZE = 4096 };

static const char libc_path[] = "/lib/x86_64-linux-gnu/libc.so.6";

/* Files to compare; those of the build folder begin with "tests/". Absent ones are passed over. */
static const char *const files[] = {
	"/bin/true",
	"/usr/bin/python3",
	libc_path,
	"/lib64/ld-linux-x86-64.so.2",
	"/lib32/ld-linux.so.2",
	"/lib32/libc.so.6",
	"tests/factory/factory",
	"tests/factory/factory-static",
	"tests/factory/factory-32",
	"tests/factory/factory-musl",
};

static const char *path_of(const char *file)
{
	static char path[PATH_MAX];
	const char *build = getenv("BUILD");

	if (file[0] == '/')
		return file;
	snprintf(path, sizeof(path), "%s/%s", build ? build : "build", file);
	return path;
}

static FILE *readelf(const char *options, const char *path)
{
	char command[PATH_MAX + 64];
	FILE *pipe;

	snprintf(command, sizeof(command), "LC_ALL=C readelf -W %s '%s' 2>/dev/null", options,
		 path);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	return pipe;
}

/* Opens and reads a file of the list. False when this machine does not have it. */
static bool open_elf(const char *file, int *fd, struct vmat_elf *elf)
{
	struct vmat_error err = { 0 };

	*fd = open(path_of(file), O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return false;
	if (vmat_elf_read(elf, vmat_elf_read_fd, fd, &err) != 0)
		fail_msg("%s: %s", file, err.text);
	return true;
}

static bool parse_segment(const char *line, struct vmat_segment *ret)
{
	unsigned long offset, addr, file_size, mem_size, align;
	char type[32], flags[4];

	if (sscanf(line, " %31s 0x%lx 0x%lx 0x%*x 0x%lx 0x%lx %3c 0x%lx", type, &offset, &addr,
		   &file_size, &mem_size, flags, &align) != 7)
		return false;
	if (strcmp(type, "LOAD") == 0)
		ret->type = VMAT_SEGMENT_LOAD;
	else if (strcmp(type, "GNU_RELRO") == 0)
		ret->type = VMAT_SEGMENT_RELRO;
	else if (strcmp(type, "TLS") == 0)
		ret->type = VMAT_SEGMENT_TLS;
	else
		return false;
	ret->offset = offset;
	ret->addr = addr;
	ret->file_size = file_size;
	ret->mem_size = mem_size;
	ret->align = align;
	ret->prot = (uint8_t)((flags[0] == 'R' ? PF_R : 0) | (flags[1] == 'W' ? PF_W : 0) |
			      (flags[2] == 'E' ? PF_X : 0));
	return true;
}

static void test_segments(void **state)
{
	size_t compared = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char line[LINE_SIZE];
		struct vmat_elf elf;
		size_t count = 0;
		FILE *pipe;
		int fd;

		if (!open_elf(files[i], &fd, &elf))
			continue;
		pipe = readelf("-l", path_of(files[i]));
		while (fgets(line, sizeof(line), pipe)) {
			struct vmat_segment want = { 0 };

			if (!parse_segment(line, &want))
				continue;
			assert_true(count < elf.segments_count);
			assert_int_equal(elf.segments[count].type, want.type);
			assert_int_equal(elf.segments[count].prot, want.prot);
			assert_int_equal(elf.segments[count].offset, want.offset);
			assert_int_equal(elf.segments[count].addr, want.addr);
			assert_int_equal(elf.segments[count].file_size, want.file_size);
			assert_int_equal(elf.segments[count].mem_size, want.mem_size);
			assert_int_equal(elf.segments[count].align, want.align);
			count++;
		}
		pclose(pipe);
		close(fd);
		assert_true(count > 1);
		assert_int_equal(count, elf.segments_count);
		compared++;
	}
	assert_true(compared >= 5);
}

/* A fact of one line of readelf's output: the text behind `key`, up to `stop` or the end of the line. */
static bool find_line(const char *options, const char *path, const char *key, char stop, char *ret)
{
	FILE *pipe = readelf(options, path);
	char line[LINE_SIZE];
	bool is_found = false;

	while (fgets(line, sizeof(line), pipe)) {
		char *found = strstr(line, key);

		if (!found || is_found)
			continue;
		found += strlen(key);
		found[strcspn(found, stop == ']' ? "]" : "\n")] = '\0';
		snprintf(ret, LINE_SIZE, "%s", found);
		is_found = true;
	}
	pclose(pipe);
	return is_found;
}

static void test_header_facts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char want[LINE_SIZE], id[2 * sizeof(((struct vmat_elf *)0)->build_id) + 1] = "";
		const char *path = path_of(files[i]);
		struct vmat_elf elf;
		int fd;

		if (!open_elf(files[i], &fd, &elf))
			continue;
		close(fd);
		assert_true(find_line("-h", path, "Class:", 0, want));
		assert_int_equal(elf.word_size, strstr(want, "ELF64") ? 8 : 4);
		assert_true(find_line("-h", path, "Type:", 0, want));
		assert_int_equal(elf.type, strstr(want, "EXEC") ? ET_EXEC : ET_DYN);
		assert_int_equal(elf.has_interp, find_line("-l", path, "  INTERP", 0, want));
		assert_int_equal(elf.has_dynamic, find_line("-l", path, "  DYNAMIC", 0, want));
		for (size_t k = 0; k < elf.build_id_size; k++)
			sprintf(id + 2 * k, "%02x", elf.build_id[k]);
		if (find_line("-n", path, "Build ID: ", 0, want))
			assert_string_equal(id, want);
		else
			assert_string_equal(id, "");
		if (find_line("-d", path, "Library soname: [", ']', want))
			assert_string_equal(elf.soname, want);
		else
			assert_string_equal(elf.soname, "");
	}
}

typedef int symbols_fn(const struct vmat_elf *elf, vmat_elf_read_fn *read, void *context,
		       const char *const *names, size_t count, struct vmat_symbol *ret,
		       struct vmat_error *err);

/* A symbol as readelf prints it: "  12: 0000000000004010  8 OBJECT  GLOBAL DEFAULT  26 name@@VERSION". */
static bool parse_symbol(char *line, unsigned long *addr, char *name)
{
	char section[16];
	int at = 0;

	if (sscanf(line, " %*u: %lx %*s %*s %*s %*s %15s %n", addr, section, &at) != 2 || !at ||
	    strcmp(section, "UND") == 0)
		return false;
	snprintf(name, LINE_SIZE, "%s", line + at);
	name[strcspn(name, "@ \n")] = '\0';
	return name[0] != '\0' && strlen(name) < 255;
}

/* One of the lines of readelf for the same name must have the address that was found. */
static size_t compare_symbols(const char *file, const char *options, symbols_fn *look_up,
			      size_t every)
{
	static struct {
		char *name;
		unsigned long addr;
	} all[20000];

	size_t count = 0, compared = 0;
	char line[LINE_SIZE], name[LINE_SIZE];
	struct vmat_error err = { 0 };
	struct vmat_elf elf;
	unsigned long addr;
	FILE *pipe;
	int fd;

	if (!open_elf(file, &fd, &elf))
		return 0;
	pipe = readelf(options, path_of(file));
	while (fgets(line, sizeof(line), pipe))
		/* Names with versions are of the other table, or hold their version. */
		if (!(look_up == vmat_elf_symbols_full && strchr(line, '@')) && count < 20000 &&
		    parse_symbol(line, &addr, name)) {
			all[count].addr = addr;
			all[count++].name = strdup(name);
		}
	pclose(pipe);
	for (size_t i = 0; i < count; i += every) {
		const char *names[] = { all[i].name, "no_such_name_anywhere" };
		struct vmat_symbol found[2];
		bool is_right = false;

		if (look_up(&elf, vmat_elf_read_fd, &fd, names, 2, found, &err) != 0)
			fail_msg("%s: %s: %s", file, all[i].name, err.text);
		for (size_t k = 0; k < count && !is_right; k++)
			is_right = found[0].addr == all[k].addr &&
				   strcmp(all[k].name, all[i].name) == 0;
		if (!is_right)
			fail_msg("%s: %s at %lx, found %lx", file, all[i].name, all[i].addr,
				 (unsigned long)found[0].addr);
		assert_int_equal(found[1].addr, VMAT_UNKNOWN(VMAT_NOT_FOUND));
		compared++;
	}
	for (size_t i = 0; i < count; i++)
		free(all[i].name);
	close(fd);
	return compared;
}

static void test_dynamic_symbols(void **state)
{
	size_t compared = 0;

	(void)state;
	compared += compare_symbols(libc_path, "--dyn-syms", vmat_elf_symbols, 1);
	compared +=
		compare_symbols("/lib64/ld-linux-x86-64.so.2", "--dyn-syms", vmat_elf_symbols, 1);
	compared += compare_symbols("/lib32/libc.so.6", "--dyn-syms", vmat_elf_symbols, 7);
	compared += compare_symbols("/usr/bin/python3", "--dyn-syms", vmat_elf_symbols, 13);
	assert_true(compared > 1000);
}

static void test_full_symbols(void **state)
{
	size_t compared = 0;

	(void)state;
	compared += compare_symbols("tests/factory/factory", "-s", vmat_elf_symbols_full, 11);
	compared +=
		compare_symbols("tests/factory/factory-static", "-s", vmat_elf_symbols_full, 97);
	compared += compare_symbols("tests/factory/factory-32", "-s", vmat_elf_symbols_full, 29);
	assert_true(compared > 10);
}

static void test_what_is_not_there(void **state)
{
	const char *name = "malloc";
	struct vmat_symbol symbol;
	struct vmat_error err;
	struct vmat_elf elf;
	int fd;

	(void)state;
	assert_true(open_elf("/bin/true", &fd, &elf));
	assert_int_equal(
		vmat_elf_symbols_full(&elf, vmat_elf_read_fd, &fd, &name, 1, &symbol, &err),
		-ENOENT);
	assert_non_null(strstr(err.text, "stripped"));
	close(fd);
	if (!open_elf("tests/factory/factory-static", &fd, &elf))
		return;
	assert_int_equal(vmat_elf_symbols(&elf, vmat_elf_read_fd, &fd, &name, 1, &symbol, &err),
			 -ENOENT);
	close(fd);
}

/* Bytes in memory, as a file. */
struct image {
	unsigned char *bytes;
	size_t size;
	uint64_t absent; /* a page that cannot be read; UINT64_MAX: none */
};

static int read_image(void *context, uint64_t offset, void *buffer, size_t size)
{
	const struct image *image = context;

	if (image->absent != UINT64_MAX && offset < image->absent + 4096 &&
	    offset + size > image->absent)
		return -ENODATA;
	if (offset > image->size || size > image->size - offset)
		return -ENOEXEC;
	memcpy(buffer, image->bytes + offset, size);
	return 0;
}

static void *at(const struct image *image, uint64_t offset)
{
	return image->bytes + offset;
}

static struct image load(const char *path)
{
	struct image image = { .absent = UINT64_MAX };
	FILE *file = fopen(path, "rbe");

	assert_non_null(file);
	fseek(file, 0, SEEK_END);
	image.size = (size_t)ftell(file);
	rewind(file);
	image.bytes = malloc(image.size);
	assert_non_null(image.bytes);
	assert_int_equal(fread(image.bytes, 1, image.size, file), image.size);
	fclose(file);
	return image;
}

static void test_refusals(void **state)
{
	struct image image = load("/bin/true");
	Elf64_Ehdr *ehdr = at(&image, 0);
	struct vmat_elf elf = { .machine = 4711 };
	struct vmat_error err;

	(void)state;
	image.bytes[EI_DATA] = ELFDATA2MSB;
	assert_int_equal(vmat_elf_read(&elf, read_image, &image, &err), -ENOEXEC);
	assert_non_null(strstr(err.text, "little-endian"));
	image.bytes[EI_DATA] = ELFDATA2LSB;
	image.bytes[EI_CLASS] = 7;
	assert_int_equal(vmat_elf_read(&elf, read_image, &image, &err), -ENOEXEC);
	image.bytes[EI_CLASS] = ELFCLASS64;
	image.bytes[0] = '#';
	assert_int_equal(vmat_elf_read(&elf, read_image, &image, &err), -ENOEXEC);
	assert_non_null(strstr(err.text, "no ELF file"));
	image.bytes[0] = ELFMAG0;
	ehdr->e_phentsize = 8;
	assert_int_equal(vmat_elf_read(&elf, read_image, &image, &err), -ENOEXEC);
	ehdr->e_phentsize = sizeof(Elf64_Phdr);
	ehdr->e_phnum = 0xffff;
	assert_int_equal(vmat_elf_read(&elf, read_image, &image, &err), -ENOEXEC);
	image.size = 8;
	assert_int_equal(vmat_elf_read(&elf, read_image, &image, &err), -ENOEXEC);
	assert_int_equal(elf.machine, 4711); /* untouched on failure */
	free(image.bytes);
}

/* PT_DYNAMIC of a file in memory. */
static Elf64_Dyn *dynamic_of(const struct image *image, const struct vmat_elf *elf)
{
	uint64_t offset = 0;

	assert_int_equal(vmat_elf_offset(elf, elf->dynamic_addr, elf->dynamic_size, &offset), 0);
	return at(image, offset);
}

/* A hash chain that does not end must end the search. */
static void test_endless_chain(void **state)
{
	struct image image = load(libc_path);
	const char *name = "no_such_name_anywhere";
	struct vmat_symbol symbol;
	struct vmat_error err;
	struct vmat_elf elf;
	uint32_t *head, *chains;
	uint64_t table = 0;

	(void)state;
	assert_int_equal(vmat_elf_read(&elf, read_image, &image, &err), 0);
	for (Elf64_Dyn *dyn = dynamic_of(&image, &elf); dyn->d_tag != DT_NULL; dyn++)
		if (dyn->d_tag == DT_GNU_HASH) /* in the first segment: its offset is its address */
			table = dyn->d_un.d_ptr;
	assert_true(table > 0);
	head = at(&image, table);
	chains = head + 4 + (size_t)head[2] * 2 + head[0];
	for (size_t i = 0; i < 20000; i++)
		chains[i] &= ~UINT32_C(1);
	assert_int_equal(vmat_elf_symbols(&elf, read_image, &image, &name, 1, &symbol, &err),
			 -ENOEXEC);
	free(image.bytes);
}

/* The older hash table, which holds undefined symbols too. */
static void test_sysv_hash(void **state)
{
	const char *names[] = { "malloc", "_dl_argv", "no_such_name_anywhere", "environ" };
	struct image image = load(libc_path);
	struct vmat_symbol gnu[4], sysv[4];
	bool has_sysv = false;
	struct vmat_elf elf;

	(void)state;
	assert_int_equal(vmat_elf_read(&elf, read_image, &image, NULL), 0);
	assert_int_equal(vmat_elf_symbols(&elf, read_image, &image, names, 4, gnu, NULL), 0);
	for (Elf64_Dyn *dyn = dynamic_of(&image, &elf); dyn->d_tag != DT_NULL; dyn++) {
		if (dyn->d_tag == DT_GNU_HASH)
			dyn->d_tag = DT_DEBUG;
		has_sysv = has_sysv || dyn->d_tag == DT_HASH;
	}
	if (has_sysv) {
		assert_int_equal(vmat_elf_symbols(&elf, read_image, &image, names, 4, sysv, NULL),
				 0);
		for (size_t i = 0; i < 4; i++)
			assert_int_equal(sysv[i].addr, gnu[i].addr);
		assert_false(vmat_is_known(sysv[1].addr));
	} else {
		assert_int_equal(vmat_elf_symbols(&elf, read_image, &image, names, 4, sysv, NULL),
				 -ENOENT);
	}
	free(image.bytes);
}

/* Cut off at each length: never a crash, and success only with all that was asked for. */
static void test_truncated(void **state)
{
	struct image image = load("/bin/true");
	size_t whole = image.size;

	(void)state;
	for (size_t size = 0; size < whole; size += size < 4096 ? 1 : 509) {
		struct image cut = { malloc(size ? size : 1), size, UINT64_MAX };
		const char *names[] = { "malloc", "free" };
		struct vmat_symbol symbols[2];
		struct vmat_elf elf;

		memcpy(cut.bytes, image.bytes, size);
		if (vmat_elf_read(&elf, read_image, &cut, NULL) == 0)
			(void)vmat_elf_symbols(&elf, read_image, &cut, names, 2, symbols, NULL);
		free(cut.bytes);
	}
	free(image.bytes);
}

static void test_absent_page(void **state)
{
	struct image image = load(libc_path);
	const char *name = "_thread_db_sizeof_pthread";
	struct vmat_symbol symbol;
	struct vmat_elf elf;
	size_t failed = 0, pages = image.size / 4096;

	(void)state;
	assert_int_equal(vmat_elf_read(&elf, read_image, &image, NULL), 0);
	for (size_t page = 0; page < pages; page++) {
		int err;

		image.absent = page * 4096;
		err = vmat_elf_symbols(&elf, read_image, &image, &name, 1, &symbol, NULL);
		if (err) {
			assert_int_equal(err, -ENODATA);
			failed++;
		}
	}
	/* The header of the hash table, a bucket, a chain, a symbol, a name, PT_DYNAMIC: no more. */
	assert_in_range(failed, 2, 8);
	free(image.bytes);
}

/* This program's own libc, out of memory: the loader has added the bias to PT_DYNAMIC's pointers. */
static int read_own(void *context, uint64_t offset, void *buffer, size_t size)
{
	const struct link_map *map = context;
	const Elf64_Ehdr *ehdr = (const void *)map->l_addr;
	const Elf64_Phdr *phdr = (const void *)(map->l_addr + ehdr->e_phoff);

	for (size_t i = 0; i < ehdr->e_phnum; i++)
		if (phdr[i].p_type == PT_LOAD && offset >= phdr[i].p_offset &&
		    offset + size <= phdr[i].p_offset + phdr[i].p_filesz) {
			const char *from = (const char *)(map->l_addr + phdr[i].p_vaddr);

			memcpy(buffer, from + (offset - phdr[i].p_offset), size);
			return 0;
		}
	return -ENODATA;
}

static void test_own_memory(void **state)
{
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	const char *names[] = { "_thread_db_sizeof_pthread", "environ", "nothing" };
	struct link_map *map = libc;
	struct vmat_symbol symbols[3];
	struct vmat_elf elf;

	(void)state;
	assert_non_null(libc);
	assert_int_equal(vmat_elf_read(&elf, read_own, map, NULL), 0);
	elf.dynamic_bias = map->l_addr;
	assert_int_equal(vmat_elf_symbols(&elf, read_own, map, names, 3, symbols, NULL), 0);
	assert_int_equal(symbols[0].addr + map->l_addr,
			 (uintptr_t)dlvsym(libc, names[0], "GLIBC_PRIVATE"));
	assert_int_equal(symbols[1].addr + map->l_addr, (uintptr_t)dlsym(libc, names[1]));
	assert_false(vmat_is_known(symbols[2].addr));
	dlclose(libc);
}

static void test_offset(void **state)
{
	struct vmat_elf elf = { .segments_count = 2 };
	uint64_t offset = 7;

	(void)state;
	elf.segments[0] = (struct vmat_segment){
		.type = VMAT_SEGMENT_RELRO, .offset = 1, .file_size = 0x9000, .addr = 0x1000
	};
	elf.segments[1] = (struct vmat_segment){ .type = VMAT_SEGMENT_LOAD,
						 .offset = 0x400,
						 .file_size = 0x100,
						 .addr = 0x1000,
						 .mem_size = 0x200 };
	assert_int_equal(vmat_elf_offset(&elf, 0x1010, 0xf0, &offset), 0);
	assert_int_equal(offset, 0x410);
	assert_int_equal(vmat_elf_offset(&elf, 0x1010, 0xf1, &offset), -ENOENT); /* bss */
	assert_int_equal(vmat_elf_offset(&elf, 0xfff, 1, &offset), -ENOENT);
	assert_int_equal(vmat_elf_offset(&elf, 0x1010, UINT64_MAX, &offset), -ENOENT);
	assert_int_equal(offset, 0x410);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segments),          cmocka_unit_test(test_header_facts),
		cmocka_unit_test(test_dynamic_symbols),   cmocka_unit_test(test_full_symbols),
		cmocka_unit_test(test_what_is_not_there), cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_endless_chain),     cmocka_unit_test(test_sysv_hash),
		cmocka_unit_test(test_truncated),         cmocka_unit_test(test_absent_page),
		cmocka_unit_test(test_own_memory),        cmocka_unit_test(test_offset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
