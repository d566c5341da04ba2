/* SPDX-License-Identifier: MIT */
/*
 * explanation.c: what is known of addresses, put together.
 *
 * Regions, owners and pages come from the atlas, which was read while the target ran. Blocks and references come
 * from one stop. Names of places and contents of blocks are looked up afterwards, for all addresses at once.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/explanation.h>
#include <vmatlas/page.h>

#include "base/cleanup.h"
#include "reach/chain.h"
#include "reach/chunk_number.h"
#include "reach/content.h"
#include "reach/place_text.h"

#define CANONICAL_END (UINT64_C(1) << 47) /* of user addresses, with four levels of page tables */
#define KERNEL_START  UINT64_C(0xffff800000000000)

struct vmat_explanations_priv {
	struct vmat_strings strings;
	struct vmat_leaks *leaks; /* NULL: not read */
	struct vmat_chains chains;
};

/* What is used while explanations are put together. */
struct work {
	struct vmat_explanations *all;
	struct vmat_target *target;
	const struct vmat_atlas *atlas;
	struct vmat_strings *strings;
	struct vmat_place_texts *texts;
	struct vmat_contents *contents;
	uint32_t (*classes)[1 + VMAT_CHAIN_MAX + VMAT_REFERRERS_MAX];
	struct vmat_content *blocks; /* of the block of each address */
	bool has_donated;            /* blocks may lie in the data of files, too */
};

const char *vmat_place_state_name(enum vmat_place_state state)
{
	static const char *const names[VMAT_PLACE_STATES] = {
		[VMAT_PLACE_MAPPED] = "mapped",
		[VMAT_PLACE_FREE] = "free",
		[VMAT_PLACE_NOT_CANONICAL] = "not canonical",
		[VMAT_PLACE_KERNEL] = "kernel",
	};

	return (unsigned)state < VMAT_PLACE_STATES ? names[state] : "";
}

const char *vmat_reach_state_name(enum vmat_reach_state state)
{
	static const char *const names[VMAT_REACH_STATES] = {
		[VMAT_REACH_UNKNOWN] = "",
		[VMAT_REACH_REACHED] = "reached",
		[VMAT_REACH_INTERIOR] = "interior only",
		[VMAT_REACH_HELD] = "leaked, held by leaked blocks",
		[VMAT_REACH_LEAKED] = "leaked",
	};

	return (unsigned)state < VMAT_REACH_STATES ? names[state] : "";
}

struct vmat_explanations *vmat_explanations_free(struct vmat_explanations *explanations)
{
	if (!explanations)
		return NULL;
	if (explanations->priv) {
		vmat_chains_deinit(&explanations->priv->chains);
		vmat_leaks_free(explanations->priv->leaks);
		vmat_strings_deinit(&explanations->priv->strings);
	}
	free(explanations->priv);
	free(explanations->list);
	free(explanations);
	return NULL;
}

static void cleanup_explanations(struct vmat_explanations **explanations)
{
	vmat_explanations_free(*explanations);
}

/* "0x1000 bytes behind data of libc.so.6" */
static const char *distance_text(const struct work *work, uint64_t bytes, const char *where,
				 size_t region)
{
	const struct vmat_owner *owner = &work->atlas->owners[region];

	return vmat_strings_printf(work->strings, "0x%" PRIx64 " bytes %s %s%s%s", bytes, where,
				   vmat_kind_name(owner->kind), owner->owner[0] ? " of " : "",
				   owner->owner);
}

/* Beyond the addresses that a program can have. */
static void explain_beyond(struct vmat_explanation *it)
{
	if (it->addr >= KERNEL_START) {
		it->state = VMAT_PLACE_KERNEL;
		it->start = KERNEL_START;
		it->end = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		it->why = "the half of the address space that is the kernel's";
	} else {
		it->state = VMAT_PLACE_NOT_CANONICAL;
		it->start = CANONICAL_END;
		it->end = KERNEL_START;
		it->why = "beyond 47 bits: an address only with five levels of page tables";
	}
}

/* What lies next to an address that is not mapped, and what that may mean. */
static int explain_gap(const struct work *work, struct vmat_explanation *it)
{
	const struct vmat_map *map = work->atlas->map;
	size_t above = vmat_map_find(map, it->addr);
	const char *below_text = "no region lies below", *above_text = "none above", *more = "";

	if (it->addr >= CANONICAL_END) {
		explain_beyond(it);
		return 0;
	}
	it->state = VMAT_PLACE_FREE;
	it->start = above ? map->regions[above - 1].end : 0;
	it->end = CANONICAL_END;
	if (above)
		below_text = distance_text(work, it->addr - it->start, "behind", above - 1);
	if (above < map->count && map->regions[above].start < CANONICAL_END) {
		const struct vmat_region *region = &map->regions[above];

		it->end = region->start;
		above_text = distance_text(work, it->end - it->addr, "before", above);
		if (strcmp(region->name, "[stack]") == 0 &&
		    vmat_target_process(work->target)->stack_limit > region->end - it->addr)
			more = "; the main stack may still grow to here";
	}
	if (it->addr < map->base_page_size)
		more = "; a null pointer, or a member of what one points to";
	if (!below_text || !above_text)
		return -ENOMEM;
	it->why = vmat_strings_printf(work->strings, "%s, %s%s", below_text, above_text, more);
	return it->why ? 0 : -ENOMEM;
}

static void explain_page(const struct work *work, struct vmat_explanation *it)
{
	const uint64_t size = work->atlas->map->base_page_size;
	const uint64_t page = it->addr & ~(size - 1);
	struct vmat_pages *pages;

	if (it->addr >= CANONICAL_END ||
	    vmat_pages_read(&pages, work->target, work->atlas->map, page, page + size,
			    VMAT_PAGES_EXCLUSIVE, NULL) < 0)
		return;
	if (pages->count == 1) {
		it->is_page_known = true;
		it->page_flags = pages->runs[0].flags & pages->runs[0].known;
		it->is_page_copied = pages->runs[0].is_copied;
		it->page_size = pages->runs[0].page_size;
	}
	vmat_pages_free(pages);
}

/* Sheets 1 to 3. */
static int explain_region(const struct work *work, struct vmat_explanation *it)
{
	const struct vmat_map *map = work->atlas->map;
	size_t i = vmat_map_find(map, it->addr);
	const struct vmat_owner *owner;

	it->region = map->count;
	it->kind = it->owner = it->why = it->name = it->name_why_not = "";
	it->type = it->preview = "";
	it->page_size = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	it->block_offset = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	it->referrers_total = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	it->why_no_block = "not in a heap";
	if (i == map->count || map->regions[i].start > it->addr)
		return explain_gap(work, it);
	owner = &work->atlas->owners[i];
	it->state = VMAT_PLACE_MAPPED;
	it->region = i;
	it->start = map->regions[i].start;
	it->end = map->regions[i].end;
	it->kind = vmat_kind_name(owner->kind);
	it->owner = owner->owner;
	it->why = owner->why;
	for (size_t k = 0; k < owner->parts_count; k++) {
		const struct vmat_part *part = &owner->parts[k];

		if (it->addr >= part->start && it->addr < part->end) {
			it->kind = vmat_kind_name(part->kind);
			it->owner = part->owner;
			it->why = part->why;
		}
	}
	explain_page(work, it);
	return it->addr < CANONICAL_END
		       ? vmat_place_texts_ask(work->texts, it->addr, &it->name, &it->name_why_not)
		       : 0;
}

static bool is_kind(const struct vmat_explanation *it, enum vmat_kind kind)
{
	return strcmp(it->kind, vmat_kind_name(kind)) == 0;
}

/* Private data of a program or library, its bss included. */
static bool is_data(const struct work *work, const struct vmat_explanation *it)
{
	const struct vmat_region *region = &work->atlas->map->regions[it->region];

	return it->state == VMAT_PLACE_MAPPED && region->prot & VMAT_PROT_WRITE &&
	       !(region->prot & VMAT_PROT_SHARED) &&
	       (region->backing == VMAT_BACKING_FILE || is_kind(it, VMAT_KIND_BSS));
}

/* musl's loader gives malloc what is left of the pages of such data (ldso/dynlink.c: reclaim_gaps). */
static void find_donated(struct work *work)
{
	struct vmat_allocator allocator;
	bool is_asked = false;

	for (size_t i = 0; i < work->all->count; i++)
		is_asked |= is_data(work, &work->all->list[i]);
	work->has_donated =
		is_asked &&
		!vmat_allocator_read(&allocator, work->target, work->atlas->map, NULL) &&
		strcmp(allocator.name, vmat_musl_ops.name) == 0;
}

/* May a block of malloc lie there? Stacks, files and what has no rights are none of it. */
static bool may_be_heap(const struct work *work, const struct vmat_explanation *it)
{
	const struct vmat_region *region;

	if (it->state != VMAT_PLACE_MAPPED)
		return false;
	if (is_data(work, it))
		return work->has_donated;
	region = &work->atlas->map->regions[it->region];
	return region->backing == VMAT_BACKING_ANON && region->prot & VMAT_PROT_WRITE &&
	       !is_kind(it, VMAT_KIND_STACK) && !is_kind(it, VMAT_KIND_TLS);
}

/* A link by numbers as a reference by addresses. What it is, is asked for. */
static int take_link(const struct work *work, const struct vmat_link *link,
		     struct vmat_reference *ret, uint32_t *ret_class)
{
	const struct vmat_explanations_priv *priv = work->all->priv;
	const struct vmat_leaks_priv *reach = priv->leaks->priv;
	struct vmat_content content;
	struct vmat_chunk chunk;

	*ret = (struct vmat_reference){
		.addr = link->place,
		.block_addr = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
		.block_size = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
		.block_offset = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
		.is_into = link->is_into,
		.type = "",
		.what = "",
	};
	if (vmat_heap_find(priv->leaks->heap, vmat_chunk_addr(reach, link->to), &chunk)) {
		ret->to_addr = chunk.block_addr;
		ret->to_size = chunk.block_size;
	}
	if (link->is_root) {
		if (link->place >> 63)
			ret->addr = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		return vmat_place_texts_ask(work->texts, link->place, &ret->what, NULL);
	}
	if (!vmat_heap_find(priv->leaks->heap, vmat_chunk_addr(reach, link->from), &chunk))
		return 0;
	ret->block_addr = chunk.block_addr;
	ret->block_size = chunk.block_size;
	ret->block_offset =
		vmat_is_known(link->place) ? link->place - chunk.block_addr : link->place;
	vmat_contents_look(work->contents, chunk.block_addr, chunk.block_size, &content, ret_class);
	ret->type = content.type;
	return 0;
}

static enum vmat_reach_state reach_of(const struct vmat_leaks *leaks, uint32_t number,
				      const struct vmat_chunk *chunk)
{
	unsigned flags = leaks->priv->flags[number];

	if (!(flags & VMAT_CHUNK_USED))
		return VMAT_REACH_UNKNOWN;
	if (flags & VMAT_REACHED_START)
		return VMAT_REACH_REACHED;
	if (flags & VMAT_REACHED)
		return VMAT_REACH_INTERIOR;
	for (size_t i = 0; i < leaks->count; i++)
		if (leaks->leaks[i].addr == chunk->block_addr)
			return VMAT_REACH_LEAKED;
	return VMAT_REACH_HELD;
}

/* Sheet 4: the block, the way to it, and who refers to it. */
static int explain_block(const struct work *work, struct vmat_explanation *it, size_t i)
{
	struct vmat_explanations_priv *priv = work->all->priv;
	struct vmat_link chain[VMAT_CHAIN_MAX], referrers[VMAT_REFERRERS_MAX];
	uint32_t number, *classes = work->classes[i];
	int err = 0;

	if (!vmat_heap_find(priv->leaks->heap, it->addr, &it->block)) {
		if (may_be_heap(work, it))
			it->why_no_block = "no block of the heap that was walked lies there";
		return 0;
	}
	it->why_no_block = "";
	if (it->addr >= it->block.block_addr)
		it->block_offset = it->addr - it->block.block_addr;
	number = vmat_chains_chunk(&priv->chains, it->block.addr);
	if (number == VMAT_NO_CHUNK)
		return 0;
	it->reach = reach_of(priv->leaks, number, &it->block);
	if (it->reach == VMAT_REACH_UNKNOWN)
		return 0;
	vmat_contents_look(work->contents, it->block.block_addr, it->block.block_size,
			   &work->blocks[i], &classes[0]);
	it->type = work->blocks[i].type;
	it->preview = vmat_strings_printf(work->strings, "%s", work->blocks[i].preview);
	it->chain_count =
		vmat_chains_way(&priv->chains, number, chain, VMAT_CHAIN_MAX, &it->chain_total);
	it->referrers_count = vmat_chains_referrers(&priv->chains, number, referrers,
						    VMAT_REFERRERS_MAX, &it->referrers_total);
	for (size_t k = 0; k < it->chain_count && !err; k++)
		err = take_link(work, &chain[k], &it->chain[k], &classes[1 + k]);
	for (size_t k = 0; k < it->referrers_count && !err; k++)
		err = take_link(work, &referrers[k], &it->referrers[k],
				&classes[1 + VMAT_CHAIN_MAX + k]);
	return err || !it->preview ? -ENOMEM : 0;
}

/* Puts the names of classes where only contents stood. */
static void name_classes(const struct work *work)
{
	for (size_t i = 0; i < work->all->count; i++) {
		struct vmat_explanation *it = &work->all->list[i];
		const uint32_t *classes = work->classes[i];
		const char *type = vmat_contents_class(work->contents, classes[0]);

		if (type)
			it->type = type;
		for (size_t k = 0; k < it->chain_count; k++) {
			type = vmat_contents_class(work->contents, classes[1 + k]);
			if (type)
				it->chain[k].type = type;
		}
		for (size_t k = 0; k < it->referrers_count; k++) {
			type = vmat_contents_class(work->contents, classes[1 + VMAT_CHAIN_MAX + k]);
			if (type)
				it->referrers[k].type = type;
		}
	}
}

static int explain_blocks(struct work *work)
{
	struct vmat_explanations_priv *priv = work->all->priv;
	const struct vmat_leaks_priv *reach = priv->leaks->priv;
	size_t count = work->all->count;
	int err = priv->leaks->priv->segments_count
			  ? vmat_chains_init(&priv->chains, priv->leaks->priv,
					     vmat_place_texts_tls_size(work->texts))
			  : -ENOENT;

	if (err == -ENOENT)
		return 0;
	vmat_place_texts_stacks(work->texts, reach->stacks, reach->stack_pointers);
	work->contents = vmat_contents_new(work->target, priv->leaks->heap->priv->map, reach->low,
					   reach->high, work->strings);
	work->classes = calloc(count + 1, sizeof(*work->classes));
	work->blocks = calloc(count + 1, sizeof(*work->blocks));
	if (err || !work->contents || !work->classes || !work->blocks)
		return -ENOMEM;
	for (size_t i = 0; i < count && !err; i++)
		err = explain_block(work, &work->all->list[i], i);
	if (!err)
		err = vmat_contents_name(work->contents);
	if (!err)
		name_classes(work);
	return err;
}

/* Reads the references, when an address may lie in the heap. Why not is said, and is no failure. */
static int read_references(struct work *work, const struct vmat_leaks_options *options)
{
	struct vmat_explanations *all = work->all;
	struct vmat_error err = { 0 };
	const char *why = NULL;
	bool is_wanted = false;
	int code;

	all->stopped_ns = VMAT_UNKNOWN(VMAT_NOT_ASKED);
	find_donated(work);
	for (size_t i = 0; i < all->count; i++)
		is_wanted |= may_be_heap(work, &all->list[i]);
	if (!is_wanted)
		return 0;
	if (options->heap.is_running_allowed) {
		why = "not asked for: the process was not stopped";
	} else {
		code = vmat_reach_read(&all->priv->leaks, work->target, work->atlas->map, options,
				       true, &err);
		if (code == -ENOMEM)
			return code;
		if (code) {
			why = vmat_strings_printf(work->strings, "%s", err.text);
			all->is_partial = code != -EOPNOTSUPP;
			snprintf(all->partial_why, sizeof(all->partial_why), "%s", err.text);
		}
	}
	for (size_t i = 0; i < all->count && why; i++)
		if (may_be_heap(work, &all->list[i]))
			all->list[i].why_no_block = why;
	if (!all->priv->leaks)
		return 0;
	all->stopped_ns = all->priv->leaks->heap->stopped_ns;
	if (all->priv->leaks->is_partial) {
		all->is_partial = true;
		snprintf(all->partial_why, sizeof(all->partial_why), "%s",
			 all->priv->leaks->partial_why);
	}
	return explain_blocks(work);
}

static int put_together(struct work *work, const struct vmat_leaks_options *options)
{
	int err = 0;

	work->texts = vmat_place_texts_new(work->target, work->atlas, work->strings);
	if (!work->texts)
		return -ENOMEM;
	for (size_t i = 0; i < work->all->count && !err; i++)
		err = explain_region(work, &work->all->list[i]);
	if (!err)
		err = read_references(work, options);
	if (!err)
		err = vmat_place_texts_write(work->texts);
	vmat_place_texts_free(work->texts);
	vmat_contents_free(work->contents);
	free(work->classes);
	free(work->blocks);
	return err;
}

int vmat_explanations_read(struct vmat_explanations **ret, struct vmat_target *target,
			   const struct vmat_atlas *atlas, const uint64_t *addrs, size_t count,
			   const struct vmat_leaks_options *options, struct vmat_error *err)
{
	vmat_cleanup(cleanup_explanations) struct vmat_explanations *all = calloc(1, sizeof(*all));
	struct work work = { .all = all, .target = target, .atlas = atlas };

	if (!atlas->owners)
		return vmat_error_set(err, -EINVAL, "the atlas has no owners");
	if (all) {
		all->priv = calloc(1, sizeof(*all->priv));
		all->list = calloc(count + 1, sizeof(*all->list));
	}
	if (!all || !all->priv || !all->list)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	all->count = count;
	for (size_t i = 0; i < count; i++)
		all->list[i].addr = addrs[i];
	work.strings = &all->priv->strings;
	if (put_together(&work, options))
		return vmat_error_set(err, -ENOMEM, "out of memory");
	*ret = vmat_take_ptr(&all);
	return 0;
}
