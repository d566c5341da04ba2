/* SPDX-License-Identifier: MIT */
/*
 * rights.h: what vmatlas itself may do, as `vmatlas doctor` shows it.
 */
#ifndef CLI_RIGHTS_H
#define CLI_RIGHTS_H

#include <vmatlas/column.h>

struct cli_right {
	const char *name;
	char value[160];
	const char *meaning;
};

#define CLI_RIGHTS_MAX 16

struct cli_rights {
	struct cli_right rights[CLI_RIGHTS_MAX];
	size_t count;
};

void cli_rights_read(struct cli_rights *ret);

extern const struct vmat_list cli_list_rights; /* struct cli_rights */

#endif
