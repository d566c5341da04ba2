/* SPDX-License-Identifier: MIT */
/* Choosing columns, reading cells and sorting rows: see vmatlas/column.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <vmatlas/column.h>

void vmat_selection_default(struct vmat_selection *ret, const struct vmat_list *list, uint32_t show)
{
	ret->count = 0;
	for (size_t i = 0; i < list->columns_count && i < VMAT_COLUMNS_MAX; i++)
		if (list->columns[i].show & show)
			ret->columns[ret->count++] = i;
}

void vmat_selection_all(struct vmat_selection *ret, const struct vmat_list *list)
{
	ret->count = 0;
	for (size_t i = 0; i < list->columns_count && i < VMAT_COLUMNS_MAX; i++)
		ret->columns[ret->count++] = i;
}

static bool name_is(const char *name, const char *text, size_t size)
{
	return strlen(name) == size && !strncasecmp(name, text, size);
}

size_t vmat_column_find(const struct vmat_list *list, const char *name, size_t name_size)
{
	size_t i = 0;

	while (i < list->columns_count && !name_is(list->columns[i].name, name, name_size) &&
	       !name_is(list->columns[i].key, name, name_size))
		i++;
	return i;
}

static int unknown_column(const struct vmat_list *list, const char *name, size_t name_size,
			  struct vmat_error *err)
{
	char names[400];
	size_t used = 0;

	for (size_t i = 0; i < list->columns_count && used < sizeof(names); i++) {
		int n = snprintf(names + used, sizeof(names) - used, "%s%s", i ? " " : "",
				 list->columns[i].name);

		used += n > 0 ? (size_t)n : 0;
	}
	return vmat_error_set(err, -EINVAL, "unknown column '%.*s'\nThe columns are: %s",
			      (int)(name_size < 40 ? name_size : 40), name, names);
}

int vmat_selection_parse(struct vmat_selection *selection, const struct vmat_list *list,
			 const char *text, struct vmat_error *err)
{
	struct vmat_selection chosen = { .count = 0 };

	if (*text == '+') {
		chosen = *selection;
		text++;
	}
	for (const char *name = text;; name++) {
		size_t size = strcspn(name, ",");
		size_t column = vmat_column_find(list, name, size);

		if (column == list->columns_count)
			return unknown_column(list, name, size, err);
		if (chosen.count == VMAT_COLUMNS_MAX)
			return vmat_error_set(err, -EINVAL, "too many columns, the most is %d",
					      VMAT_COLUMNS_MAX);
		chosen.columns[chosen.count++] = column;
		name += size;
		if (!*name)
			break;
	}
	*selection = chosen;
	return 0;
}

void vmat_selection_limit(struct vmat_selection *selection, const struct vmat_list *list,
			  uint32_t read)
{
	size_t kept = 0;

	for (size_t i = 0; i < selection->count; i++)
		if (!(list->columns[selection->columns[i]].need & ~read))
			selection->columns[kept++] = selection->columns[i];
	selection->count = kept;
}

uint32_t vmat_selection_needs(const struct vmat_selection *selection, const struct vmat_list *list)
{
	uint32_t needs = 0;

	for (size_t i = 0; i < selection->count; i++)
		needs |= list->columns[selection->columns[i]].need;
	return needs;
}

const char *vmat_type_name(enum vmat_type type)
{
	static const char *const names[] = {
		[VMAT_TYPE_BYTES] = "bytes",    [VMAT_TYPE_COUNT] = "count",
		[VMAT_TYPE_ADDR] = "address",   [VMAT_TYPE_STRING] = "text",
		[VMAT_TYPE_BOOL] = "yes or no", [VMAT_TYPE_WORDS] = "words",
		[VMAT_TYPE_ROWS] = "rows",
	};

	return names[type];
}

void vmat_rows_cell(const struct vmat_rows *rows, size_t row, size_t column, struct vmat_value *ret)
{
	ret->number = 0;
	ret->text = NULL;
	ret->is_upper_bound = false;
	ret->is_count = false;
	rows->list->cell(rows->model, rows->order ? rows->order[row] : row, column, ret);
}

enum vmat_tint vmat_rows_tint(const struct vmat_rows *rows, size_t row)
{
	if (!rows->list->tint)
		return VMAT_TINT_NONE;
	return rows->list->tint(rows->model, rows->order ? rows->order[row] : row);
}

struct sort_key {
	uint64_t number;
	char *text;
	size_t place; /* before sorting: qsort is not stable */
	size_t row;
};

static int compare_keys(const void *left, const void *right)
{
	const struct sort_key *a = left, *b = right;

	if (a->text && b->text) {
		int order = strcmp(a->text, b->text);

		if (order)
			return order;
	} else if (a->number != b->number) {
		return a->number < b->number ? -1 : 1;
	}
	return a->place < b->place ? -1 : 1;
}

static void free_keys(struct sort_key *keys, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(keys[i].text);
	free(keys);
}

/* Fills one key. A text that is unknown has number UNKNOWN and so comes last. */
static int read_key(const struct vmat_rows *rows, size_t row, size_t column, struct sort_key *key)
{
	struct vmat_value value;

	vmat_rows_cell(rows, row, column, &value);
	key->number = value.number;
	key->place = row;
	key->row = rows->order ? rows->order[row] : row;
	if (rows->list->columns[column].type != VMAT_TYPE_STRING || !value.text)
		return 0;
	key->text = strdup(value.text);
	return key->text ? 0 : -ENOMEM;
}

int vmat_rows_sort(const struct vmat_rows *rows, size_t column, size_t **ret)
{
	struct sort_key *keys;
	size_t *order;
	int r = 0;

	if (rows->list->columns[column].type == VMAT_TYPE_ROWS)
		return -EINVAL;
	keys = calloc(rows->count + 1, sizeof(*keys));
	order = calloc(rows->count + 1, sizeof(*order));
	if (!keys || !order)
		r = -ENOMEM;
	for (size_t i = 0; i < rows->count && r >= 0; i++)
		r = read_key(rows, i, column, &keys[i]);
	if (r >= 0) {
		qsort(keys, rows->count, sizeof(*keys), compare_keys);
		for (size_t i = 0; i < rows->count; i++)
			order[i] = keys[i].row;
		*ret = order;
		order = NULL;
	}
	if (keys)
		free_keys(keys, rows->count);
	free(order);
	return r;
}
