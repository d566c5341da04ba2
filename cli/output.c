/* SPDX-License-Identifier: MIT */
/* Formats, widths, colours and columns of an answer: see output.h. */
#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "number.h"
#include "report.h"

static size_t terminal_width(void)
{
	struct winsize size;
	const char *text = getenv("COLUMNS");
	uint64_t width;

	if (text && cli_parse_size(text, &width) && width > 0 && width < 10000)
		return (size_t)width;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col > 0)
		return size.ws_col;
	return 80;
}

static int choose_width(struct cli_output *output)
{
	uint64_t width;

	if (!output->args->width) {
		output->text.width = isatty(STDOUT_FILENO) ? terminal_width() : 0;
		return CLI_OK;
	}
	if (!cli_parse_size(output->args->width, &width) || width > 10000)
		return cli_usage_error("--width: '%s' is no number of characters up to 10000",
				       output->args->width);
	output->text.width = (size_t)width;
	return CLI_OK;
}

static int choose_colour(struct cli_output *output)
{
	const char *when = output->args->colour ? output->args->colour : "auto";
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (!strcmp(when, "always"))
		output->text.has_colour = true;
	else if (!strcmp(when, "auto"))
		output->text.has_colour = isatty(STDOUT_FILENO) && !(no_color && *no_color) &&
					  term && strcmp(term, "dumb") != 0;
	else if (strcmp(when, "never") != 0)
		return cli_usage_error("--color: '%s' is none of auto, always, never", when);
	return CLI_OK;
}

static enum cli_format choose_format(const struct cli_args *args)
{
	if (args->json)
		return CLI_JSON;
	if (args->raw)
		return CLI_RAW;
	if (args->pairs)
		return CLI_PAIRS;
	return args->csv ? CLI_CSV : CLI_TABLE;
}

static int choose_columns(struct cli_output *output)
{
	const struct cli_args *args = output->args;
	struct vmat_error err = { 0 };
	size_t width = output->text.width;
	uint32_t show = width && width < VMAT_WIDE_COLUMNS ? VMAT_SHOW_TABLE : VMAT_SHOW_WIDE;

	if (output->format == CLI_JSON || output->format == CLI_CSV)
		show = VMAT_SHOW_JSON;
	else if (output->format != CLI_TABLE)
		show = VMAT_SHOW_TABLE;
	vmat_selection_default(&output->selection, output->list, show);
	if (args->all_columns)
		vmat_selection_all(&output->selection, output->list);
	if (args->columns &&
	    vmat_selection_parse(&output->selection, output->list, args->columns, &err) < 0)
		return cli_fail(&err);
	output->sort = output->list->columns_count;
	if (!args->sort)
		return CLI_OK;
	output->sort = vmat_column_find(output->list, args->sort, strlen(args->sort));
	if (output->sort == output->list->columns_count) {
		struct vmat_selection ignored = { .count = 0 };

		if (vmat_selection_parse(&ignored, output->list, args->sort, &err) < 0)
			return cli_fail(&err);
	}
	if (output->sort == output->list->columns_count ||
	    output->list->columns[output->sort].type == VMAT_TYPE_ROWS)
		return cli_usage_error("--sort: '%s' has no order", args->sort);
	return CLI_OK;
}

int cli_output_init(struct cli_output *ret, const struct cli_args *args,
		    const struct vmat_list *list)
{
	int code;

	*ret = (struct cli_output){
		.args = args,
		.format = choose_format(args),
		.list = list,
		.text = {
			.size = sizeof(ret->text),
			.is_utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8"),
			.is_exact = args->bytes,
			.no_headings = args->no_headings,
		},
	};
	code = choose_width(ret);
	if (!code)
		code = choose_colour(ret);
	return code ? code : choose_columns(ret);
}

uint32_t cli_output_needs(const struct cli_output *output)
{
	uint32_t needs = vmat_selection_needs(&output->selection, output->list);

	if (output->sort < output->list->columns_count)
		needs |= output->list->columns[output->sort].need;
	return needs;
}

/* Sorts, where that is asked for; the order lives in *order. */
static int sorted(const struct cli_output *output, const struct vmat_rows *rows,
		  struct vmat_rows *ret, size_t **order)
{
	int r;

	*ret = *rows;
	if (output->sort == output->list->columns_count)
		return 0;
	r = vmat_rows_sort(rows, output->sort, order);
	if (r >= 0)
		ret->order = *order;
	return r;
}

int cli_output_rows(const struct cli_output *output, const struct vmat_rows *rows)
{
	struct vmat_rows in_order;
	size_t *order = NULL;
	int r = sorted(output, rows, &in_order, &order);

	if (r >= 0)
		switch (output->format) {
		case CLI_RAW:
			r = vmat_write_raw(stdout, &in_order, &output->selection, &output->text);
			break;
		case CLI_PAIRS:
			r = vmat_write_pairs(stdout, &in_order, &output->selection, &output->text);
			break;
		case CLI_CSV:
			r = vmat_write_csv(stdout, &in_order, &output->selection, &output->text);
			break;
		default:
			r = vmat_write_table(stdout, &in_order, &output->selection, &output->text);
		}
	free(order);
	return r;
}

int cli_output_further(const struct cli_output *output, const struct vmat_rows *rows, uint32_t read)
{
	struct vmat_selection selection;

	vmat_selection_default(&selection, rows->list, VMAT_SHOW_TABLE);
	vmat_selection_limit(&selection, rows->list, read);
	return selection.count ? vmat_write_table(stdout, rows, &selection, &output->text) : 0;
}

int cli_output_json(const struct cli_output *output, struct vmat_json *json,
		    const struct vmat_rows *rows)
{
	struct vmat_rows in_order;
	size_t *order = NULL;
	int r = sorted(output, rows, &in_order, &order);

	if (r >= 0)
		vmat_json_rows(json, &in_order, &output->selection);
	free(order);
	return r;
}

void cli_json_further(struct vmat_json *json, const struct vmat_rows *rows, uint32_t read)
{
	struct vmat_selection selection;

	vmat_selection_default(&selection, rows->list, VMAT_SHOW_JSON);
	vmat_selection_limit(&selection, rows->list, read);
	if (selection.count)
		vmat_json_rows(json, rows, &selection);
}

void cli_json_single(struct vmat_json *json, const struct vmat_rows *rows)
{
	struct vmat_selection selection;

	vmat_selection_default(&selection, rows->list, VMAT_SHOW_JSON);
	vmat_json_row(json, rows->list->key, rows, 0, &selection);
}

void cli_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

const char *cli_escape(const struct cli_output *output, const char *text)
{
	static char texts[4][4096];
	static unsigned next;
	char *to = texts[next++ % 4];

	vmat_text_escape(to, sizeof(texts[0]), text, output->text.is_utf8, false);
	return to;
}

/* Texts of numbers, so that several can stand in one printf. */
static char *number_room(void)
{
	static char texts[16][32];
	static unsigned next;

	return texts[next++ % 16];
}

const char *cli_size(const struct cli_output *output, uint64_t bytes)
{
	char *to = number_room();

	if (output->text.is_exact && vmat_is_known(bytes))
		snprintf(to, 32, "%" PRIu64, bytes);
	else
		vmat_text_bytes(to, 32, bytes);
	return to;
}

const char *cli_count(uint64_t count)
{
	char *to = number_room();

	if (vmat_is_known(count))
		snprintf(to, 32, "%" PRIu64, count);
	else
		snprintf(to, 32, "-");
	return to;
}
