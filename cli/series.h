/* SPDX-License-Identifier: MIT */
/*
 * series.h: a process over time: watched now, or out of a recording.
 */
#ifndef CLI_SERIES_H
#define CLI_SERIES_H

#include <vmatlas/sample.h>
#include <vmatlas/store.h>

#include "command.h"

struct cli_series {
	struct vmat_series series;
	struct vmat_keeper keeper;        /* of a living process: owns the series */
	struct vmat_recording *recording; /* open until it is freed; NULL: watched now */
	size_t index;                     /* of the process in it */
	char note[256];                   /* what is missing in it; "" */
};

/* Is the operand a recording? */
bool cli_series_is_recording(const char *operand);

/*
 * Watches the process that `spec` names for `for_ns`, or until it ends or Ctrl-C. 0, or an exit code after it has said why.
 * A core or a recorded tree has no time: then the series is empty.
 */
int cli_series_watch(struct cli_series *ret, const char *spec, uint64_t for_ns,
		     uint64_t interval_ns);

/* Reads a process of a recording: that of `pid`, or, when it is NULL, the only one. 0 or an exit code likewise. */
int cli_series_read(struct cli_series *ret, const char *path, const char *pid);

void cli_series_free(struct cli_series *series);

#endif
