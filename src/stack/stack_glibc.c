/* SPDX-License-Identifier: MIT */
/*
 * stack_glibc.c: see stack_glibc.h. A mapped file is asked through an open file where the target allows
 * it, else through its pages in the target's memory: a library that an upgrade has replaced is still
 * there. With several glibcs in one process (dlmopen) the first whose symbols make sense is taken:
 * they share one loader, and with it the lists.
 */
#include "stack/stack_glibc.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <vmatlas/elf.h>

#include "map/mapped_elf.h"
#include "target/target_source.h"

enum {
	CANDIDATES_MAX = 16, /* files that are opened: dlmopen makes up to 16 namespaces */
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* "libc.so.6", "libc-2.31.so", "libpthread.so.0", "libpthread-2.31.so". */
static bool is_library_name(const char *name)
{
	return has_prefix(name, "libc.so") || has_prefix(name, "libc-2.") ||
	       has_prefix(name, "libpthread.so") || has_prefix(name, "libpthread-2.");
}

/* "ld-linux-x86-64.so.2", "ld-2.31.so", "ld64.so.2", "ld.so.1". */
static bool is_loader_name(const char *name)
{
	return (has_prefix(name, "ld-") && !has_prefix(name, "ld-musl")) ||
	       has_prefix(name, "ld.so") || has_prefix(name, "ld64.so");
}

/* Is this the first region of a mapped file? */
static bool is_file_start(const struct vmat_region *region)
{
	return region->offset == 0 && region->inode && region->backing == VMAT_BACKING_FILE &&
	       region->name[0] == '/';
}

/* What glibc may say of itself; the order is that of symbol_names. */
enum {
	DB_LIST,
	DB_TID,
	DB_SIZE,
	DB_USED, /* as fields of _rtld_global: glibc 2.33 and later */
	DB_USER,
	OLD_USED, /* as variables of libpthread: glibc 2.32 and before */
	OLD_USER,
	OLD_CACHE,
	STATIC_USED, /* as variables of a static program: glibc 2.33 and later */
	STATIC_USER,
	STATIC_CACHE,
	SYMBOLS,
};

static const char *const symbol_names[SYMBOLS] = {
	[DB_LIST] = "_thread_db_pthread_list",
	[DB_TID] = "_thread_db_pthread_tid",
	[DB_SIZE] = "_thread_db_sizeof_pthread",
	[DB_USED] = "_thread_db_rtld_global__dl_stack_used",
	[DB_USER] = "_thread_db_rtld_global__dl_stack_user",
	[OLD_USED] = "stack_used",
	[OLD_USER] = "__stack_user",
	[OLD_CACHE] = "stack_cache",
	[STATIC_USED] = "_dl_stack_used",
	[STATIC_USER] = "_dl_stack_user",
	[STATIC_CACHE] = "_dl_stack_cache",
};

static bool has(const struct vmat_symbol *symbols, int i)
{
	return vmat_is_known(symbols[i].addr);
}

/* Reads `count` words of 32 bits that a symbol stands for. They are constants, so the file has them. */
static bool read_constant(struct vmat_mapped_elf *module, const struct vmat_symbol *symbol,
			  uint32_t *ret, size_t count)
{
	uint64_t offset;

	return vmat_is_known(symbol->addr) &&
	       vmat_elf_offset(&module->elf, symbol->addr, count * sizeof(*ret), &offset) == 0 &&
	       vmat_mapped_elf_reader(module)(vmat_mapped_elf_context(module), offset, ret,
					      count * sizeof(*ret)) == 0;
}

/* The offset in a descriptor {bits, count, offset} of a field that has so many bits. */
static bool read_field(struct vmat_mapped_elf *module, const struct vmat_symbol *symbol,
		       uint32_t bits, uint32_t *ret)
{
	uint32_t descriptor[3];

	if (!read_constant(module, symbol, descriptor, 3) || descriptor[0] != bits)
		return false;
	*ret = descriptor[2];
	return true;
}

/* What all versions have: struct pthread's size, and where its links and its tid are. */
static bool read_struct_layout(struct vmat_mapped_elf *module, const struct vmat_symbol *symbols,
			       struct vmat_stack_layout *ret)
{
	unsigned word_size = module->elf.word_size;

	ret->word_size = word_size;
	return read_constant(module, &symbols[DB_SIZE], &ret->pthread_size, 1) &&
	       read_field(module, &symbols[DB_LIST], 16 * word_size, &ret->list_offset) &&
	       read_field(module, &symbols[DB_TID], 32, &ret->tid_offset) &&
	       ret->pthread_size >= 4 * word_size && ret->pthread_size <= VMAT_STACK_PTHREAD_MAX &&
	       ret->list_offset % word_size == 0 &&
	       ret->list_offset <= ret->pthread_size - 2 * word_size &&
	       ret->tid_offset <= ret->pthread_size - sizeof(uint32_t);
}

/* Looks up a symbol of the dynamic loader: its address in the process, or 0. */
static uint64_t loader_symbol(struct vmat_target *target, const struct vmat_map *map, size_t region,
			      const char *name, uint64_t *ret_size)
{
	struct vmat_symbol symbol;
	struct vmat_mapped_elf module;
	uint64_t addr = 0;

	if (vmat_mapped_elf_open(&module, target, map, region) < 0)
		return 0;
	if (vmat_elf_symbols(&module.elf, vmat_mapped_elf_reader(&module),
			     vmat_mapped_elf_context(&module), &name, 1, &symbol, NULL) == 0 &&
	    vmat_is_known(symbol.addr)) {
		addr = symbol.addr + module.bias;
		*ret_size = symbol.size;
	}
	vmat_mapped_elf_close(&module);
	return addr;
}

/* _rtld_global in the process, or 0. The kernel knows where the loader is; else its name tells. */
static uint64_t find_rtld_global(struct vmat_target *target, const struct vmat_map *map,
				 uint64_t *ret_size)
{
	uint64_t base = vmat_target_process(target)->auxv_base, addr = 0;
	size_t i = vmat_map_find(map, base);
	size_t opened = 0;

	if (base && i < map->count && map->regions[i].start == base &&
	    is_file_start(&map->regions[i]))
		addr = loader_symbol(target, map, i, "_rtld_global", ret_size);
	for (i = 0; !addr && i < map->count && opened < CANDIDATES_MAX; i++) {
		if (!is_file_start(&map->regions[i]) ||
		    !is_loader_name(base_name(map->regions[i].name)))
			continue;
		addr = loader_symbol(target, map, i, "_rtld_global", ret_size);
		opened++;
	}
	return addr;
}

/* The list heads as fields of _rtld_global. */
static bool find_rtld_heads(struct vmat_mapped_elf *module, const struct vmat_symbol *symbols,
			    struct vmat_stack_layout *layout, uint64_t *ret_rtld_addr)
{
	unsigned word_size = module->elf.word_size;
	uint64_t rtld_addr, size = 0;
	uint32_t used, user;

	if (!read_field(module, &symbols[DB_USED], 16 * word_size, &used) ||
	    !read_field(module, &symbols[DB_USER], 16 * word_size, &user))
		return false;
	rtld_addr = find_rtld_global(module->target, module->map, &size);
	if (!rtld_addr || used % word_size || user % word_size || used > size || user > size)
		return false;
	layout->heads[VMAT_STACK_LIST_USED] = rtld_addr + used;
	layout->heads[VMAT_STACK_LIST_USER] = rtld_addr + user;
	*ret_rtld_addr = rtld_addr;
	return true;
}

/* The list heads as variables of this module, `used` being the first of three. */
static bool find_variable_heads(const struct vmat_mapped_elf *module,
				const struct vmat_symbol *symbols, int used,
				struct vmat_stack_layout *layout)
{
	if (!has(symbols, used) || !has(symbols, used + 1))
		return false;
	for (int i = 0; i < VMAT_STACK_LISTS; i++)
		if (has(symbols, used + i))
			layout->heads[i] = symbols[used + i].addr + module->bias;
	return true;
}

/* Asks one mapped file. 0: *ret is filled; -ENOENT; -ENOMEM. */
static int ask_module(struct vmat_mapped_elf *module, struct vmat_stack_layout *ret,
		      uint64_t *ret_rtld_addr)
{
	struct vmat_stack_layout layout = { 0 };
	struct vmat_symbol symbols[SYMBOLS];
	uint64_t rtld_addr = 0;
	int err = vmat_elf_symbols(&module->elf, vmat_mapped_elf_reader(module),
				   vmat_mapped_elf_context(module), symbol_names, SYMBOLS, symbols,
				   NULL);

	/* Before glibc 2.34, and in static programs, only the full symbol table has them. */
	if ((err || !has(symbols, DB_LIST)) && err != -ENOMEM && module->fd >= 0)
		err = vmat_elf_symbols_full(&module->elf, vmat_mapped_elf_reader(module),
					    vmat_mapped_elf_context(module), symbol_names, SYMBOLS,
					    symbols, NULL);
	if (err)
		return err == -ENOMEM ? err : -ENOENT;
	if (!read_struct_layout(module, symbols, &layout))
		return -ENOENT;
	if (!find_rtld_heads(module, symbols, &layout, &rtld_addr) &&
	    !find_variable_heads(module, symbols, OLD_USED, &layout) &&
	    !find_variable_heads(module, symbols, STATIC_USED, &layout))
		return -ENOENT;
	*ret = layout;
	*ret_rtld_addr = rtld_addr;
	return 0;
}

static int try_region(struct vmat_stack_layout *ret, uint64_t *ret_rtld_addr,
		      struct vmat_target *target, const struct vmat_map *map, size_t region)
{
	struct vmat_mapped_elf module;
	int err;

	if (vmat_mapped_elf_open(&module, target, map, region) < 0)
		return -ENOENT;
	err = ask_module(&module, ret, ret_rtld_addr);
	vmat_mapped_elf_close(&module);
	return err;
}

/* The program itself, if it needs no loader: it may hold a glibc of its own. */
static int try_static_program(struct vmat_stack_layout *ret, uint64_t *ret_rtld_addr,
			      struct vmat_target *target, const struct vmat_map *map)
{
	const struct vmat_process *process = vmat_target_process(target);
	size_t i = vmat_map_find(map, process->auxv_phdr);

	if (process->auxv_base || !process->auxv_phdr || i == map->count ||
	    !is_file_start(&map->regions[i]))
		return -ENOENT;
	return try_region(ret, ret_rtld_addr, target, map, i);
}

int vmat_stack_glibc_find(struct vmat_stack_layout *ret, uint64_t *ret_rtld_addr,
			  struct vmat_target *target, const struct vmat_map *map,
			  const char **ret_why)
{
	size_t opened = 0;
	int err = -ENOENT;

	for (size_t i = 0; i < map->count && opened < CANDIDATES_MAX && err == -ENOENT; i++) {
		if (!is_file_start(&map->regions[i]) ||
		    !is_library_name(base_name(map->regions[i].name)))
			continue;
		err = try_region(ret, ret_rtld_addr, target, map, i);
		opened++;
	}
	if (err != -ENOENT)
		return err;
	err = try_static_program(ret, ret_rtld_addr, target, map);
	if (err == -ENOENT)
		*ret_why = opened ? "guessed from stack pointers: its C library does not show its "
				    "lists"
				  : "guessed from stack pointers: it has no shared glibc";
	return err;
}
