/* SPDX-License-Identifier: MIT */
/*
 * The list map.totals, and map.owners: the same sums by owner instead of by kind.
 */
#include <errno.h>
#include <stdlib.h>

#include "export/list_field.h"
#include "export/list_region.h"

#define EVERYWHERE (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

enum total_column {
	KIND,
	COUNT,
	SIZE,
	RSS,
	COPIED,
	SWAP,
	PSS,
	USS,
};

static const struct vmat_column columns[] = {
	[KIND] = { "KIND", "kind", VMAT_TYPE_STRING, EVERYWHERE, VMAT_NEED_OWNERS,
		   "one of the KINDS; `all` ends the table", "map.regions", .is_tinted = true },
	[COUNT] = { "COUNT", "count", VMAT_TYPE_COUNT, EVERYWHERE, VMAT_NEED_OWNERS,
		    "how many regions", "map.regions" },
	[SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, EVERYWHERE, VMAT_NEED_OWNERS,
		   "sum of their sizes", "map.regions" },
	[RSS] = { "RSS", "rss", VMAT_TYPE_BYTES, EVERYWHERE, VMAT_NEED_OWNERS | VMAT_NEED_PAGES,
		  "sum of what is resident", "map.regions" },
	[COPIED] = { "COPIED", "copied", VMAT_TYPE_BYTES, EVERYWHERE,
		     VMAT_NEED_OWNERS | VMAT_NEED_COPIED, "sum of what was copied on write",
		     "map.regions" },
	[SWAP] = { "SWAP", "swap", VMAT_TYPE_BYTES, EVERYWHERE, VMAT_NEED_OWNERS | VMAT_NEED_PAGES,
		   "sum of what is in swap", "map.regions" },
	[PSS] = { "PSS", "pss", VMAT_TYPE_BYTES, EVERYWHERE, VMAT_NEED_OWNERS | VMAT_NEED_SMAPS,
		  "sum of the proportional sizes", "map.regions" },
	[USS] = { "USS", "uss", VMAT_TYPE_BYTES, EVERYWHERE, VMAT_NEED_OWNERS | VMAT_NEED_SMAPS,
		  "sum of the private sizes", "map.regions" },
};

static const uint16_t fields[] = {
	[COUNT] = offsetof(struct vmat_total, count),
	[SIZE] = offsetof(struct vmat_total, size),
	[RSS] = offsetof(struct vmat_total, rss),
	[COPIED] = offsetof(struct vmat_total, copied),
	[SWAP] = offsetof(struct vmat_total, swap),
	[PSS] = offsetof(struct vmat_total, pss),
	[USS] = offsetof(struct vmat_total, uss),
};

/* What a sum of nothing is: it takes the first part that applies. */
#define NOTHING VMAT_UNKNOWN(VMAT_NOT_APPLICABLE)

/* A sum is unknown as soon as one part of it is; parts that do not apply add nothing. */
static void add(uint64_t *sum, uint64_t part)
{
	if (part == NOTHING)
		return;
	if (*sum == NOTHING || !vmat_is_known(part))
		*sum = part;
	else if (vmat_is_known(*sum))
		*sum += part;
}

static const struct vmat_total no_total = {
	.kind = VMAT_KIND_COUNT,
	.count = NOTHING,
	.size = NOTHING,
	.rss = NOTHING,
	.pss = NOTHING,
	.uss = NOTHING,
	.swap = NOTHING,
	.copied = NOTHING,
};

static void add_total(struct vmat_total *sum, const struct vmat_total *part)
{
	add(&sum->count, part->count);
	add(&sum->size, part->size);
	add(&sum->rss, part->rss);
	add(&sum->copied, part->copied);
	add(&sum->swap, part->swap);
	add(&sum->pss, part->pss);
	add(&sum->uss, part->uss);
}

void vmat_totals_view_init(struct vmat_totals_view *ret, const struct vmat_atlas *atlas,
			   bool has_sum)
{
	bool is_bound[VMAT_KIND_COUNT] = { false }, any = false;

	*ret = (struct vmat_totals_view){ .count = 0 };
	if (!atlas->owners)
		return;
	for (size_t i = 0; i < atlas->map->count; i++)
		if (atlas->map->regions[i].rss_is_upper_bound && atlas->map->regions[i].rss)
			any = is_bound[atlas->owners[i].kind] = true;
	ret->count = vmat_atlas_totals(atlas, ret->totals);
	for (size_t i = 0; i < ret->count; i++)
		ret->rss_is_upper_bound[i] = is_bound[ret->totals[i].kind];
	if (!has_sum)
		return;
	ret->has_sum = true;
	ret->totals[ret->count] = no_total;
	for (size_t i = 0; i < ret->count; i++)
		add_total(&ret->totals[ret->count], &ret->totals[i]);
	ret->rss_is_upper_bound[ret->count++] = any;
}

static void total_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_totals_view *view = model;
	const struct vmat_total *total = &view->totals[row];

	if (column == KIND) {
		ret->text = total->kind < VMAT_KIND_COUNT ? vmat_kind_name(total->kind) : "all";
		return;
	}
	ret->number = vmat_field(total, fields[column]);
	ret->is_upper_bound = column == RSS && view->rss_is_upper_bound[row];
}

static enum vmat_tint total_tint(const void *model, size_t row)
{
	return vmat_kind_tint(((const struct vmat_totals_view *)model)->totals[row].kind);
}

const struct vmat_list vmat_list_totals = {
	.name = "map.totals",
	.key = "totals",
	.columns = columns,
	.columns_count = VMAT_COLUMNS_COUNT(columns),
	.cell = total_cell,
	.tint = total_tint,
	.meaning = "the regions of one kind together",
};

enum owner_column {
	OWNER_OWNER,
	OWNER_KIND,
	OWNER_COUNT,
	OWNER_SIZE,
	OWNER_RSS,
	OWNER_COPIED,
	OWNER_SWAP,
	OWNER_PSS,
	OWNER_USS,
	OWNER_REGIONS,
};

static const struct vmat_column owner_columns[] = {
	[OWNER_OWNER] = { "OWNER", "owner", VMAT_TYPE_STRING, EVERYWHERE, VMAT_NEED_OWNERS,
			  "whose regions they are; those without an owner stand under their kind",
			  "map.regions", .child_key = "start", .ample = 2 },
	[OWNER_KIND] = { "KIND", "kind", VMAT_TYPE_STRING, EVERYWHERE, VMAT_NEED_OWNERS,
			 "the kind of most of its bytes", "map.regions", .is_tinted = true },
	[OWNER_COUNT] = { "COUNT", "count", VMAT_TYPE_COUNT, EVERYWHERE, VMAT_NEED_OWNERS,
			  "how many regions", "map.regions" },
	[OWNER_SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, EVERYWHERE, VMAT_NEED_OWNERS,
			 "sum of their sizes", "map.regions" },
	[OWNER_RSS] = { "RSS", "rss", VMAT_TYPE_BYTES, EVERYWHERE,
			VMAT_NEED_OWNERS | VMAT_NEED_PAGES, "sum of what is resident",
			"map.regions" },
	[OWNER_COPIED] = { "COPIED", "copied", VMAT_TYPE_BYTES, EVERYWHERE,
			   VMAT_NEED_OWNERS | VMAT_NEED_COPIED, "sum of what was copied on write",
			   "map.regions" },
	[OWNER_SWAP] = { "SWAP", "swap", VMAT_TYPE_BYTES, EVERYWHERE,
			 VMAT_NEED_OWNERS | VMAT_NEED_PAGES, "sum of what is in swap",
			 "map.regions" },
	[OWNER_PSS] = { "PSS", "pss", VMAT_TYPE_BYTES, 0, VMAT_NEED_OWNERS | VMAT_NEED_SMAPS,
			"sum of the proportional sizes", "map.regions" },
	[OWNER_USS] = { "USS", "uss", VMAT_TYPE_BYTES, 0, VMAT_NEED_OWNERS | VMAT_NEED_SMAPS,
			"sum of the private sizes", "map.regions" },
	[OWNER_REGIONS] = { "REGIONS", "regions", VMAT_TYPE_ROWS, VMAT_SHOW_JSON, VMAT_NEED_OWNERS,
			    "the regions themselves", "map.regions" },
};

static const uint16_t owner_fields[] = {
	[OWNER_COUNT] = offsetof(struct vmat_total, count),
	[OWNER_SIZE] = offsetof(struct vmat_total, size),
	[OWNER_RSS] = offsetof(struct vmat_total, rss),
	[OWNER_COPIED] = offsetof(struct vmat_total, copied),
	[OWNER_SWAP] = offsetof(struct vmat_total, swap),
	[OWNER_PSS] = offsetof(struct vmat_total, pss),
	[OWNER_USS] = offsetof(struct vmat_total, uss),
};

/* The name that regions are gathered under. */
static const char *group_name(const struct vmat_owner *owner)
{
	return owner->owner[0] ? owner->owner : vmat_kind_name(owner->kind);
}

static int compare_names(const void *left, const void *right, void *context)
{
	const struct vmat_owner *owners = context;
	size_t a = *(const size_t *)left, b = *(const size_t *)right;
	int order = strcmp(group_name(&owners[a]), group_name(&owners[b]));

	return order ? order : a < b ? -1 : 1;
}

/* Most resident first, then largest. */
static int compare_groups(const void *left, const void *right)
{
	const struct vmat_owner_group *a = left, *b = right;

	if (vmat_is_known(a->total.rss) && vmat_is_known(b->total.rss) &&
	    a->total.rss != b->total.rss)
		return a->total.rss > b->total.rss ? -1 : 1;
	if (a->total.size != b->total.size)
		return a->total.size > b->total.size ? -1 : 1;
	return strcmp(a->owner, b->owner);
}

static struct vmat_total region_total(const struct vmat_region *region)
{
	return (struct vmat_total){
		.count = 1,
		.size = vmat_region_size(region),
		.rss = region->rss,
		.copied = region->copied,
		.swap = region->swap,
		.pss = region->pss,
		.uss = region->uss,
	};
}

/* Sums up the group of the regions order[begin] to order[end - 1]. */
static void fill_group(struct vmat_owner_group *group, const struct vmat_regions_view *view,
		       const size_t *order, size_t count)
{
	uint64_t largest = 0;

	*group = (struct vmat_owner_group){
		.owner = group_name(&view->atlas->owners[order[0]]),
		.total = no_total,
		.regions = { .list = &vmat_list_regions,
			     .model = view,
			     .order = order,
			     .count = count },
	};
	for (size_t i = 0; i < count; i++) {
		const struct vmat_region *region = &view->atlas->map->regions[order[i]];
		struct vmat_total total = region_total(region);

		add_total(&group->total, &total);
		if (total.size > largest) {
			largest = total.size;
			group->kind = view->atlas->owners[order[i]].kind;
		}
	}
}

int vmat_owner_groups_new(struct vmat_owner_groups **ret, const struct vmat_regions_view *view)
{
	const struct vmat_owner *owners = view->atlas->owners;
	size_t count = view->atlas->map->count;
	struct vmat_owner_groups *groups;

	if (!owners)
		return -EINVAL;
	groups = calloc(1, sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	groups->order = calloc(count + 1, sizeof(*groups->order));
	groups->groups = calloc(count + 1, sizeof(*groups->groups));
	if (!groups->order || !groups->groups) {
		vmat_owner_groups_free(groups);
		return -ENOMEM;
	}
	for (size_t i = 0; i < count; i++)
		groups->order[i] = i;
	/* compare_names only reads what it is given */
	qsort_r(groups->order, count, sizeof(*groups->order), compare_names,
		(void *)(uintptr_t)owners);
	for (size_t begin = 0, end; begin < count; begin = end) {
		const char *name = group_name(&owners[groups->order[begin]]);

		for (end = begin + 1;
		     end < count && !strcmp(name, group_name(&owners[groups->order[end]])); end++)
			;
		fill_group(&groups->groups[groups->count++], view, groups->order + begin,
			   end - begin);
	}
	qsort(groups->groups, groups->count, sizeof(*groups->groups), compare_groups);
	*ret = groups;
	return 0;
}

struct vmat_owner_groups *vmat_owner_groups_free(struct vmat_owner_groups *groups)
{
	if (groups) {
		free(groups->order);
		free(groups->groups);
		free(groups);
	}
	return NULL;
}

static void owner_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_owner_group *group =
		&((const struct vmat_owner_groups *)model)->groups[row];

	switch ((enum owner_column)column) {
	case OWNER_OWNER:
		ret->text = group->owner;
		break;
	case OWNER_KIND:
		ret->text = vmat_kind_name(group->kind);
		break;
	case OWNER_REGIONS:
		ret->rows = group->regions;
		break;
	default:
		ret->number = vmat_field(&group->total, owner_fields[column]);
	}
}

static enum vmat_tint owner_tint(const void *model, size_t row)
{
	return vmat_kind_tint(((const struct vmat_owner_groups *)model)->groups[row].kind);
}

const struct vmat_list vmat_list_owners = {
	.name = "map.owners",
	.key = "owners",
	.columns = owner_columns,
	.columns_count = VMAT_COLUMNS_COUNT(owner_columns),
	.cell = owner_cell,
	.tint = owner_tint,
	.meaning = "the regions of one owner together",
	.children = OWNER_REGIONS + 1,
};
