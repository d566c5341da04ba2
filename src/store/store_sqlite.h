/* SPDX-License-Identifier: MIT */
/*
 * store_sqlite.h: what the writer and the reader share of SQLite: its errors as errno, and rows whose types are checked.
 */
#ifndef VMAT_STORE_SQLITE_H
#define VMAT_STORE_SQLITE_H

#include <sqlite3.h>

#include <vmatlas/base.h>

/* The negative errno of a result code of `db`; 0 for SQLITE_OK, SQLITE_ROW and SQLITE_DONE. */
int store_errno(sqlite3 *db, int rc);

/* Runs statements without results. 0 or a negative errno. */
int store_exec(sqlite3 *db, const char *sql);

/*
 * One row of a query. A column that does not hold what it should makes the row bad: the getters then return nothing
 * (0, "", unknown), and is_bad stays.
 */
struct store_row {
	sqlite3_stmt *statement;
	bool is_bad;
};

/* An integer that is not negative; NULL is bad. */
uint64_t store_number(struct store_row *row, int column);
/* The same; NULL is unknown (VMAT_NOT_RECORDED). */
uint64_t store_number_or_null(struct store_row *row, int column);
/* Any integer. */
int64_t store_integer(struct store_row *row, int column);
/* A finite number; NULL is NAN. */
double store_real(struct store_row *row, int column);
/* A text without a NUL. Lifetime: until the statement steps. */
const char *store_text(struct store_row *row, int column);
/* Copies it, cut where it is longer. */
void store_text_copy(struct store_row *row, int column, char *ret, size_t size);

#endif
