/* SPDX-License-Identifier: MIT */
#include "sample/sample_text.h"

#include <string.h>

#include "base/text.h"

/* Metrics that are not in the table of this file: they have a place behind those that are. */
enum { VALUE_STACK = VMAT_METRIC_COUNT, VALUE_PEAK, VALUES_COUNT };

/*
 * What is taken of status. What ps calls size is VmData and VmStk together (procps 4, ps/output.c, pr_swapable): all private
 * writable memory, touched or not. statm's sixth number is the same sum (fs/proc/task_mmu.c, task_statm).
 */
static const struct {
	const char *name;
	size_t name_size;
	size_t to;
	unsigned shift; /* 10: the text is in kB */
} rows[] = {
	{ "VmPeak:", 7, VALUE_PEAK, 10 },
	{ "VmSize:", 7, VMAT_METRIC_SIZE, 10 },
	{ "VmRSS:", 6, VMAT_METRIC_RSS, 10 },
	{ "RssAnon:", 8, VMAT_METRIC_RSS_ANON, 10 },
	{ "RssFile:", 8, VMAT_METRIC_RSS_FILE, 10 },
	{ "RssShmem:", 9, VMAT_METRIC_RSS_SHMEM, 10 },
	{ "VmData:", 7, VMAT_METRIC_DATA, 10 },
	{ "VmStk:", 6, VALUE_STACK, 10 },
	{ "VmPTE:", 6, VMAT_METRIC_PAGE_TABLES, 10 },
	{ "VmSwap:", 7, VMAT_METRIC_SWAP, 10 },
	{ "Threads:", 8, VMAT_METRIC_THREADS, 0 },
};

enum { ROWS_COUNT = sizeof(rows) / sizeof(rows[0]) };

/* The kernel writes the rows in one order, so the search goes on behind the last row that was met. */
static size_t row_of(const char *line, size_t size, size_t hint)
{
	for (size_t n = 0; n < ROWS_COUNT; n++) {
		size_t i = (hint + n) % ROWS_COUNT;

		if (size > rows[i].name_size && !memcmp(line, rows[i].name, rows[i].name_size))
			return i;
	}
	return ROWS_COUNT;
}

static void parse_line(uint64_t *values, size_t *hint, const char *c, const char *end)
{
	size_t row;
	uint64_t number;
	const char *first;

	/* Names of these only: most lines of status are about signals, rights and processors. */
	if (c == end || (*c != 'V' && *c != 'R' && *c != 'T'))
		return;
	row = row_of(c, (size_t)(end - c), *hint);
	if (row == ROWS_COUNT)
		return;
	c += rows[row].name_size;
	while (c < end && (*c == ' ' || *c == '\t'))
		c++;
	first = c;
	if (vmat_text_decimal(c, end, &number) == first)
		return;
	values[rows[row].to] = number << rows[row].shift;
	*hint = row + 1;
}

bool vmat_sample_parse_status(uint64_t ret[VMAT_METRIC_COUNT], uint64_t *peak, const char *text,
			      size_t size)
{
	const char *end = text + size, *newline;
	uint64_t values[VALUES_COUNT];
	size_t hint = 0;

	for (size_t i = 0; i < VALUES_COUNT; i++)
		values[i] = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	for (; text < end; text = newline + 1) {
		newline = memchr(text, '\n', (size_t)(end - text));
		if (!newline)
			break; /* cut: the number may be, too */
		parse_line(values, &hint, text, newline);
	}
	if (!vmat_is_known(values[VMAT_METRIC_SIZE]))
		return false;
	if (vmat_is_known(values[VMAT_METRIC_DATA]) && vmat_is_known(values[VALUE_STACK]))
		values[VMAT_METRIC_DATA] += values[VALUE_STACK];
	else
		values[VMAT_METRIC_DATA] = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	for (size_t i = 0; i < ROWS_COUNT; i++) {
		if (rows[i].to < VMAT_METRIC_COUNT)
			ret[rows[i].to] = values[rows[i].to];
	}
	*peak = values[VALUE_PEAK];
	return true;
}

bool vmat_sample_parse_statm(uint64_t values[VMAT_METRIC_COUNT], uint64_t page_size,
			     const char *text, size_t size)
{
	enum { SIZE, RESIDENT, SHARED, TEXT, LIBRARY, DATA, FIELDS };

	const char *end = text + size;
	uint64_t fields[FIELDS];

	for (size_t i = 0; i < FIELDS; i++) {
		const char *first = text;

		text = vmat_text_decimal(text, end, &fields[i]);
		if (text == first || text == end || *text != ' ')
			return false;
		text++;
	}
	if (!fields[SIZE])
		return false;
	values[VMAT_METRIC_SIZE] = fields[SIZE] * page_size;
	values[VMAT_METRIC_DATA] = fields[DATA] * page_size;
	values[VMAT_METRIC_RSS] = fields[RESIDENT] * page_size;
	/* Both come of one reading of the counters: the difference is what the kernel counts as anonymous. */
	if (fields[RESIDENT] >= fields[SHARED])
		values[VMAT_METRIC_RSS_ANON] = (fields[RESIDENT] - fields[SHARED]) * page_size;
	return true;
}

void vmat_sample_take_stat(uint64_t values[VMAT_METRIC_COUNT], const struct vmat_stat *stat,
			   uint64_t tick_ns)
{
	values[VMAT_METRIC_THREADS] = stat->threads;
	values[VMAT_METRIC_FAULTS_MINOR] = stat->faults_minor;
	values[VMAT_METRIC_FAULTS_MAJOR] = stat->faults_major;
	values[VMAT_METRIC_CPU_NS] = stat->cpu_ticks * tick_ns;
}

bool vmat_sample_parse_exit_code(uint64_t *ret, const char *text, size_t size)
{
	enum { EXIT_CODE = 52, AFTER_COMM = 3 };

	const char *end = text + size, *c = memrchr(text, ')', size);

	if (!c || ++c == end)
		return false;
	for (int field = AFTER_COMM; field <= EXIT_CODE; field++) {
		c = memchr(c, ' ', (size_t)(end - c));
		if (!c || ++c == end)
			return false;
	}
	return vmat_text_decimal(c, end, ret) > c;
}
