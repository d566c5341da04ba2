/* SPDX-License-Identifier: MIT */
/*
 * list_field.h: a column that is simply a uint64_t of a record is a row in a table of offsets.
 */
#ifndef VMAT_LIST_FIELD_H
#define VMAT_LIST_FIELD_H

#include <string.h>

#include <vmatlas/column.h>

#define VMAT_COLUMNS_COUNT(columns) (sizeof(columns) / sizeof((columns)[0]))

/* The uint64_t at `offset` of a record. */
static inline uint64_t vmat_field(const void *record, size_t offset)
{
	uint64_t number;

	memcpy(&number, (const char *)record + offset, sizeof(number));
	return number;
}

#endif
