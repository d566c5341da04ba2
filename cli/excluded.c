/* SPDX-License-Identifier: MIT */
/* Which memory --exclude-root stands for: see excluded.h. */
#include "excluded.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "number.h"
#include "report.h"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Is region `i`, or the part of it, of the file that is called so? bss has the file as its owner only. */
static bool is_called(const struct vmat_atlas *atlas, size_t i, const char *owner, const char *name)
{
	const char *path = atlas->map->regions[i].name;

	if (name[0] == '/')
		return strcmp(path, name) == 0 ||
		       (!path[0] && owner[0] && strcmp(owner, base_name(name)) == 0);
	return strcmp(owner, name) == 0 || (path[0] == '/' && strcmp(base_name(path), name) == 0) ||
	       (path[0] == '[' && strcmp(path, name) == 0);
}

static void add(struct cli_excluded *excluded, uint64_t start, uint64_t end)
{
	excluded->ranges[excluded->count++] = (struct vmat_excluded){ start, end };
}

static size_t add_called(struct cli_excluded *excluded, const struct vmat_atlas *atlas,
			 const char *name)
{
	size_t before = excluded->count;

	for (size_t i = 0; i < atlas->map->count; i++) {
		const struct vmat_owner *owner = &atlas->owners[i];
		const struct vmat_region *region = &atlas->map->regions[i];

		if (!owner->parts_count) {
			if (is_called(atlas, i, owner->owner, name))
				add(excluded, region->start, region->end);
			continue;
		}
		for (size_t k = 0; k < owner->parts_count; k++)
			if (is_called(atlas, i, owner->parts[k].owner, name))
				add(excluded, owner->parts[k].start, owner->parts[k].end);
	}
	return excluded->count - before;
}

/* One value. False when it fits nothing. */
static bool add_value(struct cli_excluded *excluded, const struct vmat_atlas *atlas,
		      const char *value)
{
	const struct vmat_region *region;
	struct vmat_excluded range;
	uint64_t addr;

	if (add_called(excluded, atlas, value))
		return true;
	if (cli_parse_range(value, &range.start, &range.end)) {
		add(excluded, range.start, range.end);
		return true;
	}
	region = cli_parse_addr(value, &addr) ? vmat_map_at(atlas->map, addr) : NULL;
	if (region)
		add(excluded, region->start, region->end);
	return region;
}

static int compare(const void *a, const void *b)
{
	const struct vmat_excluded *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

/* Makes them ascending, and one of those that touch. */
static void merge(struct cli_excluded *excluded)
{
	size_t kept = 0;

	qsort(excluded->ranges, excluded->count, sizeof(*excluded->ranges), compare);
	for (size_t i = 0; i < excluded->count; i++) {
		const struct vmat_excluded range = excluded->ranges[i];

		if (kept && range.start <= excluded->ranges[kept - 1].end) {
			if (range.end > excluded->ranges[kept - 1].end)
				excluded->ranges[kept - 1].end = range.end;
		} else {
			excluded->ranges[kept++] = range;
		}
	}
	excluded->count = kept;
}

int cli_excluded_read(struct cli_excluded *ret, const struct cli_values *values,
		      const struct vmat_atlas *atlas)
{
	size_t most = 1;

	*ret = (struct cli_excluded){ .count = 0 };
	for (size_t i = 0; i < atlas->map->count; i++)
		most += atlas->owners[i].parts_count ? atlas->owners[i].parts_count : 1;
	if (!values->count)
		return CLI_OK;
	ret->ranges = calloc(most * values->count, sizeof(*ret->ranges));
	if (!ret->ranges)
		return cli_fail(&(struct vmat_error){ .code = -ENOMEM, .text = "out of memory" });
	for (size_t i = 0; i < values->count; i++) {
		if (!add_value(ret, atlas, values->values[i]))
			return cli_usage_error(
				"--exclude-root '%s' is no address, range, or name of "
				"a file that the process maps",
				values->values[i]);
	}
	merge(ret);
	return CLI_OK;
}

void cli_excluded_free(struct cli_excluded *excluded)
{
	free(excluded->ranges);
	*excluded = (struct cli_excluded){ .count = 0 };
}
