/* SPDX-License-Identifier: MIT */
/*
 * cmocka_all.h: cmocka.h with the headers that it needs and does not include.
 */
#ifndef VMAT_CMOCKA_ALL_H
#define VMAT_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: it needs the types of the headers above */
#include <cmocka.h>

/* clang-format on */

#endif
