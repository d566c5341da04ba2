/* SPDX-License-Identifier: MIT */
#include "map/maps_text.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

/* "rwxp": returns what is behind it, or NULL. */
static const char *parse_prot(const char *c, const char *end, uint8_t *prot, uint8_t *unknown)
{
	*unknown = 0;
	if (end - c < 5 || c[4] != ' ')
		return NULL;
	/* Question marks are those of a core, see core_text.c: it is never sure of the last letter. */
	if (c[3] == '?')
		*unknown = c[0] == '?' ? 15 : VMAT_PROT_SHARED;
	else if (c[3] != 's' && c[3] != 'p')
		return NULL;
	if (*unknown != 15 && ((c[0] != 'r' && c[0] != '-') || (c[1] != 'w' && c[1] != '-') ||
			       (c[2] != 'x' && c[2] != '-')))
		return NULL;
	*prot = (uint8_t)((c[0] == 'r' ? VMAT_PROT_READ : 0) | (c[1] == 'w' ? VMAT_PROT_WRITE : 0) |
			  (c[2] == 'x' ? VMAT_PROT_EXEC : 0) |
			  (c[3] == 's' ? VMAT_PROT_SHARED : 0));
	return c + 5;
}

/*
 * Eight digits at once, which all numbers of maps but the device have at least ("%08lx"): letters have bit
 * 6, and are 9 more than their low four bits. False when one is no digit.
 */
static bool parse_hex_8(const char *c, uint64_t *ret)
{
	uint64_t word, letters;

	for (int i = 0; i < 8; i++) {
		if (vmat_text_hex_values[(unsigned char)c[i]] > 15)
			return false;
	}
	memcpy(&word, c, sizeof(word));
	letters = word >> 6 & 0x0101010101010101ULL;
	word = __builtin_bswap64((word & 0x0f0f0f0f0f0f0f0fULL) + letters * 9);
	word = (word | word >> 4) & 0x00ff00ff00ff00ffULL;
	word = (word | word >> 8) & 0x0000ffff0000ffffULL;
	*ret = (word | word >> 16) & 0xffffffffULL;
	return true;
}

/* A hexadecimal number and the character that must follow it. */
static const char *parse_hex(const char *c, const char *end, char mark, uint64_t *ret)
{
	const char *first = c;
	uint64_t high = 0, low;

	if (end - c > 8 && parse_hex_8(c, &high))
		c += 8;
	for (low = high; c < end && vmat_text_hex_values[(unsigned char)*c] < 16; c++)
		low = low << 4 | vmat_text_hex_values[(unsigned char)*c];
	*ret = low;
	return c > first && c - first <= 16 && c < end && *c == mark ? c + 1 : NULL;
}

int vmat_maps_line_parse(struct vmat_maps_line *ret, const char *c, const char *end)
{
	uint64_t major, minor;

	c = parse_hex(c, end, '-', &ret->start);
	if (c)
		c = parse_hex(c, end, ' ', &ret->end);
	if (c)
		c = parse_prot(c, end, &ret->prot, &ret->prot_unknown);
	if (c)
		c = parse_hex(c, end, ' ', &ret->offset);
	if (c && end - c >= 7 && memcmp(c, "00:00 0", 7) == 0) { /* anonymous memory */
		major = minor = 0;
		c += 6;
	} else {
		if (c)
			c = parse_hex(c, end, ':', &major);
		if (c)
			c = parse_hex(c, end, ' ', &minor);
	}
	if (!c || c == end || *c < '0' || *c > '9')
		return -EINVAL;
	c = vmat_text_decimal(c, end, &ret->inode);
	if (ret->start >= ret->end || ret->start & 4095 || ret->end & 4095 ||
	    (c < end && *c != ' '))
		return -EINVAL;
	ret->dev_major = (uint32_t)major;
	ret->dev_minor = (uint32_t)minor;
	while (c < end && *c == ' ')
		c++;
	ret->name = c;
	ret->name_size = (size_t)(end - c);
	return 0;
}

/* Where a field of smaps goes: up to two facts that it is added to. */
struct field {
	const char *name;
	size_t size;
	size_t to;
	size_t also_to;
};

#define NOWHERE    SIZE_MAX
#define TO(member) offsetof(struct vmat_region, member)
#define FIELD(name, to, also_to)                           \
	{                                                  \
		name ":       ", sizeof(name), to, also_to \
	}

static uint64_t *fact_at(struct vmat_region *region, size_t offset)
{
	return (uint64_t *)(void *)((char *)region + offset);
}

/* In the kernel's order (fs/proc/task_mmu.c, __show_smap), so that one comparison a line is enough. */
static const struct field fields[] = {
	FIELD("Size", NOWHERE, NOWHERE),
	FIELD("KernelPageSize", TO(page_size), NOWHERE),
	FIELD("MMUPageSize", NOWHERE, NOWHERE),
	FIELD("Rss", TO(rss), NOWHERE),
	FIELD("Pss", TO(pss), NOWHERE),
	FIELD("Pss_Dirty", NOWHERE, NOWHERE),
	FIELD("Shared_Clean", NOWHERE, NOWHERE),
	FIELD("Shared_Dirty", TO(dirty), NOWHERE),
	FIELD("Private_Clean", TO(uss), NOWHERE),
	FIELD("Private_Dirty", TO(uss), TO(dirty)),
	FIELD("Referenced", TO(referenced), NOWHERE),
	FIELD("Anonymous", TO(anonymous), NOWHERE),
	FIELD("KSM", NOWHERE, NOWHERE),
	FIELD("LazyFree", NOWHERE, NOWHERE),
	FIELD("AnonHugePages", TO(thp), NOWHERE),
	FIELD("ShmemPmdMapped", TO(thp), NOWHERE),
	FIELD("FilePmdMapped", TO(thp), NOWHERE),
	FIELD("Shared_Hugetlb", TO(hugetlb), NOWHERE),
	FIELD("Private_Hugetlb", TO(hugetlb), NOWHERE),
	FIELD("Swap", TO(swap), NOWHERE),
	FIELD("SwapPss", NOWHERE, NOWHERE),
	FIELD("Locked", TO(locked), NOWHERE),
	FIELD("THPeligible", NOWHERE, NOWHERE),
	FIELD("VmFlags", TO(vm_flags), NOWHERE),
};

enum {
	FIELDS_COUNT = sizeof(fields) / sizeof(fields[0]),
	FIELD_VM_FLAGS = FIELDS_COUNT - 1,
	LINE_SIZE = 28, /* "%-16s%8lu kB\n": one width, unless a number has more than 8 digits */
	NUMBER_AT = 16,
	NUMBER_SIZE = 8,
};

_Static_assert(FIELDS_COUNT <= 32, "struct vmat_smaps_layout has room for 32 fields");

/* The place of a code of two small letters, or -1. */
static int code_index(const char *code)
{
	unsigned high = (unsigned char)code[0] - 'a', low = (unsigned char)code[1] - 'a';

	return high < 26 && low < 26 ? (int)(high * 26 + low) : -1;
}

static void learn_flags(struct vmat_smaps_layout *layout)
{
	const struct vmat_vm_flag *flag;

	for (unsigned bit = 0; (flag = vmat_vm_flag(bit)); bit++)
		layout->flag_bits[code_index(flag->code)] = (uint8_t)(bit + 1);
}

void vmat_smaps_region_begin(struct vmat_region *region, struct vmat_smaps_layout *layout)
{
	for (size_t i = 0; i < FIELDS_COUNT; i++) {
		if (fields[i].to != NOWHERE && fields[i].to != TO(page_size))
			*fact_at(region, fields[i].to) = VMAT_UNKNOWN(VMAT_KERNEL_LACKS);
	}
	layout->hint = 0;
	layout->learned = 0;
	if (!layout->size) {
		memset(layout->offsets, 0xff, sizeof(layout->offsets));
		learn_flags(layout);
	}
}

/* "rd wr mr mw": two letters each. */
static uint64_t parse_vm_flags(const struct vmat_smaps_layout *layout, const char *c,
			       const char *end)
{
	uint64_t flags = 0;

	for (; end - c >= 2; c += 2 + (end - c > 2 && c[2] == ' ')) {
		int index = code_index(c);

		if (index >= 0 && layout->flag_bits[index])
			flags |= 1ULL << (layout->flag_bits[index] - 1);
	}
	return flags;
}

static void add_to(uint64_t *fact, uint64_t number)
{
	*fact = vmat_is_known(*fact) ? *fact + number : number;
}

static void add_number(struct vmat_region *region, const struct field *field, uint64_t kilobytes)
{
	if (field->to == TO(page_size)) {
		if (kilobytes)
			region->page_size = kilobytes << 10;
		return;
	}
	if (field->to != NOWHERE)
		add_to(fact_at(region, field->to), kilobytes << 10);
	if (field->also_to != NOWHERE)
		add_to(fact_at(region, field->also_to), kilobytes << 10);
}

static bool is_field(const struct field *field, const char *c, size_t size)
{
	return size > field->size && memcmp(c, field->name, field->size) == 0;
}

/* Remembers where the number of a field stands, as long as all lines have the width that is expected. */
static void learn(struct vmat_smaps_layout *layout, size_t field, size_t size)
{
	if (layout->size || layout->learned == SIZE_MAX)
		return;
	if (field == FIELD_VM_FLAGS) {
		layout->size = layout->learned;
	} else if (size + 1 != LINE_SIZE) {
		if (field < FIELDS_COUNT && fields[field].to != NOWHERE)
			layout->learned = SIZE_MAX;
		else
			layout->learned += size + 1;
	} else {
		if (field < FIELDS_COUNT)
			layout->offsets[field] = (uint32_t)layout->learned;
		layout->learned += LINE_SIZE;
	}
}

void vmat_smaps_line_parse(struct vmat_region *region, struct vmat_smaps_layout *layout,
			   const char *c, const char *end)
{
	size_t size = (size_t)(end - c), i = layout->hint < FIELDS_COUNT ? layout->hint : 0;
	uint64_t number;

	if (!is_field(&fields[i], c, size)) {
		for (i = 0; i < FIELDS_COUNT && !is_field(&fields[i], c, size); i++)
			;
	}
	learn(layout, i, size);
	if (i == FIELDS_COUNT)
		return;
	layout->hint = i + 1;
	c += fields[i].size;
	while (c < end && *c == ' ')
		c++;
	if (i == FIELD_VM_FLAGS) {
		region->vm_flags = parse_vm_flags(layout, c, end);
		return;
	}
	vmat_text_decimal(c, end, &number);
	add_number(region, &fields[i], number);
}

/*
 * A number in a column of eight, blanks before it: blanks have the low four bits of a zero. The pairs, then
 * the fours, then the eight digits are put together in one word each.
 */
static uint64_t number_in_column(const char *c)
{
	uint64_t word;

	memcpy(&word, c, sizeof(word));
	word &= 0x0f0f0f0f0f0f0f0fULL;
	word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ffULL;
	word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffffULL;
	return (word * 10000 + (word >> 32)) & 0xffffffffULL;
}

size_t vmat_smaps_block_parse(struct vmat_region *region, struct vmat_smaps_layout *layout,
			      const char *c, const char *end)
{
	static const char flags_name[] = "VmFlags:";

	/* A number that is wider than its column moves the flags: nothing ever moves them back. */
	if (!layout->size || (size_t)(end - c) < layout->size + sizeof(flags_name) ||
	    memcmp(c + layout->size, flags_name, sizeof(flags_name) - 1) != 0 ||
	    memcmp(c, fields[0].name, 5) != 0)
		return 0;
	for (size_t i = 0; i < FIELD_VM_FLAGS; i++) {
		if (fields[i].to != NOWHERE && layout->offsets[i] != UINT32_MAX)
			add_number(region, &fields[i],
				   number_in_column(c + layout->offsets[i] + NUMBER_AT));
	}
	layout->hint = FIELD_VM_FLAGS;
	return layout->size;
}
