/* SPDX-License-Identifier: MIT */
/*
 * excluded.h: --exclude-root: what of the command line stands for which memory.
 */
#ifndef CLI_EXCLUDED_H
#define CLI_EXCLUDED_H

#include <vmatlas/atlas.h>
#include <vmatlas/reach.h>

#include "command.h"

struct cli_excluded {
	struct vmat_excluded *ranges; /* ascending, not overlapping */
	size_t count;
};

/*
 * Each value is an address (its region), a range START-END, or a library, program or mapped file by its path or
 * its base name: all of its regions, bss among them. `atlas` has
 * owners. 0, or an exit code after it has said what is wrong; free in any case.
 */
int cli_excluded_read(struct cli_excluded *ret, const struct cli_values *values,
		      const struct vmat_atlas *atlas);
void cli_excluded_free(struct cli_excluded *excluded);

#endif
