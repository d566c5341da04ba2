/* SPDX-License-Identifier: MIT */
/* See store_sqlite.h. What result codes mean: sqlite.org/rescode.html. */
#include "store/store_sqlite.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

int store_errno(sqlite3 *db, int rc)
{
	int system;

	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return -EROFS;
	case SQLITE_TOOBIG:
	case SQLITE_INTERRUPT:
		return -EFBIG;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		system = db ? sqlite3_system_errno(db) : 0;
		return system > 0 ? -system : -EIO;
	default:
		return -EBADMSG;
	}
}

int store_exec(sqlite3 *db, const char *sql)
{
	return store_errno(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static bool is_a(struct store_row *row, int column, int type)
{
	bool fits = sqlite3_column_type(row->statement, column) == type;

	row->is_bad |= !fits;
	return fits;
}

int64_t store_integer(struct store_row *row, int column)
{
	return is_a(row, column, SQLITE_INTEGER) ? sqlite3_column_int64(row->statement, column) : 0;
}

uint64_t store_number(struct store_row *row, int column)
{
	int64_t number = store_integer(row, column);

	row->is_bad |= number < 0;
	return number < 0 ? 0 : (uint64_t)number;
}

uint64_t store_number_or_null(struct store_row *row, int column)
{
	if (sqlite3_column_type(row->statement, column) == SQLITE_NULL)
		return VMAT_UNKNOWN(VMAT_NOT_RECORDED);
	return store_number(row, column);
}

double store_real(struct store_row *row, int column)
{
	double number;

	if (sqlite3_column_type(row->statement, column) == SQLITE_NULL)
		return (double)NAN;
	if (sqlite3_column_type(row->statement, column) == SQLITE_INTEGER)
		return (double)sqlite3_column_int64(row->statement, column);
	if (!is_a(row, column, SQLITE_FLOAT))
		return (double)NAN;
	number = sqlite3_column_double(row->statement, column);
	row->is_bad |= !isfinite(number);
	return number;
}

const char *store_text(struct store_row *row, int column)
{
	const char *text;

	if (!is_a(row, column, SQLITE_TEXT))
		return "";
	text = (const char *)sqlite3_column_text(row->statement, column);
	if (!text || strlen(text) != (size_t)sqlite3_column_bytes(row->statement, column)) {
		row->is_bad = true;
		return "";
	}
	return text;
}

void store_text_copy(struct store_row *row, int column, char *ret, size_t size)
{
	snprintf(ret, size, "%s", store_text(row, column));
}
