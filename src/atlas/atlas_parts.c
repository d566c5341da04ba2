/* SPDX-License-Identifier: MIT */
/*
 * atlas_parts.c: claims (atlas_claim.c) into owners and parts.
 *
 * The claims of a region may overlap. They are taken in the order in which they were made, the strongest
 * first, and each gets what those before it have left.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "atlas/atlas_priv.h"

static int compare_claims(const void *a, const void *b)
{
	const struct vmat_claim *x = a, *y = b;

	if (x->region != y->region)
		return x->region < y->region ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static bool is_unread(const struct vmat_atlas *atlas, size_t region)
{
	return atlas->priv->heads && atlas->priv->heads[region] == VMAT_HEAD_UNREAD;
}

/* What a region is that nobody claimed, or a piece of one. */
static void set_unclaimed(struct vmat_part *part, const struct vmat_region *region, bool is_missed)
{
	part->owner = "";
	part->tid = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	if (!(region->prot & (VMAT_PROT_READ | VMAT_PROT_WRITE | VMAT_PROT_EXEC))) {
		part->kind = VMAT_KIND_RESERVED;
		part->why = "no rights";
	} else if (region->prot & VMAT_PROT_EXEC) {
		part->kind = VMAT_KIND_JIT;
		part->why = "anonymous and executable";
	} else {
		part->kind = VMAT_KIND_ANON;
		part->why = is_missed ? "anonymous; its first words could not be read"
				      : "anonymous, and no stack, heap or file claims it";
	}
}

/* What glibc 2.38 and later call their memory where glibc.mem.decorate_maps=1 is set. */
static enum vmat_kind kind_of_name(const char *name)
{
	static const struct {
		const char *start;
		enum vmat_kind kind;
	} names[] = {
		{ " glibc: malloc arena]", VMAT_KIND_ARENA },
		{ " glibc: malloc]", VMAT_KIND_MALLOC_MMAP },
		{ " glibc: pthread stack:", VMAT_KIND_STACK },
		{ " glibc: pthread user stack:", VMAT_KIND_STACK },
		{ " glibc: unused stack]", VMAT_KIND_STACK },
		{ " glibc: loader malloc]", VMAT_KIND_DATA },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strncmp(name, names[i].start, strlen(names[i].start)))
			return names[i].kind;
	return VMAT_KIND_ANON;
}

/* A string such as [anon:NAME]: the program itself says what it is. */
static int set_named(struct vmat_atlas *atlas, size_t i, struct vmat_part *part)
{
	static const char start[] = "[anon:";
	const char *name = atlas->map->regions[i].name;
	size_t size = strlen(name);

	if (strncmp(name, start, strlen(start)) != 0 || name[size - 1] != ']')
		return 0;
	name += strlen(start);
	part->owner = vmat_strings_printf(&atlas->priv->strings, "\"%.*s\"",
					  (int)(size - strlen(start) - 1), name);
	part->why = "named by the program (PR_SET_VMA_ANON_NAME)";
	if (part->kind == VMAT_KIND_ANON)
		part->kind = kind_of_name(name);
	return part->owner ? 0 : -ENOMEM;
}

/* Where the first part ends behind addr. */
static size_t find_part(const struct vmat_part *parts, size_t count, uint64_t addr)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (parts[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Adds what the parts so far have left of a claim. They are ascending and do not overlap. */
static size_t add_rest(struct vmat_part *parts, size_t count, const struct vmat_part *claim)
{
	uint64_t at = claim->start;

	for (size_t i = find_part(parts, count, at); at < claim->end; i++) {
		uint64_t end =
			i < count && parts[i].start < claim->end ? parts[i].start : claim->end;

		if (at < end) {
			memmove(&parts[i + 1], &parts[i], (count - i) * sizeof(*parts));
			parts[i] = *claim;
			parts[i].start = at;
			parts[i].end = end;
			count++;
			i++;
		}
		at = i < count && end < claim->end ? parts[i].end : claim->end;
	}
	return count;
}

static void set_gap(struct vmat_part *part, const struct vmat_region *region, bool is_missed,
		    uint64_t start, uint64_t end)
{
	set_unclaimed(part, region, is_missed);
	part->start = start;
	part->end = end;
}

/*
 * The claims of one region, the strongest first, into parts without overlap that cover it; returns how
 * many. `parts` has room for 2 * count + 1: that many ranges lie between the borders of all claims.
 */
static size_t cut_parts(const struct vmat_region *region, bool is_missed,
			const struct vmat_claim *claims, size_t count, struct vmat_part *parts)
{
	uint64_t end = region->end, last = region->start;
	size_t n = 0, total;

	for (size_t i = 0; i < count; i++)
		n = add_rest(parts, n, &claims[i].part);
	total = n;
	for (size_t i = 0; i < n; i++) {
		total += parts[i].start > last;
		last = parts[i].end;
	}
	total += end > last;
	/* From the last one on, so that each part moves to where none is any more. */
	for (size_t i = n, k = total; k > 0;) {
		if (i > 0 && parts[i - 1].end == end) {
			parts[--k] = parts[--i];
			end = parts[k].start;
		} else {
			uint64_t start = i > 0 ? parts[i - 1].end : region->start;

			set_gap(&parts[--k], region, is_missed, start, end);
			end = start;
		}
	}
	return total;
}

static int set_from_claims(struct vmat_atlas *atlas, size_t i, const struct vmat_claim *claims,
			   size_t count)
{
	struct vmat_owner *owner = &atlas->owners[i];
	struct vmat_part *parts, *largest;
	size_t n;

	parts = vmat_arena_alloc(&atlas->priv->arena, (2 * count + 1) * sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	n = cut_parts(&atlas->map->regions[i], is_unread(atlas, i), claims, count, parts);
	/* The name is that of the region: it says more than nothing of what is in it. */
	for (size_t k = 0; k < n; k++) {
		int err = n == 1 || !parts[k].owner[0] ? set_named(atlas, i, &parts[k]) : 0;

		if (err)
			return err;
	}
	largest = parts;
	for (size_t k = 0; k < n; k++) {
		bool is_larger = parts[k].end - parts[k].start > largest->end - largest->start;

		/* What has an owner says more than what has none, whatever their sizes. */
		if (parts[k].kind != VMAT_KIND_ANON && largest->kind == VMAT_KIND_ANON)
			largest = &parts[k];
		else if (is_larger &&
			 (parts[k].kind != VMAT_KIND_ANON || largest->kind == VMAT_KIND_ANON))
			largest = &parts[k];
	}
	owner->kind = largest->kind;
	owner->owner = largest->owner;
	owner->why = largest->why;
	owner->parts = n > 1 ? parts : NULL;
	owner->parts_count = n > 1 ? n : 0;
	return 0;
}

int vmat_atlas_settle(struct vmat_atlas *atlas)
{
	struct vmat_atlas_priv *priv = atlas->priv;
	size_t first = 0;

	if (priv->claims_count)
		qsort(priv->claims, priv->claims_count, sizeof(*priv->claims), compare_claims);
	for (size_t i = 0; i < atlas->map->count; i++) {
		size_t last;
		int err = 0;

		while (first < priv->claims_count && priv->claims[first].region < i)
			first++;
		for (last = first; last < priv->claims_count && priv->claims[last].region == i;)
			last++;
		if (vmat_atlas_is_set(atlas, i))
			continue;
		if (last > first) {
			err = set_from_claims(atlas, i, &priv->claims[first], last - first);
		} else {
			struct vmat_part part;

			set_unclaimed(&part, &atlas->map->regions[i], is_unread(atlas, i));
			err = set_named(atlas, i, &part);
			if (!err)
				err = vmat_atlas_set(atlas, i, part.kind, part.owner, part.why);
		}
		if (err)
			return err;
	}
	return 0;
}
