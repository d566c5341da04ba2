/* SPDX-License-Identifier: MIT */
/*
 * atlas.c: composing an atlas, and turning claims (atlas_claim.c) into owners and parts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "atlas/atlas_priv.h"
#include "base/cleanup.h"

struct vmat_atlas *vmat_atlas_free(struct vmat_atlas *atlas)
{
	if (!atlas)
		return NULL;
	if (atlas->priv) {
		vmat_strings_deinit(&atlas->priv->strings);
		vmat_arena_deinit(&atlas->priv->arena);
		free(atlas->priv->claims);
	}
	free(atlas->priv);
	free(atlas->owners);
	vmat_stacks_free(atlas->stacks);
	vmat_map_free(atlas->map);
	free(atlas);
	return NULL;
}

static void cleanup_atlas(struct vmat_atlas **atlas)
{
	vmat_atlas_free(*atlas);
}

static void mark_partial(struct vmat_atlas *atlas, const char *why)
{
	if (!atlas->is_partial)
		snprintf(atlas->partial_why, sizeof(atlas->partial_why), "%s", why);
	atlas->is_partial = true;
}

static int compare_claims(const void *a, const void *b)
{
	const struct vmat_claim *x = a, *y = b;

	if (x->region != y->region)
		return x->region < y->region ? -1 : 1;
	return (x->part.start > y->part.start) - (x->part.start < y->part.start);
}

/* What a region is that nobody claimed, or a piece of one. */
static void set_unclaimed(struct vmat_part *part, const struct vmat_region *region)
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
		part->why = "anonymous, and no stack, heap or file claims it";
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
	const char *name = atlas->map->regions[i].name, *colon = strchr(name, ':');
	size_t size = colon ? strlen(colon + 1) : 0;

	if (name[0] != '[' || !size)
		return 0;
	part->owner =
		vmat_strings_printf(&atlas->priv->strings, "\"%.*s\"", (int)size - 1, colon + 1);
	part->why = "named by the program (PR_SET_VMA_ANON_NAME)";
	if (part->kind == VMAT_KIND_ANON)
		part->kind = kind_of_name(colon + 1);
	return part->owner ? 0 : -ENOMEM;
}

/* The claims of one region into parts without overlap that cover it; returns how many. */
static size_t cut_parts(const struct vmat_region *region, const struct vmat_claim *claims,
			size_t count, struct vmat_part *parts)
{
	uint64_t at = region->start;
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct vmat_part part = claims[i].part;

		if (part.end <= at)
			continue;
		if (part.start < at)
			part.start = at;
		if (part.start > at) {
			parts[n].start = at;
			parts[n].end = part.start;
			set_unclaimed(&parts[n++], region);
		}
		at = part.end;
		parts[n++] = part;
	}
	if (at < region->end) {
		parts[n].start = at;
		parts[n].end = region->end;
		set_unclaimed(&parts[n++], region);
	}
	return n;
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
	n = cut_parts(&atlas->map->regions[i], claims, count, parts);
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
	if (n == 1) {
		int err = set_named(atlas, i, &parts[0]);

		if (err)
			return err;
	}
	owner->kind = largest->kind;
	owner->owner = largest->owner;
	owner->why = largest->why;
	owner->parts = n > 1 ? parts : NULL;
	owner->parts_count = n > 1 ? n : 0;
	return 0;
}

static int set_owners(struct vmat_atlas *atlas)
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

			set_unclaimed(&part, &atlas->map->regions[i]);
			err = set_named(atlas, i, &part);
			if (!err)
				err = vmat_atlas_set(atlas, i, part.kind, part.owner, part.why);
		}
		if (err)
			return err;
	}
	return 0;
}

/* Stacks that cannot be read leave a gap in the atlas, not none at all. */
static int read_stacks(struct vmat_atlas *atlas, struct vmat_target *target)
{
	struct vmat_error why = { 0 };
	int err = vmat_stacks_read(&atlas->stacks, target, atlas->map, &why);

	if (err == -ENOMEM)
		return err;
	if (err)
		mark_partial(atlas, why.text);
	else if (atlas->stacks->is_partial)
		mark_partial(atlas, atlas->stacks->partial_why);
	return 0;
}

static int read_owners(struct vmat_atlas *atlas, struct vmat_target *target)
{
	int err;

	atlas->owners = calloc(atlas->map->count ? atlas->map->count : 1, sizeof(*atlas->owners));
	if (!atlas->owners)
		return -ENOMEM;
	atlas->priv->target = target;
	atlas->priv->word_size = vmat_target_process(target)->word_size == 4 ? 4 : 8;
	err = read_stacks(atlas, target);
	if (!err)
		err = vmat_atlas_add_files(atlas);
	if (!err)
		err = vmat_atlas_add_stacks(atlas);
	if (!err)
		err = vmat_atlas_add_malloc(atlas);
	if (!err)
		err = vmat_atlas_add_tls(atlas);
	if (!err)
		err = vmat_atlas_add_loader(atlas);
	if (!err)
		err = set_owners(atlas);
	atlas->priv->target = NULL;
	return err;
}

int vmat_atlas_read(struct vmat_atlas **ret, struct vmat_target *target,
		    const struct vmat_atlas_options *options, struct vmat_error *err)
{
	vmat_cleanup(cleanup_atlas) struct vmat_atlas *atlas = calloc(1, sizeof(*atlas));
	struct vmat_map_options map_options = {
		.size = sizeof(map_options),
		.want = options->map_want,
		.progress = options->progress,
		.progress_context = options->progress_context,
	};
	int code;

	if (atlas)
		atlas->priv = calloc(1, sizeof(*atlas->priv));
	if (!atlas || !atlas->priv)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	if (options->want & VMAT_ATLAS_OWNERS)
		map_options.want |= VMAT_WANT_PAGES; /* headers are read only where pages are */
	code = vmat_map_read(&atlas->map, target, &map_options, err);
	if (code)
		return code;
	if (atlas->map->is_partial)
		mark_partial(atlas, atlas->map->partial_why);
	if (options->want & VMAT_ATLAS_OWNERS) {
		code = read_owners(atlas, target);
		if (code)
			return vmat_error_set(err, code, "out of memory");
	}
	*ret = vmat_take_ptr(&atlas);
	return 0;
}

/* A sum with an unknown part is unknown. */
static void add_fact(uint64_t *sum, uint64_t fact)
{
	if (!vmat_is_known(*sum))
		return;
	if (vmat_is_known(fact))
		*sum += fact;
	else if (vmat_reason(fact) != VMAT_NOT_APPLICABLE)
		*sum = fact;
}

size_t vmat_atlas_totals(const struct vmat_atlas *atlas, struct vmat_total *ret)
{
	struct vmat_total totals[VMAT_KIND_COUNT] = { 0 };
	size_t count = 0;

	for (size_t i = 0; atlas->owners && i < atlas->map->count; i++) {
		const struct vmat_region *region = &atlas->map->regions[i];
		struct vmat_total *total = &totals[atlas->owners[i].kind];

		total->kind = atlas->owners[i].kind;
		total->count++;
		total->size += vmat_region_size(region);
		add_fact(&total->rss, region->rss);
		add_fact(&total->pss, region->pss);
		add_fact(&total->uss, region->uss);
		add_fact(&total->swap, region->swap);
		add_fact(&total->copied, region->copied);
	}
	for (size_t i = 0; i < VMAT_KIND_COUNT; i++) {
		if (totals[i].count)
			ret[count++] = totals[i];
	}
	return count;
}
