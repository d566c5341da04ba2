/* SPDX-License-Identifier: MIT */
/*
 * layout_parser.c: variables by the symbol table, their types by libdw.
 *
 * Runs in a child without rights, so nothing here defends itself against what a file says (symbol_parser.c). A path is
 * followed from the first unit that defines its variable; a variable that the linker threw away (--gc-sections) keeps its
 * DWARF with a false address, so where there is a symbol table, that one says what exists and where.
 */
#include "symbols/layout_parser.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <gelf.h>
#include <string.h>

#include "symbols/dwarf_address.h"

enum { DEPTH_MAX = 8 /* of unnamed structs within each other */ };

/* Without the dots: "pxCurrentTCB" of "pxCurrentTCB.pxStack". */
static size_t root_length(const struct vmat_datum *datum)
{
	return strcspn(datum->path, ".");
}

static bool has_root(const struct vmat_datum *datum, const char *name)
{
	size_t length = root_length(datum);

	return strncmp(datum->path, name, length) == 0 && name[length] == '\0';
}

static bool has_steps(const struct vmat_datum *datum)
{
	return datum->path[root_length(datum)] == '.';
}

/* Addresses of roots go into data that have steps, too, until vmat_layout_parse takes them out again. */
static void take_symbols(struct vmat_layout_parse *parse, Elf *elf, Elf_Scn *section,
			 const GElf_Shdr *header)
{
	Elf_Data *bytes = elf_getdata(section, NULL);
	GElf_Sym sym;

	for (int i = 0; bytes && gelf_getsym(bytes, i, &sym); i++) {
		unsigned type = GELF_ST_TYPE(sym.st_info);
		const char *name = elf_strptr(elf, header->sh_link, sym.st_name);

		/* Marks of a linker script (_estack) have no type, and may be absolute. */
		if (!name || !*name || sym.st_shndx == SHN_UNDEF || type == STT_FILE ||
		    type == STT_SECTION || type == STT_TLS)
			continue;
		for (size_t k = 0; k < parse->count; k++) {
			struct vmat_datum *datum = &parse->data[k];

			if (vmat_is_known(datum->addr) || !has_root(datum, name))
				continue;
			datum->addr = sym.st_value;
			datum->symbol_size = sym.st_size;
		}
	}
}

static bool read_symbols(struct vmat_layout_parse *parse, Elf *elf)
{
	Elf_Scn *section = NULL;
	GElf_Shdr header;
	bool has_table = false;

	while (elf && (section = elf_nextscn(elf, section))) {
		if (!gelf_getshdr(section, &header) || header.sh_type != SHT_SYMTAB)
			continue;
		has_table = true;
		take_symbols(parse, elf, section, &header);
	}
	return has_table;
}

/* The type behind typedefs and qualifiers; of a struct that is only declared, its definition in the same unit. */
static bool plain_type(Dwarf_Die *of, Dwarf_Die *ret)
{
	Dwarf_Attribute attribute;
	Dwarf_Die unit, die;
	const char *name;

	if (!dwarf_attr_integrate(of, DW_AT_type, &attribute) ||
	    !dwarf_formref_die(&attribute, ret) || dwarf_peel_type(ret, ret))
		return false;
	if (!dwarf_hasattr(ret, DW_AT_declaration))
		return true;
	name = dwarf_diename(ret);
	if (!name || !dwarf_diecu(ret, &unit, NULL, NULL) || dwarf_child(&unit, &die))
		return true;
	do {
		const char *other = dwarf_tag(&die) == dwarf_tag(ret) ? dwarf_diename(&die) : NULL;

		if (other && !strcmp(other, name) && !dwarf_hasattr(&die, DW_AT_declaration)) {
			*ret = die;
			break;
		}
	} while (dwarf_siblingof(&die, &die) == 0);
	return true;
}

/* Elements of all dimensions; 0 when an array has no length. */
static uint64_t elements_of(Dwarf_Die *array)
{
	uint64_t count = 1;
	Dwarf_Attribute attribute;
	Dwarf_Word number;
	Dwarf_Die die;

	if (dwarf_child(array, &die))
		return 0;
	do {
		if (dwarf_tag(&die) != DW_TAG_subrange_type)
			continue;
		if (dwarf_attr(&die, DW_AT_count, &attribute) &&
		    !dwarf_formudata(&attribute, &number))
			count *= number;
		else if (dwarf_attr(&die, DW_AT_upper_bound, &attribute) &&
			 !dwarf_formudata(&attribute, &number))
			count *= number + 1;
		else
			count = 0;
	} while (dwarf_siblingof(&die, &die) == 0);
	return count;
}

static uint64_t size_of(Dwarf_Die *type)
{
	Dwarf_Word size;

	return dwarf_aggregate_size(type, &size) ? VMAT_UNKNOWN(VMAT_NOT_FOUND) : size;
}

/* Goes from a type through arrays to that of their elements. */
static bool element_type(Dwarf_Die *type, uint64_t *count)
{
	*count = 1;
	while (dwarf_tag(type) == DW_TAG_array_type) {
		*count *= elements_of(type);
		if (!plain_type(type, type))
			return false;
	}
	return true;
}

static bool is_compound(Dwarf_Die *type)
{
	int tag = dwarf_tag(type);

	return tag == DW_TAG_structure_type || tag == DW_TAG_union_type || tag == DW_TAG_class_type;
}

/* A number, or before DWARF 3 an expression that adds one. */
static bool member_offset(Dwarf_Die *member, uint64_t *ret)
{
	Dwarf_Attribute attribute;
	Dwarf_Word at = 0;
	Dwarf_Op *ops;
	size_t count;

	*ret = 0; /* fields of a union need not say it */
	if (!dwarf_attr(member, DW_AT_data_member_location, &attribute))
		return true;
	if (!dwarf_formudata(&attribute, &at)) {
		*ret = at;
		return true;
	}
	if (dwarf_getlocation(&attribute, &ops, &count) || count != 1 ||
	    ops[0].atom != DW_OP_plus_uconst)
		return false;
	*ret = ops[0].number;
	return true;
}

/* The field of a struct, or of an unnamed struct or union within it. Adds where it lies to *offset. */
static bool find_field(Dwarf_Die *type, const char *name, size_t length, Dwarf_Die *ret,
		       uint64_t *offset, unsigned depth)
{
	Dwarf_Die die, inner;

	if (depth > DEPTH_MAX || dwarf_child(type, &die))
		return false;
	do {
		const char *own = dwarf_diename(&die);
		uint64_t at;

		if (dwarf_tag(&die) != DW_TAG_member || !member_offset(&die, &at))
			continue;
		if (own && strncmp(own, name, length) == 0 && own[length] == '\0') {
			*offset += at;
			*ret = die;
			return true;
		}
		if (!own && plain_type(&die, &inner) && is_compound(&inner)) {
			uint64_t below = *offset + at;

			if (find_field(&inner, name, length, ret, &below, depth + 1)) {
				*offset = below;
				return true;
			}
		}
	} while (dwarf_siblingof(&die, &die) == 0);
	return false;
}

/* What a type is, into the datum. */
static void take_type(struct vmat_datum *datum, Dwarf_Die *type, bool is_bit_field)
{
	Dwarf_Attribute attribute;
	Dwarf_Word encoding = 0;
	Dwarf_Die target;

	datum->size = size_of(type);
	datum->kind = VMAT_DATUM_OTHER;
	if (is_bit_field)
		return;
	if (is_compound(type)) {
		datum->kind = VMAT_DATUM_STRUCT;
	} else if (dwarf_tag(type) == DW_TAG_pointer_type) {
		datum->kind = VMAT_DATUM_POINTER;
		if (plain_type(type, &target))
			datum->target_size = size_of(&target);
	} else if (dwarf_tag(type) == DW_TAG_enumeration_type) {
		datum->kind = VMAT_DATUM_INTEGER;
	} else if (dwarf_tag(type) == DW_TAG_base_type &&
		   dwarf_attr(type, DW_AT_encoding, &attribute) &&
		   !dwarf_formudata(&attribute, &encoding)) {
		datum->is_signed = encoding == DW_ATE_signed || encoding == DW_ATE_signed_char;
		if (datum->is_signed || encoding == DW_ATE_unsigned ||
		    encoding == DW_ATE_unsigned_char || encoding == DW_ATE_boolean ||
		    encoding == DW_ATE_address || encoding == DW_ATE_UTF)
			datum->kind = VMAT_DATUM_INTEGER;
	}
}

/* Follows the steps of a path from the type of its root. */
static void follow(struct vmat_datum *datum, Dwarf_Die type)
{
	const char *step = datum->path + root_length(datum);
	bool is_bit_field = false, is_array = dwarf_tag(&type) == DW_TAG_array_type;
	uint64_t count, offset = 0, holder_size;
	Dwarf_Die field;

	if (!element_type(&type, &count))
		return;
	holder_size = size_of(&type);
	while (*step == '.') {
		size_t length = strcspn(++step, ".");

		if (dwarf_tag(&type) == DW_TAG_pointer_type) {
			offset = 0;
			if (!plain_type(&type, &type) || !element_type(&type, &count))
				return;
			holder_size = size_of(&type);
		}
		if (!is_compound(&type) || !find_field(&type, step, length, &field, &offset, 0) ||
		    !plain_type(&field, &type))
			return;
		is_array = dwarf_tag(&type) == DW_TAG_array_type;
		if (!element_type(&type, &count))
			return;
		is_bit_field = dwarf_hasattr(&field, DW_AT_bit_size) == 1;
		step += length;
	}
	datum->offset = offset;
	datum->count = count;
	datum->is_array = is_array;
	datum->holder_size = holder_size;
	take_type(datum, &type, is_bit_field);
}

static void take_variable(struct vmat_layout_parse *parse, Dwarf_Die *die, const char *name)
{
	Dwarf_Die type;
	uint64_t addr;

	for (size_t i = 0; i < parse->count; i++) {
		struct vmat_datum *datum = &parse->data[i];

		if (vmat_is_known(datum->offset) || !has_root(datum, name) ||
		    !vmat_dwarf_address(die, &addr))
			continue;
		if (parse->program.has_symbols ? datum->addr != addr : !addr)
			continue;
		datum->addr = addr;
		if (plain_type(die, &type))
			follow(datum, type);
	}
}

static void take_named_type(struct vmat_layout_parse *parse, Dwarf_Die *die, const char *name)
{
	Dwarf_Die type = *die;

	for (size_t i = 0; i < parse->count; i++) {
		struct vmat_datum *datum = &parse->data[i];

		if (vmat_is_known(datum->offset) || !has_steps(datum) || !has_root(datum, name))
			continue;
		if (dwarf_peel_type(&type, &type) == 0)
			follow(datum, type);
	}
}

static void scan_unit(struct vmat_layout_parse *parse, Dwarf_Die *unit)
{
	Dwarf_Attribute attribute;
	Dwarf_Die die;

	if (dwarf_child(unit, &die))
		return;
	do {
		int tag = dwarf_tag(&die);
		const char *name;

		if (tag != DW_TAG_variable && tag != DW_TAG_typedef && tag != DW_TAG_structure_type)
			continue;
		if (!dwarf_attr_integrate(&die, DW_AT_name, &attribute))
			continue;
		name = dwarf_formstring(&attribute);
		if (!name)
			continue;
		if (tag == DW_TAG_variable)
			take_variable(parse, &die, name);
		else if (!dwarf_hasattr(&die, DW_AT_declaration))
			take_named_type(parse, &die, name);
	} while (dwarf_siblingof(&die, &die) == 0);
}

static bool read_types(struct vmat_layout_parse *parse, Elf *elf)
{
	Dwarf *dwarf = elf ? dwarf_begin_elf(elf, DWARF_C_READ, NULL) : NULL;
	Dwarf_Off offset = 0, next;
	size_t header_size;
	bool has_units = false;

	while (dwarf && dwarf_nextcu(dwarf, offset, &next, &header_size, NULL, NULL, NULL) == 0) {
		Dwarf_Die unit;

		if (dwarf_offdie(dwarf, offset + header_size, &unit)) {
			/* An assembler's unit (of the start-up code, of libgcc) has lines, and no types. */
			has_units |= dwarf_haschildren(&unit) == 1;
			scan_unit(parse, &unit);
		}
		offset = next;
	}
	if (dwarf)
		dwarf_end(dwarf);
	return has_units;
}

static void describe_program(struct vmat_program *program, Elf *elf)
{
	GElf_Ehdr header;

	if (!gelf_getehdr(elf, &header))
		return;
	program->machine = header.e_machine;
	program->word_size = gelf_getclass(elf) == ELFCLASS64 ? 8 : 4;
	program->is_big_endian = header.e_ident[EI_DATA] == ELFDATA2MSB;
}

void vmat_layout_parse(struct vmat_layout_parse *parse)
{
	Elf *elf = NULL, *debug = NULL;

	parse->verdict = vmat_symbols_open(&parse->file, &elf, &debug);
	if (!parse->verdict) {
		describe_program(&parse->program, elf);
		parse->program.has_symbols = read_symbols(parse, elf) || read_symbols(parse, debug);
		parse->program.has_types = read_types(parse, elf) || read_types(parse, debug);
		for (size_t i = 0; i < parse->count; i++) {
			if (!has_steps(&parse->data[i]))
				continue;
			parse->data[i].addr = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
			parse->data[i].symbol_size = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		}
		parse->verdict = VMAT_PARSER_DONE;
	}
	elf_end(debug);
	elf_end(elf);
}
