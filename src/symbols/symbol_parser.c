/* SPDX-License-Identifier: MIT */
/*
 * symbol_parser.c: symbol tables by libelf, source files by libdw, names by the demangler of libsupc++.
 *
 * Runs in a child without rights: nothing here defends itself against what a file says, as the libraries
 * do not either (elfutils' SECURITY). What is found goes into the shared memory at once, with a verdict that
 * says how far it came, so that symbols stay when the search for sources takes the child's life.
 *
 * A symbol of the full table is better than one of the dynamic table, of which it is a superset. Of several
 * that cover an address the one that begins last is the closest; among equals a global one counts, then
 * a weak one, then the first.
 */
#include "symbols/symbol_parser.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "symbols/dwarf_address.h"

/* libsupc++: cxxabi.h is a header of C++. */
char *__cxa_demangle(const char *mangled, char *buffer, size_t *size, int *status);

enum {
	NAME_MAX_LENGTH = 4096, /* longer ones stay mangled */
	COVER_STEPS = 64,       /* symbols that are looked at for one that covers an address */
};

struct symbol {
	uint64_t addr;
	uint64_t size;
	const char *name;
	const char *source; /* of a local symbol: STT_FILE before it */
	uint32_t section;
	uint8_t rank; /* small is better */
	bool is_function;
};

struct table {
	struct symbol *symbols;
	size_t count, capacity;
	bool is_cut; /* there was no memory for all: what is there may be the wrong one */
};

static void copy_text(char *to, size_t size, const char *text)
{
	size_t length = strlen(text);

	if (length < size) {
		memcpy(to, text, length + 1);
	} else {
		memcpy(to, text, size - 4);
		memcpy(to + size - 4, "...", 4);
	}
}

static void copy_base_name(char *to, size_t size, const char *path)
{
	const char *slash = strrchr(path, '/');

	copy_text(to, size, slash ? slash + 1 : path);
}

static char *demangled(const char *name)
{
	int status = 0;

	return strlen(name) < NAME_MAX_LENGTH ? __cxa_demangle(name, NULL, NULL, &status) : NULL;
}

/* Without the version that a symbol copied from a library has in the full table ("stdin@GLIBC_2.2.5"). */
static void copy_name(char *to, size_t size, const char *name)
{
	const char *version = strchr(name, '@');
	char *plain = version && version > name ? strndup(name, (size_t)(version - name)) : NULL;
	char *nice = name[0] == '_' && name[1] == 'Z' ? demangled(plain ? plain : name) : NULL;

	copy_text(to, size, nice ? nice : plain ? plain : name);
	free(nice);
	free(plain);
}

void vmat_symbols_demangle_all(struct vmat_demangling *demangling)
{
	for (size_t i = 0; i < demangling->count; i++) {
		char *nice = demangled(demangling->names[i]);

		if (nice)
			copy_text(demangling->names[i], sizeof(demangling->names[i]), nice);
		free(nice);
	}
}

static void add_symbol(struct table *table, const struct symbol *symbol)
{
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? 2 * table->capacity : 4096;
		struct symbol *more = realloc(table->symbols, capacity * sizeof(*more));

		table->is_cut |= !more;
		if (!more)
			return;
		table->symbols = more;
		table->capacity = capacity;
	}
	table->symbols[table->count++] = *symbol;
}

static uint8_t rank_of(const GElf_Sym *sym)
{
	switch (GELF_ST_BIND(sym->st_info)) {
	case STB_GLOBAL:
	case STB_GNU_UNIQUE:
		return 0;
	case STB_WEAK:
		return 1;
	default:
		return 2;
	}
}

static void add_symbols(struct table *table, Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(section, NULL);
	const char *source = NULL;
	GElf_Sym sym;

	for (int i = 0; data && gelf_getsym(data, i, &sym); i++) {
		unsigned type = GELF_ST_TYPE(sym.st_info);
		const char *name = elf_strptr(elf, header->sh_link, sym.st_name);

		if (type == STT_FILE)
			source = name && *name ? name : NULL;
		if (!name || !*name || sym.st_shndx == SHN_UNDEF || sym.st_shndx >= SHN_LORESERVE)
			continue;
		if (type != STT_OBJECT && type != STT_FUNC && type != STT_GNU_IFUNC &&
		    (type != STT_NOTYPE || !sym.st_size))
			continue; /* marks of the linker (_edata) name nothing */
		add_symbol(table, &(struct symbol){
					  .addr = sym.st_value,
					  .size = sym.st_size,
					  .name = name,
					  .source = rank_of(&sym) == 2 ? source : NULL,
					  .section = sym.st_shndx,
					  .rank = rank_of(&sym),
					  .is_function = type == STT_FUNC || type == STT_GNU_IFUNC,
				  });
	}
}

/* The full table of either file, else the dynamic one. */
static void read_table(struct table *table, Elf *elf, Elf *debug)
{
	const struct {
		Elf *elf;
		GElf_Word type;
	} sources[] = { { elf, SHT_SYMTAB }, { debug, SHT_SYMTAB }, { elf, SHT_DYNSYM } };

	for (size_t i = 0; i < 3 && !table->count; i++) {
		Elf_Scn *section = NULL;
		GElf_Shdr header;

		while (sources[i].elf && (section = elf_nextscn(sources[i].elf, section))) {
			if (gelf_getshdr(section, &header) && header.sh_type == sources[i].type)
				add_symbols(table, sources[i].elf, section, &header);
		}
	}
}

static int compare_symbols(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	/* The best of equal addresses comes last: that is where the search begins. */
	if (x->rank != y->rank)
		return x->rank < y->rank ? 1 : -1;
	return (x->name < y->name) - (x->name > y->name);
}

/* The number of the section that holds addr in memory, and its name; 0 when there is none. */
static uint32_t section_of(Elf *elf, uint64_t addr, const char **ret_name)
{
	Elf_Scn *section = NULL;
	size_t names = 0;
	GElf_Shdr header;

	elf_getshdrstrndx(elf, &names);
	while ((section = elf_nextscn(elf, section))) {
		if (!gelf_getshdr(section, &header) || !(header.sh_flags & SHF_ALLOC) ||
		    header.sh_flags & SHF_TLS || addr < header.sh_addr ||
		    addr - header.sh_addr >= header.sh_size)
			continue;
		*ret_name = elf_strptr(elf, names, header.sh_name);
		return (uint32_t)elf_ndxscn(section);
	}
	return 0;
}

/* The symbol that covers addr, or else the closest one before it in its section. */
static const struct symbol *symbol_at(const struct table *table, uint64_t addr, uint32_t section)
{
	const struct symbol *near = NULL;
	size_t low = 0, high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table->symbols[middle].addr <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = low; i-- > 0 && low - i <= COVER_STEPS;) {
		const struct symbol *symbol = &table->symbols[i];

		if (symbol->section != section)
			continue;
		if (addr - symbol->addr < symbol->size)
			return symbol;
		if (!near)
			near = symbol;
	}
	return near;
}

static bool has_build_id(Elf *elf, const struct vmat_symbol_file *file)
{
	const void *id;
	ssize_t size = dwelf_elf_gnu_build_id(elf, &id);

	return size == (ssize_t)file->build_id_size &&
	       memcmp(id, file->build_id, (size_t)size) == 0;
}

static struct vmat_place *next_with_begin(struct vmat_parse *parse, struct vmat_place *place,
					  uint64_t begin)
{
	struct vmat_place *end = parse->places + parse->count;

	for (place = place ? place + 1 : parse->places; place < end; place++) {
		if (place->wants_source && !place->source[0] && !place->is_near &&
		    place->begin == begin)
			return place;
	}
	return NULL;
}

/* Sources of variables: all units, their variables and those of namespaces one level deep. */
static void scan_variables(struct vmat_parse *parse, Dwarf_Die *parent, const char *unit,
			   unsigned depth)
{
	struct vmat_place *place = NULL;
	Dwarf_Die die;
	uint64_t addr;

	if (dwarf_child(parent, &die))
		return;
	do {
		int tag = dwarf_tag(&die);

		if (tag == DW_TAG_namespace && depth < 8)
			scan_variables(parse, &die, unit, depth + 1);
		/* Static variables of functions stand below these. */
		if (tag == DW_TAG_subprogram && depth < 8)
			scan_variables(parse, &die, unit, 8);
		if (tag != DW_TAG_variable || !vmat_dwarf_address(&die, &addr))
			continue;
		place = NULL;
		while ((place = next_with_begin(parse, place, addr))) {
			const char *file = dwarf_decl_file(&die);

			copy_base_name(place->source, sizeof(place->source), file ? file : unit);
		}
	} while (dwarf_siblingof(&die, &die) == 0);
}

/* Functions of a unit that says what it covers: the tables of all units' ranges lack those of clang. */
static void take_functions(struct vmat_parse *parse, Dwarf_Die *unit, const char *name)
{
	for (size_t i = 0; i < parse->count; i++) {
		struct vmat_place *place = &parse->places[i];

		if (place->wants_source && place->is_function && !place->source[0] &&
		    dwarf_haspc(unit, place->addr) == 1)
			copy_base_name(place->source, sizeof(place->source), name);
	}
}

static bool is_source_missing(const struct vmat_parse *parse)
{
	for (size_t i = 0; i < parse->count; i++) {
		const struct vmat_place *place = &parse->places[i];

		if (place->wants_source && vmat_is_known(place->begin) && !place->source[0])
			return true;
	}
	return false;
}

static void find_sources(struct vmat_parse *parse, Elf *elf)
{
	Dwarf *dwarf = elf ? dwarf_begin_elf(elf, DWARF_C_READ, NULL) : NULL;
	Dwarf_Off offset = 0, next;
	size_t header_size;

	while (dwarf && is_source_missing(parse) &&
	       dwarf_nextcu(dwarf, offset, &next, &header_size, NULL, NULL, NULL) == 0) {
		Dwarf_Die unit;

		if (dwarf_offdie(dwarf, offset + header_size, &unit)) {
			const char *name = dwarf_diename(&unit);

			scan_variables(parse, &unit, name ? name : "", 0);
			take_functions(parse, &unit, name ? name : "");
		}
		offset = next;
	}
	if (dwarf)
		dwarf_end(dwarf);
}

static void find_symbol(const struct table *table, Elf *elf, struct vmat_place *place)
{
	const char *name = NULL;
	uint32_t section = section_of(elf, place->addr, &name);
	const struct symbol *symbol = section ? symbol_at(table, place->addr, section) : NULL;

	if (name)
		copy_text(place->section, sizeof(place->section), name);
	if (!symbol)
		return;
	place->begin = symbol->addr;
	place->size = symbol->size;
	place->is_function = symbol->is_function;
	place->is_near = place->addr != symbol->addr && place->addr - symbol->addr >= symbol->size;
	copy_name(place->name, sizeof(place->name), symbol->name);
	if (symbol->source && place->wants_source)
		copy_base_name(place->source, sizeof(place->source), symbol->source);
}

/*
 * The whole file as mapped: libelf would ask for its size by fstat, which glibc makes a call with a path, and
 * of those the jail has none. A file that is cut meanwhile kills this child (SIGBUS).
 */
static Elf *open_elf(int fd)
{
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	void *image = size > 0
			      ? mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)
			      : MAP_FAILED;
	Elf *elf = image != MAP_FAILED ? elf_memory(image, (size_t)size) : NULL;

	if (elf && elf_kind(elf) != ELF_K_ELF) {
		elf_end(elf);
		elf = NULL;
	}
	return elf;
}

int vmat_symbols_open(const struct vmat_symbol_file *file, Elf **ret_elf, Elf **ret_debug)
{
	elf_version(EV_CURRENT);
	*ret_elf = open_elf(file->fd);
	if (!*ret_elf)
		return VMAT_PARSER_MALFORMED;
	if (!file->build_id)
		return VMAT_PARSER_NOTHING;
	if (!has_build_id(*ret_elf, file))
		return VMAT_PARSER_OTHER_FILE;
	*ret_debug = open_elf(file->debug_fd);
	if (*ret_debug && !has_build_id(*ret_debug, file)) {
		elf_end(*ret_debug);
		*ret_debug = NULL;
	}
	return VMAT_PARSER_NOTHING;
}

void vmat_symbols_parse(struct vmat_parse *parse)
{
	struct table table = { 0 };
	Elf *elf = NULL, *debug = NULL;

	parse->verdict = vmat_symbols_open(&parse->file, &elf, &debug);
	if (!parse->verdict) {
		read_table(&table, elf, debug);
		if (table.count)
			qsort(table.symbols, table.count, sizeof(*table.symbols), compare_symbols);
		for (size_t i = 0; i < parse->count; i++)
			find_symbol(&table, elf, &parse->places[i]);
		parse->verdict = table.is_cut ? VMAT_PARSER_MALFORMED : VMAT_PARSER_SYMBOLS;
		if (!table.is_cut && is_source_missing(parse))
			find_sources(parse, debug ? debug : elf);
		if (!table.is_cut)
			parse->verdict = VMAT_PARSER_DONE;
	}
	free(table.symbols);
	elf_end(debug);
	elf_end(elf);
}
