/* SPDX-License-Identifier: MIT */
/*
 * output.h: in which format, how wide, in which colours and with which columns a command answers.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdio.h>

#include <vmatlas/export.h>

#include "command.h"

enum cli_format {
	CLI_TABLE,
	CLI_JSON,
	CLI_RAW,
	CLI_PAIRS,
	CLI_CSV,
};

struct cli_output {
	const struct cli_args *args;
	enum cli_format format;
	struct vmat_text_options text;
	const struct vmat_list *list; /* the main list: what -o and -x speak of */
	struct vmat_selection selection;
	size_t sort; /* column, or list->columns_count */
};

/*
 * Reads the environment and the options and chooses the columns of `list`. Returns 0, or an exit code
 * after it has said on stderr what is wrong.
 */
int cli_output_init(struct cli_output *ret, const struct cli_args *args,
		    const struct vmat_list *list);

/* What must be read for the chosen columns: enum vmat_need. */
uint32_t cli_output_needs(const struct cli_output *output);

/* Is there room for lines that are no rows: heads, totals? */
static inline bool cli_output_has_heads(const struct cli_output *output)
{
	return output->format == CLI_TABLE && !output->args->no_headings;
}

/* Writes rows of the main list, sorted when asked for; not as JSON. 0 or a negative errno. */
int cli_output_rows(const struct cli_output *output, const struct vmat_rows *rows);

/* A further list below, as a table: its default columns as far as `read` (enum vmat_need) allows. */
int cli_output_further(const struct cli_output *output, const struct vmat_rows *rows,
		       uint32_t read);

/* The main list as JSON, sorted when asked for. */
int cli_output_json(const struct cli_output *output, struct vmat_json *json,
		    const struct vmat_rows *rows);

/* A further list as JSON. */
void cli_json_further(struct vmat_json *json, const struct vmat_rows *rows, uint32_t read);

/* One row as an object under the key of its list, with its default columns. */
void cli_json_single(struct vmat_json *json, const struct vmat_rows *rows);

/* Prints a line for people; hostile texts must have gone through cli_escape. */
void cli_line(const char *format, ...) VMAT_PRINTF(1, 2);

/* A hostile text made safe. Lifetime: until the fourth call from now. */
const char *cli_escape(const struct cli_output *output, const char *text);

/* A size as people read it, or exactly with -b. Lifetime: until the sixteenth call from now. */
const char *cli_size(const struct cli_output *output, uint64_t bytes);
const char *cli_count(uint64_t count);

#endif
