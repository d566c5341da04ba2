/* SPDX-License-Identifier: MIT */
/*
 * format.h: numbers as text, without printf: 60,000 rows have a million of them.
 *
 * Each function writes at `to`, adds no NUL and returns the length, at most VMAT_FORMAT_MAX.
 */
#ifndef VMAT_FORMAT_H
#define VMAT_FORMAT_H

#include <vmatlas/base.h>

#define VMAT_FORMAT_MAX 24

size_t vmat_format_number(char *to, uint64_t number);
/* "0x7f12"; "0x0" */
size_t vmat_format_addr(char *to, uint64_t addr);
/* "0", "512B", "4K", "1.2M", "8M", "1.5G": one decimal, rounded half up, ".0" left out */
size_t vmat_format_bytes(char *to, uint64_t bytes);

#endif
