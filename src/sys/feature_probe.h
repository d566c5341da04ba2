/* SPDX-License-Identifier: MIT */
/*
 * feature_probe.h: one small experiment per kernel feature, made on the caller's own memory.
 *
 * Each probe returns 1 when the feature works, 0 when the kernel lacks it or it does nothing, and
 * -EACCES when it is there but not for this caller. None leaves anything behind.
 */
#ifndef VMAT_FEATURE_PROBE_H
#define VMAT_FEATURE_PROBE_H

#include <vmatlas/feature.h>

int vmat_feature_probe(enum vmat_feature feature);

#endif
