/* SPDX-License-Identifier: MIT */
/*
 * range.h: a range of this process's memory, as the primitives report and take it.
 */
#ifndef VMATLAS_PRIM_RANGE_H
#define VMATLAS_PRIM_RANGE_H

#include <vmatlas/prim/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* [start, end) */
struct vmat_range {
	char *start;
	char *end;
};

#ifdef __cplusplus
}
#endif
#endif
