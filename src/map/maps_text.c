/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "map/maps_text.h"

/* "rwxp": returns what is behind it, or NULL. */
static const char *parse_prot(const char *c, const char *end, uint8_t *prot)
{
	if (end - c < 5 || c[4] != ' ')
		return NULL;
	*prot = (uint8_t)((c[0] == 'r' ? VMAT_PROT_READ : 0) | (c[1] == 'w' ? VMAT_PROT_WRITE : 0) |
			  (c[2] == 'x' ? VMAT_PROT_EXEC : 0) | (c[3] == 's' ? VMAT_PROT_SHARED : 0));
	return c + 5;
}

/* A hexadecimal number and the character that must follow it. */
static const char *parse_hex(const char *c, const char *end, char mark, uint64_t *ret)
{
	const char *first = c;

	c = vmat_text_hex(c, end, ret);
	return c > first && c - first <= 16 && c < end && *c == mark ? c + 1 : NULL;
}

int vmat_maps_line_parse(struct vmat_maps_line *ret, const char *c, const char *end)
{
	uint64_t major, minor;

	c = parse_hex(c, end, '-', &ret->start);
	if (c)
		c = parse_hex(c, end, ' ', &ret->end);
	if (c)
		c = parse_prot(c, end, &ret->prot);
	if (c)
		c = parse_hex(c, end, ' ', &ret->offset);
	if (c)
		c = parse_hex(c, end, ':', &major);
	if (c)
		c = parse_hex(c, end, ' ', &minor);
	if (!c || c == end || *c < '0' || *c > '9')
		return -EINVAL;
	c = vmat_text_decimal(c, end, &ret->inode);
	if (ret->start >= ret->end || ret->start & 4095 || ret->end & 4095)
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

#define NOWHERE SIZE_MAX
#define TO(member) offsetof(struct vmat_region, member)
#define FIELD(name, to, also_to) {name ":", sizeof(name), to, also_to}

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

static uint64_t *fact_at(struct vmat_region *region, size_t offset)
{
	return (uint64_t *)(void *)((char *)region + offset);
}

enum { FIELDS_COUNT = sizeof(fields) / sizeof(fields[0]), FIELD_VM_FLAGS = FIELDS_COUNT - 1 };

void vmat_smaps_region_begin(struct vmat_region *region)
{
	for (size_t i = 0; i < FIELDS_COUNT; i++) {
		if (fields[i].to != NOWHERE)
			*fact_at(region, fields[i].to) = 0;
	}
}

/* "rd wr mr mw": two letters each. */
static uint64_t parse_vm_flags(const char *c, const char *end)
{
	uint64_t flags = 0;

	while (end - c >= 2) {
		if (*c == ' ') {
			c++;
			continue;
		}
		for (unsigned bit = 0; bit < 64; bit++) {
			const struct vmat_vm_flag *flag = vmat_vm_flag(bit);

			if (flag && flag->code[0] == c[0] && flag->code[1] == c[1])
				flags |= 1ULL << bit;
		}
		c += 2;
	}
	return flags;
}

static bool is_field(const struct field *field, const char *c, size_t size)
{
	return size > field->size && memcmp(c, field->name, field->size) == 0;
}

void vmat_smaps_line_parse(struct vmat_region *region, size_t *hint, const char *c, const char *end)
{
	size_t size = (size_t)(end - c), i = *hint < FIELDS_COUNT ? *hint : 0;
	uint64_t number;

	if (!is_field(&fields[i], c, size)) {
		for (i = 0; i < FIELDS_COUNT && !is_field(&fields[i], c, size); i++)
			;
	}
	if (i == FIELDS_COUNT)
		return;
	*hint = i + 1;
	if (fields[i].to == NOWHERE)
		return;
	c += fields[i].size;
	while (c < end && *c == ' ')
		c++;
	if (i == FIELD_VM_FLAGS) {
		region->vm_flags = parse_vm_flags(c, end);
		return;
	}
	vmat_text_decimal(c, end, &number);
	number <<= 10; /* all of them are in kB */
	*fact_at(region, fields[i].to) += number;
	if (fields[i].also_to != NOWHERE)
		*fact_at(region, fields[i].also_to) += number;
}
