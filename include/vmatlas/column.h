/* SPDX-License-Identifier: MIT */
/*
 * column.h: what a list of facts consists of: its columns, once, for every outlet.
 *
 * The nouns:
 *   column  one fact about a row: its name, its unit, what must be read for it, what it means and
 *           where it comes from
 *   list    the columns of one kind of row ("map.regions") and the function that gives a cell
 *   rows    a list over a model: what a writer (export.h) writes
 *   value   one cell
 *
 * Tables, CSV, JSON, --help, the COLUMNS of the manual pages and the completions are all made from
 * these tables; nothing else knows a column's name. All of it is pure: models in, values out.
 */
#ifndef VMATLAS_COLUMN_H
#define VMATLAS_COLUMN_H

#include <vmatlas/analyze.h>
#include <vmatlas/atlas.h>
#include <vmatlas/base.h>
#include <vmatlas/explanation.h>
#include <vmatlas/fault_cause.h>
#include <vmatlas/heap.h>
#include <vmatlas/page.h>
#include <vmatlas/reach.h>
#include <vmatlas/rtos.h>
#include <vmatlas/sample.h>
#include <vmatlas/strip.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_type {
	VMAT_TYPE_BYTES,  /* a size: "1.2M" for people, an integer for programs */
	VMAT_TYPE_COUNT,  /* a number of things */
	VMAT_TYPE_ADDR,   /* "0x7f..." everywhere */
	VMAT_TYPE_STRING, /* as the target gives it: escaped only when it is written */
	VMAT_TYPE_BOOL,
	VMAT_TYPE_WORDS, /* a set of bits that have names: "present,file", a JSON array */
	VMAT_TYPE_ROWS, /* further rows that belong to this one: a JSON array, indented in tables */
};

/* Where a column is shown when nobody chooses. */
enum vmat_show {
	VMAT_SHOW_TABLE = 1, /* fits 80 columns */
	VMAT_SHOW_WIDE = 2,  /* joins the table when there is room: VMAT_WIDE_COLUMNS */
	VMAT_SHOW_JSON = 4,  /* costs no more than the columns of the table do */
};

#define VMAT_WIDE_COLUMNS 120

/* What must be read before a column can be shown. */
enum vmat_need {
	VMAT_NEED_PAGES = 1 << 0,      /* VMAT_WANT_PAGES */
	VMAT_NEED_COPIED = 1 << 1,     /* VMAT_WANT_COPIED */
	VMAT_NEED_SMAPS = 1 << 2,      /* VMAT_WANT_SMAPS */
	VMAT_NEED_OWNERS = 1 << 3,     /* VMAT_ATLAS_OWNERS */
	VMAT_NEED_EXCLUSIVE = 1 << 4,  /* VMAT_PAGES_EXCLUSIVE */
	VMAT_NEED_FRAMES = 1 << 5,     /* VMAT_PAGES_FRAMES */
	VMAT_NEED_KPAGEFLAGS = 1 << 6, /* VMAT_PAGES_KPAGEFLAGS */
};

struct vmat_column {
	const char *name; /* heads the table: "SIZE" */
	const char *key;  /* of JSON and CSV: "size" */
	enum vmat_type type;
	uint32_t show;       /* enum vmat_show */
	uint32_t need;       /* enum vmat_need */
	const char *meaning; /* one sentence, without full stop */
	const char *origin;  /* "smaps: Pss" */
	const char *(*word)(
		unsigned bit); /* VMAT_TYPE_WORDS: the name of a bit, NULL when it has none */
	const char
		*child_key; /* the column of its children that stands below it; NULL: of this key */
	bool is_tinted;     /* coloured by the row's tint */
	uint8_t ample; /* long text, cut where the terminal is narrow: 3 first, then 2, then 1; 0 never */
	bool is_optional; /* ROWS: left out of JSON where there are none */
};

struct vmat_list;

/* Some rows of a list, in the order in which they are to be written. */
struct vmat_rows {
	const struct vmat_list *list;
	const void *model;   /* what the list's function expects */
	const size_t *order; /* the number in the model of each row; NULL: as they are */
	size_t count;
};

/* The ranges of a region of vmat_cow. */
struct vmat_ranges_view {
	const struct vmat_page_run *runs;
	const struct vmat_region *region;
	uint64_t page_size;
};

struct vmat_value {
	uint64_t number;     /* all but STRING and ROWS; VMAT_UNKNOWN(reason) */
	const char *text;    /* STRING; NULL when unknown: then `number` has the reason */
	bool is_upper_bound; /* at most `number`: what would tell more could not be read */
	bool is_count; /* no size, although its column has sizes: a list of different numbers */
	struct vmat_rows rows;          /* ROWS */
	struct vmat_ranges_view ranges; /* what `rows` is over, where that is composed */
	char room[192];                 /* for a text that is composed */
};

/* A colour of a row's tinted cell. Never the only sign: the cell has its text. */
enum vmat_tint {
	VMAT_TINT_NONE,
	VMAT_TINT_CODE,
	VMAT_TINT_FILE,
	VMAT_TINT_HEAP,
	VMAT_TINT_STACK,
	VMAT_TINT_SHARED,
	VMAT_TINT_KERNEL,
	VMAT_TINT_IDLE,
	VMAT_TINT_BAD,
	VMAT_TINT_GOOD,
	VMAT_TINT_COUNT,
};

struct vmat_list {
	const char *name; /* "map.regions" */
	const char *key;  /* of the JSON array: "regions" */
	const struct vmat_column *columns;
	size_t columns_count;
	/* Fills *ret for a row of the model; *ret has been emptied (number 0, text NULL). */
	void (*cell)(const void *model, size_t row, size_t column, struct vmat_value *ret);
	enum vmat_tint (*tint)(const void *model, size_t row); /* may be NULL */
	const char *meaning;                                   /* what one row is */
	size_t children; /* the VMAT_TYPE_ROWS column shown below each row in tables + 1; 0: none */
};

/* The columns that were chosen, in order, as indices into list->columns. */
#define VMAT_COLUMNS_MAX 64

struct vmat_selection {
	size_t columns[VMAT_COLUMNS_MAX];
	size_t count;
};

/* The columns of a list that are shown by default in one of the places of `show`. */
void vmat_selection_default(struct vmat_selection *ret, const struct vmat_list *list,
			    uint32_t show);

/* All columns. */
void vmat_selection_all(struct vmat_selection *ret, const struct vmat_list *list);

/*
 * Takes "START,size,..." as the selection, or with a leading "+" adds to what is there. Names and
 * keys are accepted in any case.
 * Errors: -EINVAL an unknown column, none at all, or too many: the text lists the valid ones.
 */
int vmat_selection_parse(struct vmat_selection *selection, const struct vmat_list *list,
			 const char *text, struct vmat_error *err);

/* Drops the columns that need what has not been read. */
void vmat_selection_limit(struct vmat_selection *selection, const struct vmat_list *list,
			  uint32_t read);

/* enum vmat_need of all columns of the selection. */
uint32_t vmat_selection_needs(const struct vmat_selection *selection, const struct vmat_list *list);

/* The number of the column of that name or key, in any case; list->columns_count when none. */
size_t vmat_column_find(const struct vmat_list *list, const char *name, size_t name_size);

/* "bytes", "address", ...: for the manual. Lifetime: static. */
const char *vmat_type_name(enum vmat_type type);

/* The cell of the n-th of `rows`. */
void vmat_rows_cell(const struct vmat_rows *rows, size_t row, size_t column,
		    struct vmat_value *ret);
enum vmat_tint vmat_rows_tint(const struct vmat_rows *rows, size_t row);

/*
 * The order of the rows when sorted by a column: small before large, unknown last, equal ones as they
 * were. The caller frees *ret with free() after the last use of the rows.
 * Errors: -ENOMEM; -EINVAL a column that has no order (rows of its own).
 */
int vmat_rows_sort(const struct vmat_rows *rows, size_t column, size_t **ret);

/*
 * The lists, and what their `model` points at.
 */
struct vmat_regions_view {
	const struct vmat_atlas *atlas;
	bool has_mark;
	uint64_t mark_addr; /* the region that holds it is marked */
};
extern const struct vmat_list vmat_list_regions; /* struct vmat_regions_view */
extern const struct vmat_list vmat_list_parts;   /* struct vmat_part[] */

/* The process and its counters: one row each. */
struct vmat_counters_view {
	const struct vmat_counters *counters;
	uint64_t regions; /* how many there are; may be unknown */
};
extern const struct vmat_list vmat_list_process;  /* struct vmat_process */
extern const struct vmat_list vmat_list_counters; /* struct vmat_counters_view */

/* Totals per kind; with a last row over all of them when `has_sum`. */
struct vmat_totals_view {
	struct vmat_total totals[VMAT_KIND_COUNT + 1];
	size_t count;
	bool has_sum;
	bool rss_is_upper_bound[VMAT_KIND_COUNT + 1];
};

void vmat_totals_view_init(struct vmat_totals_view *ret, const struct vmat_atlas *atlas,
			   bool has_sum);
extern const struct vmat_list vmat_list_totals; /* struct vmat_totals_view */

struct vmat_gaps_view {
	const struct vmat_atlas *atlas;
	const struct vmat_gap *gaps;
	size_t count;
	size_t largest; /* index */
	uint64_t free;  /* the sum of their sizes */
};

void vmat_gaps_view_init(struct vmat_gaps_view *ret, const struct vmat_atlas *atlas,
			 const struct vmat_gap *gaps, size_t count);
extern const struct vmat_list vmat_list_gaps;  /* struct vmat_gaps_view */
extern const struct vmat_list vmat_list_where; /* struct vmat_where */

/* The regions by owner, the owners with most resident memory (without it: size) first. */
struct vmat_owner_group {
	const char *owner;   /* "" for what has none: then all regions of `kind` */
	enum vmat_kind kind; /* of its largest region */
	struct vmat_total total;
	struct vmat_rows regions;
};

struct vmat_owner_groups {
	struct vmat_owner_group *groups;
	size_t count;
	size_t *order; /* all regions, group by group */
};

/* Errors: -ENOMEM; -EINVAL an atlas without owners. Lifetime: that of `view` at most. */
int vmat_owner_groups_new(struct vmat_owner_groups **ret, const struct vmat_regions_view *view);
struct vmat_owner_groups *vmat_owner_groups_free(struct vmat_owner_groups *groups);
extern const struct vmat_list vmat_list_owners; /* struct vmat_owner_groups */

extern const struct vmat_list vmat_list_threads; /* struct vmat_stacks */

struct vmat_tasks_view {
	const struct vmat_rtos *rtos;
	const struct vmat_stacks *stacks; /* of the process; NULL: firmware, or not read */
};
extern const struct vmat_list vmat_list_tasks;         /* struct vmat_tasks_view */
extern const struct vmat_list vmat_list_rtos;          /* struct vmat_rtos: one row */
extern const struct vmat_list vmat_list_rtos_findings; /* struct vmat_rtos: findings */
extern const struct vmat_list vmat_list_rtos_heap;     /* struct vmat_rtos: one row */
/* struct vmat_plan: its tasks, then their sum, then what is left of the heap */
extern const struct vmat_list vmat_list_plan;

struct vmat_runs_view {
	const struct vmat_pages *pages;
	const struct vmat_atlas *atlas;
};
extern const struct vmat_list vmat_list_runs; /* struct vmat_runs_view */

struct vmat_cow_view {
	const struct vmat_cow *cow;
	const struct vmat_atlas *atlas;
};
extern const struct vmat_list vmat_list_cow;    /* struct vmat_cow_view */
extern const struct vmat_list vmat_list_ranges; /* struct vmat_ranges_view */

struct vmat_pagesizes_view {
	const struct vmat_pagesize *sizes;
	const struct vmat_atlas *atlas;
};
extern const struct vmat_list vmat_list_pagesizes; /* struct vmat_pagesizes_view */

/* struct vmat_heap: the arenas, a row for mapped blocks if there are any, and, if asked for, the sum */
extern const struct vmat_list vmat_list_arenas;
extern const struct vmat_list vmat_list_heap_totals; /* struct vmat_heap: one row */
extern const struct vmat_list vmat_list_histogram;   /* struct vmat_heap: buckets */
extern const struct vmat_list vmat_list_pinned;      /* struct vmat_heap: pinned */
extern const struct vmat_list vmat_list_findings;    /* struct vmat_heap: findings */

struct vmat_chunks_view {
	const struct vmat_heap *heap;
	const struct vmat_chunk *chunks;
};
extern const struct vmat_list vmat_list_chunks; /* struct vmat_chunks_view */

struct vmat_cells_view {
	const struct vmat_heap *heap;
	const struct vmat_heap_strips *strips;
};
extern const struct vmat_list vmat_list_cells; /* struct vmat_cells_view */

extern const struct vmat_list vmat_list_sizes; /* struct vmat_sizes, of sizes.h */

extern const struct vmat_list vmat_list_leaks;       /* struct vmat_leaks */
extern const struct vmat_list vmat_list_leak_groups; /* struct vmat_leaks: groups */
extern const struct vmat_list vmat_list_leak_totals; /* struct vmat_leaks: one row */

struct vmat_explanations_view {
	const struct vmat_explanations *explanations;
	const struct vmat_atlas *atlas;
};
extern const struct vmat_list vmat_list_places;     /* struct vmat_explanations_view */
extern const struct vmat_list vmat_list_references; /* struct vmat_reference[] */

/* A profile of page faults, judged. */
struct vmat_fault_kind {
	enum vmat_kind kind;
	bool was_seen;                 /* false: nothing was mapped there any more */
	uint64_t places, minor, major; /* samples */
};

struct vmat_faults_view {
	const struct vmat_fault_profile *profile;
	const struct vmat_fault_findings *findings;
	struct vmat_fault_kind kinds[VMAT_KIND_COUNT + 1];
	size_t kinds_count;
};

void vmat_faults_view_init(struct vmat_faults_view *ret, const struct vmat_fault_profile *profile,
			   const struct vmat_fault_findings *findings);
extern const struct vmat_list vmat_list_fault_places; /* struct vmat_faults_view: all five */
extern const struct vmat_list vmat_list_fault_kinds;
extern const struct vmat_list vmat_list_fault_sites;
extern const struct vmat_list vmat_list_fault_causes;
extern const struct vmat_list vmat_list_fault_ticks;

/* A process at one tick, with what follows from the ticks before. */
struct vmat_watch_row {
	uint64_t pid;
	const char *name;
	struct vmat_sample sample;
	uint64_t faults_per_s; /* VMAT_UNKNOWN at the first tick */
	const char *grown;     /* "+1.2M", for people */
	const char *trend;     /* a line of small bars, for people */
};
extern const struct vmat_list vmat_list_watch;        /* struct vmat_watch_row[] */
extern const struct vmat_list vmat_list_watch_kinds;  /* struct vmat_sample: a row for each kind */
extern const struct vmat_list vmat_list_watch_events; /* struct vmat_event[] */

extern const struct vmat_list vmat_list_judged;  /* struct vmat_judgement: findings */
extern const struct vmat_list vmat_list_changes; /* struct vmat_difference */

#ifdef __cplusplus
}
#endif
#endif
