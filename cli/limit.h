/* SPDX-License-Identifier: MIT */
/*
 * limit.h: how long a command may stop the target, is expected to, and did.
 */
#ifndef CLI_LIMIT_H
#define CLI_LIMIT_H

#include <stdint.h>

#include <vmatlas/heap.h>

#include "output.h"

/* --max-stop in milliseconds, as nanoseconds; NULL: 0. Returns 0, or an exit code after it has said why. */
int cli_parse_max_stop(const char *text, uint64_t *ret_ns);

/* On stderr, before the target is stopped: how long that is expected to take. For vmat_heap_options. */
void cli_expect_stop(uint64_t estimate_ns, bool is_snapshot, void *context);

/* How long it was, as a line of the head and in JSON. */
void cli_head_stop(const struct vmat_heap *heap);
void cli_json_stop(struct vmat_json *json, const struct vmat_heap *heap);

#endif
