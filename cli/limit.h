/* SPDX-License-Identifier: MIT */
/*
 * limit.h: how long a command may stop the target.
 */
#ifndef CLI_LIMIT_H
#define CLI_LIMIT_H

#include <stdint.h>

/* --max-stop in milliseconds, as nanoseconds; NULL: 0. Returns 0, or an exit code after it has said why. */
int cli_parse_max_stop(const char *text, uint64_t *ret_ns);

#endif
