/* SPDX-License-Identifier: MIT */
/*
 * progress.h: how far a long reading is: on stderr, only on a terminal, and only after a second.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct cli_progress {
	const char *what;
	uint64_t start_ms; /* 0: not begun */
	uint64_t shown_ms; /* of the last line */
	bool is_shown;
};

/* For the `progress` of the library's options; context is a struct cli_progress *. */
void cli_progress_show(void *context, uint64_t done, uint64_t total);
/* Wipes the line away. */
void cli_progress_end(struct cli_progress *progress);

#endif
