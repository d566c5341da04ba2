/* SPDX-License-Identifier: MIT */
/*
 * number.h: addresses, ranges and sizes as people type them.
 */
#ifndef CLI_NUMBER_H
#define CLI_NUMBER_H

#include <vmatlas/base.h>

/* "0x7f00", "7f00": always hexadecimal, as in maps. False when it is nothing of the kind. */
bool cli_parse_addr(const char *text, uint64_t *ret);

/* "4096", "4K", "1.5M", "2G", "0x1000", with an optional B or iB behind the letter. */
bool cli_parse_size(const char *text, uint64_t *ret);

/* "10s", "500ms", "2m", "1h", "1.5" (seconds): nanoseconds. False for anything else, and for 0. */
bool cli_parse_duration(const char *text, uint64_t *ret_ns);

/* A whole number above 0. */
bool cli_parse_count(const char *text, uint64_t *ret);

/* "0.1%", "2": percent, as a share of 1. False for anything else, and above 100. */
bool cli_parse_percent(const char *text, double *ret);

/*
 * "START-END" or "START+SIZE". False for anything else, an empty range, or one that is too large. A
 * size here is as in cli_parse_size.
 */
bool cli_parse_range(const char *text, uint64_t *ret_start, uint64_t *ret_end);

#endif
