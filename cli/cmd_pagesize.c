/* SPDX-License-Identifier: MIT */
/*
 * vmatlas pagesize: the page size at addresses, of the mapping and really in use.
 */
#include <errno.h>

#include "number.h"
#include "report.h"
#include "subject.h"

#define SCHEMA "vmatlas/pagesize/1"

struct sizes {
	struct vmat_pagesize sizes[CLI_OPERANDS_MAX];
	size_t count;
};

static int parse_addrs(const struct cli_args *args, struct sizes *sizes)
{
	for (size_t i = 1; i < args->operands_count; i++)
		if (!cli_parse_addr(args->operands[i], &sizes->sizes[sizes->count++].addr))
			return cli_usage_error(
				"pagesize: '%s' is no address: give it in hexadecimal",
				args->operands[i]);
	return CLI_OK;
}

static int write_sizes(const struct cli_subject *subject, const struct cli_output *output,
		       const struct sizes *sizes)
{
	struct vmat_pagesizes_view view = { .sizes = sizes->sizes, .atlas = subject->atlas };
	struct vmat_rows rows = { .list = &vmat_list_pagesizes,
				  .model = &view,
				  .count = sizes->count };
	struct vmat_json *json;
	int r, finished;

	if (output->format != CLI_JSON)
		return cli_output_rows(output, &rows);
	json = cli_document_begin(subject, SCHEMA);
	if (!json)
		return -ENOMEM;
	r = cli_output_json(output, json, &rows);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

static int read_and_write(struct cli_subject *subject, const struct cli_output *output,
			  struct sizes *sizes)
{
	struct vmat_error *err = &subject->error;
	int r = 0;

	for (size_t i = 0; i < sizes->count && r >= 0; i++)
		r = vmat_pagesize_read(&sizes->sizes[i], subject->target, subject->atlas->map,
				       sizes->sizes[i].addr, err);
	if (r < 0) {
		err->code = r;
		return cli_subject_refused(subject, output, SCHEMA);
	}
	cli_subject_check(subject);
	r = write_sizes(subject, output, sizes);
	cli_subject_warn(subject);
	return cli_written(r, CLI_OK);
}

static int pagesize_run(const struct cli_args *args)
{
	struct cli_output output;
	struct cli_subject subject;
	struct sizes sizes = { .count = 0 };
	int code = parse_addrs(args, &sizes);

	if (!code)
		code = cli_output_init(&output, args, &vmat_list_pagesizes);
	if (!code)
		code = cli_subject_open(&subject, args);
	if (code)
		return code;
	if (cli_subject_read(&subject, cli_output_needs(&output)))
		code = cli_subject_refused(&subject, &output, SCHEMA);
	else
		code = read_and_write(&subject, &output, &sizes);
	cli_subject_close(&subject);
	return code;
}

static const struct cli_example examples[] = {
	{ "1234 7f2a4c021a10", "the page size at an address" },
	{ "-b 1234 7f2a4c021a10 55d0c8a2e000", "in bytes, at two" },
	{ 0 },
};

static const char *const text[] = {
	"Shows the page size at each address: that of the mapping, and that of the page which is "
	"really "
	"there (a huge page, a large folio as root, or the base page). Addresses are hexadecimal.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_pagesizes, NULL };

const struct cli_command cli_pagesize_command = {
	.name = "pagesize",
	.operands = "TARGET ADDR...",
	.operands_min = 2,
	.operands_max = CLI_OPERANDS_MAX,
	.summary = "the page size at an address: of the mapping, and really in use",
	.text = text,
	.has_target = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = pagesize_run,
};
