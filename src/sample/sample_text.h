/* SPDX-License-Identifier: MIT */
/*
 * sample_text.h: metrics out of the texts of /proc/PID. Pure.
 */
#ifndef VMAT_SAMPLE_TEXT_H
#define VMAT_SAMPLE_TEXT_H

#include <vmatlas/sample.h>

#include "target/process.h"

/*
 * status: size, data, the resident sizes, swap, page tables, threads; *peak is VmPeak, which only another program under the
 * same number makes smaller. False when it has no size: the process, or its first thread, has ended.
 */
bool vmat_sample_parse_status(uint64_t values[VMAT_METRIC_COUNT], uint64_t *peak, const char *text,
			      size_t size);

/* statm: size, data, rss, rss_anon. False when the size is 0 or the text is not in its form. */
bool vmat_sample_parse_statm(uint64_t values[VMAT_METRIC_COUNT], uint64_t page_size,
			     const char *text, size_t size);

/* stat: threads, faults, CPU time. */
void vmat_sample_take_stat(uint64_t values[VMAT_METRIC_COUNT], const struct vmat_stat *stat,
			   uint64_t tick_ns);

/* stat: exit_code, field 52, the wait status of a zombie. False when the text ends before it. */
bool vmat_sample_parse_exit_code(uint64_t *ret, const char *text, size_t size);

#endif
