/* SPDX-License-Identifier: MIT */
/* A line on stderr that says how far a long reading is: see progress.h. */
#include "progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FIRST_MS 1000
#define STEP_MS  200

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + 1;
}

void cli_progress_show(void *context, uint64_t done, uint64_t total)
{
	struct cli_progress *progress = context;
	uint64_t now = now_ms();

	if (!progress->start_ms)
		progress->start_ms = now;
	if (now - progress->start_ms < FIRST_MS || now - progress->shown_ms < STEP_MS ||
	    !isatty(STDERR_FILENO))
		return;
	progress->shown_ms = now;
	progress->is_shown = true;
	fprintf(stderr, "\r%s: %u %% ", progress->what,
		total ? (unsigned)((double)done / (double)total * 100) : 0);
	fflush(stderr);
}

void cli_progress_end(struct cli_progress *progress)
{
	if (progress->is_shown)
		fputs("\r\033[K", stderr);
	progress->is_shown = false;
}
