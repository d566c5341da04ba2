/* SPDX-License-Identifier: MIT */
/*
 * metrics.h: a fleet as the text that Prometheus and VictoriaMetrics read.
 *
 * The number of series is bounded by what is configured and never by what runs: labels are the group, a kind of region, a
 * state or a verdict; no pid, address, path or argument is ever one. A fact that is not known has no series.
 */
#ifndef VMATLAS_METRICS_H
#define VMATLAS_METRICS_H

#include <stdio.h>

#include <vmatlas/analyze.h>
#include <vmatlas/fleet.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_metrics_format {
	VMAT_METRICS_CLASSIC,     /* text/plain; version=0.0.4 */
	VMAT_METRICS_OPENMETRICS, /* application/openmetrics-text; version=1.0.0 */
};

/* The value of Content-Type. Lifetime: static. */
const char *vmat_metrics_content_type(enum vmat_metrics_format format);

/* `judgements` are those of fleet->groups; NULL: no verdicts are written. 0, or -errno of the first write that failed. */
int vmat_metrics_write(FILE *file, const struct vmat_fleet *fleet,
		       const struct vmat_judgement *judgements, enum vmat_metrics_format format);

#ifdef __cplusplus
}
#endif
#endif
