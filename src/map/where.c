/* SPDX-License-Identifier: MIT */
/*
 * where.c: the free ranges of an address space, and which of them the kernel will take next.
 *
 * mmap without an address searches from mmap_base downward for the first gap that is large enough
 * (mm/mmap.c, vm_unmapped_area; arch/x86/kernel/sys_x86_64.c). mmap_base itself is not shown anywhere: the
 * first mapping of a program, mostly the loader, ends there, so the highest end below the stack
 * stands for it. Since Linux 6.7 (commit efa7df3e3bb5) anonymous mappings of 2 MiB and more are aligned
 * to 2 MiB, later only those whose size is a multiple of it (commit d4148aeab412): which of the rules
 * this kernel follows is found out by mapping in the caller's own address space.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"
#include "map/map_priv.h"
#include "map/page_flags.h"

#define USER_END_64        0x7ffffffff000ULL
#define USER_END_32        0xffffe000ULL
#define ADDR_COMPAT_LAYOUT 0x0200000ULL

enum rule { RULE_PLAIN, RULE_ALIGN_MULTIPLES, RULE_ALIGN_LARGE, RULES };

static uint64_t user_end(const struct vmat_map *map)
{
	for (size_t i = map->count; i-- > 0;) {
		if (map->regions[i].end <= USER_END_64)
			return map->regions[i].end <= USER_END_32 + 4096 ? USER_END_32
									 : USER_END_64;
	}
	return USER_END_64;
}

int vmat_map_gaps(const struct vmat_map *map, struct vmat_gap **ret, size_t *ret_count)
{
	struct vmat_gap *gaps = malloc((map->count + 1) * sizeof(*gaps));
	uint64_t end = user_end(map);
	size_t count = 0;

	if (!gaps)
		return -ENOMEM;
	for (size_t i = 1; i <= map->count; i++) {
		uint64_t from = map->regions[i - 1].end;
		uint64_t to = i < map->count ? map->regions[i].start : end;

		if (to > end) /* [vsyscall] lies in the kernel's half */
			to = end;
		if (from < to)
			gaps[count++] = (struct vmat_gap){ from, to, i };
	}
	*ret = gaps;
	*ret_count = count;
	return 0;
}

static bool is_stack(const struct vmat_region *region)
{
	return strcmp(region->name, "[stack]") == 0;
}

/* The region whose end stands for mmap_base: the highest one below the stack; count if there is none. */
static size_t find_top(const struct vmat_map *map)
{
	size_t stack = 0;

	while (stack < map->count && !is_stack(&map->regions[stack]))
		stack++;
	return stack > 0 && stack < map->count ? stack - 1 : map->count;
}

/* The highest gap below `top`, which no stack is above, that holds `size`. */
static bool find_gap(const struct vmat_map *map, size_t top, uint64_t size, uint64_t *gap_end)
{
	for (size_t i = top; i > 0; i--) {
		uint64_t end = map->regions[i].start, start = map->regions[i - 1].end;

		if (end - start >= size) {
			*gap_end = end;
			return true;
		}
	}
	return false;
}

static bool apply_rule(const struct vmat_map *map, size_t top, uint64_t size, enum rule rule,
		       uint64_t *start)
{
	bool is_aligned = (rule == RULE_ALIGN_LARGE && size >= VMAT_PMD_SIZE) ||
			  (rule == RULE_ALIGN_MULTIPLES && size && size % VMAT_PMD_SIZE == 0);
	uint64_t end;

	/* The kernel looks for size + 2 MiB first and aligns within; too large, it goes on plainly. */
	if (is_aligned && find_gap(map, top, size + VMAT_PMD_SIZE, &end)) {
		uint64_t found = end - size - VMAT_PMD_SIZE;

		*start = (found / VMAT_PMD_SIZE + 1) * VMAT_PMD_SIZE;
		return true;
	}
	if (!find_gap(map, top, size, &end))
		return false;
	*start = end - size;
	return true;
}

/* Tries the rules on the own address space. Returns the first that foretells a real mapping, or -1. */
static int find_rule(uint64_t size)
{
	static const struct vmat_map_options options = { .size = sizeof(options) };
	struct vmat_target *self = NULL;
	struct vmat_map *map = NULL;
	char spec[16];
	void *real;
	int found = -1;

	snprintf(spec, sizeof(spec), "%d", (int)getpid());
	if (vmat_target_open(&self, spec, NULL, NULL))
		return -1;
	if (vmat_map_read(&map, self, &options, NULL))
		goto out;
	real = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (real == MAP_FAILED)
		goto out;
	munmap(real, size);
	/* The likeliest first: today's kernels. For small sizes all rules say the same. */
	for (int i = 0; i < RULES && found < 0; i++) {
		static const enum rule order[] = { RULE_ALIGN_MULTIPLES, RULE_ALIGN_LARGE,
						   RULE_PLAIN };

		uint64_t start;

		if (apply_rule(map, find_top(map), size, order[i], &start) &&
		    start == (uintptr_t)real)
			found = order[i];
	}
out:
	vmat_map_free(map);
	vmat_target_close(self);
	return found;
}

/*
 * Bottom-up layouts begin at a base that is not shown: they are not foretold. The process has one when the
 * switch was set as it was executed (arch/x86/mm/mmap.c, mmap_is_legacy): that it is set now must do.
 */
static bool has_legacy_layout(struct vmat_target *target)
{
	uint64_t sysctl = vmat_source_sysctl(target, "vm/legacy_va_layout");
	struct vmat_buffer text = { 0 };
	uint64_t personality = 0;

	if (!vmat_source_text(target, "personality", &text))
		vmat_text_hex(text.data, text.data + text.size, &personality);
	vmat_buffer_deinit(&text);
	return personality & ADDR_COMPAT_LAYOUT || (vmat_is_known(sysctl) && sysctl);
}

int vmat_map_where(const struct vmat_map *map, struct vmat_target *target, uint64_t size,
		   struct vmat_where *ret, struct vmat_error *err)
{
	static const char *const texts[RULES] = {
		[RULE_PLAIN] = "the end of the highest gap below mmap_base that is large enough",
		[RULE_ALIGN_MULTIPLES] =
			"the highest gap below mmap_base that is large enough; multiples of 2 MiB aligned to 2 MiB",
		[RULE_ALIGN_LARGE] =
			"the highest gap below mmap_base that is large enough; from 2 MiB on aligned to 2 MiB",
	};
	struct vmat_where where = { 0 };
	size_t top = find_top(map);
	int rule;

	if (vmat_target_process(target)->core)
		return vmat_error_set(err, -EOPNOTSUPP,
				      "the process of a core maps nothing any more, and a core may "
				      "have left regions out");

	if (!size || size > USER_END_64)
		return vmat_error_set(err, -EINVAL, "a mapping has between 1 byte and 128 TiB");
	size = (size + 4095) & ~4095ULL;
	if (has_legacy_layout(target) || top == map->count)
		return vmat_error_set(
			err, -EOPNOTSUPP,
			"the address space grows from the bottom, or has no [stack]: where "
			"the kernel begins to search is not shown");
	rule = vmat_target_process(target)->word_size == 4 ? -1 : find_rule(size);
	where.is_rule_checked = rule >= 0;
	if (rule < 0)
		rule = RULE_PLAIN;
	if (!apply_rule(map, top, size, (enum rule)rule, &where.start))
		return vmat_error_set(err, -ENOMEM, "no gap of the address space is large enough");
	where.end = where.start + size;
	snprintf(where.why, sizeof(where.why), "%s%s", texts[rule],
		 where.is_rule_checked ? " (tried on this kernel)"
				       : " (not tried: the rule may differ here)");
	*ret = where;
	return 0;
}
