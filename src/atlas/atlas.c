/* SPDX-License-Identifier: MIT */
/*
 * atlas.c: composing an atlas, and marking what is partial of it.
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
		free(atlas->priv->heads);
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
		err = vmat_atlas_settle(atlas);
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
		struct vmat_error why = { 0 };

		code = read_owners(atlas, target);
		if (code)
			return vmat_error_set(err, code, "out of memory");
		/* The memory behind the claims may be that of another program by now. */
		if (vmat_target_check(target, &why))
			mark_partial(atlas, why.text);
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
