/* SPDX-License-Identifier: MIT */
/*
 * api.h: what the headers of libvmatlas, the in-process primitives, share.
 *
 * Conventions of all headers in this folder:
 *  - An int or ssize_t result is 0 or a count on success and a negative errno on failure; errno itself
 *    stays as it was. Results come back through pointers named `ret`, which a failing call leaves
 *    untouched. A failing call has done nothing, and holds nothing.
 *  - Addresses are of this process, so they are pointers. Sizes are bytes unless the name says pages.
 *  - Each function says whether it may be called by several threads at once (MT-Safe), in a signal
 *    handler (AS-Safe), and in the child of a fork, with the words of attributes(7).
 *  - The library needs libc alone, and prints nothing.
 */
#ifndef VMATLAS_PRIM_API_H
#define VMATLAS_PRIM_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__GNUC__)
#define VMAT_API __attribute__((visibility("default")))
#else
#define VMAT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of libvmatlas that runs, as in "0.1.0". Lifetime: static. MT-Safe, AS-Safe. */
VMAT_API const char *vmat_prim_version(void);

#ifdef __cplusplus
}
#endif
#endif
