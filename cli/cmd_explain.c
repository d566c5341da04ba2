/* SPDX-License-Identifier: MIT */
/*
 * vmatlas explain: what lies at an address: region, owner, page, block, and who refers to it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <vmatlas/explanation.h>

#include "limit.h"
#include "number.h"
#include "report.h"
#include "subject.h"

#define SCHEMA "vmatlas/explain/1"

struct explain_run {
	struct vmat_leaks_options options;
	uint64_t addrs[CLI_OPERANDS_MAX];
	size_t count;
};

static int parse_addrs(const struct cli_args *args, struct explain_run *run)
{
	for (size_t i = 1; i < args->operands_count; i++)
		if (!cli_parse_addr(args->operands[i], &run->addrs[run->count++]))
			return cli_usage_error(
				"explain: '%s' is no address: give it in hexadecimal",
				args->operands[i]);
	return CLI_OK;
}

static void write_page(const struct cli_output *output, const struct vmat_explanation *it)
{
	static const char *const words[] = {
		"present", "in swap", "of a file",           "the zero page",
		"huge",    "guard",   "this process's alone"
	};
	char text[160] = "";
	size_t at = 0;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (it->page_flags >> i & 1)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? ", " : "",
					       words[i]);
	if (!it->is_page_known)
		cli_line("  page      not known");
	else if (!at)
		cli_line("  page      never touched");
	else
		cli_line("  page      %s%s; %s", text,
			 it->is_page_copied ? ", copied on write" : "",
			 cli_size(output, it->page_size));
}

/* Of a block in a line: "0x55d0 (64B, shop::Item)". */
static const char *block_text(const struct cli_output *output, char *to, size_t size, uint64_t addr,
			      uint64_t bytes, const char *type)
{
	snprintf(to, size, "0x%" PRIx64 " (%s%s%s)", addr, cli_size(output, bytes),
		 type[0] ? ", " : "", cli_escape(output, type));
	return to;
}

static void write_reference(const struct cli_output *output, const char *label,
			    const struct vmat_reference *reference)
{
	char text[640];

	if (vmat_is_known(reference->block_addr))
		cli_line("%s block %s +%s%s", label,
			 block_text(output, text, sizeof(text), reference->block_addr,
				    reference->block_size, reference->type),
			 cli_count(reference->block_offset),
			 reference->is_into ? ", by an address into it" : "");
	else if (vmat_is_known(reference->addr))
		cli_line("%s %s, at 0x%" PRIx64 "%s", label, cli_escape(output, reference->what),
			 reference->addr, reference->is_into ? ", by an address into it" : "");
	else
		cli_line("%s %s%s", label, cli_escape(output, reference->what),
			 reference->is_into ? ", by an address into it" : "");
}

static void write_chain(const struct cli_output *output, const struct vmat_explanation *it)
{
	char text[640];

	for (size_t i = 0; i < it->chain_count; i++) {
		if (i && i == VMAT_CHAIN_MAX / 2 && it->chain_total > it->chain_count)
			cli_line("         ->  ... %s more blocks ...",
				 cli_count(it->chain_total - it->chain_count));
		write_reference(output, i ? "         -> " : "  reached   from", &it->chain[i]);
	}
	if (it->chain_count)
		cli_line("         ->  this block");
	else if (it->reach == VMAT_REACH_LEAKED)
		cli_line("  reached   by nothing: it has leaked");
	else
		cli_line("  reached   by leaked blocks only: it has leaked");
	if (!it->referrers_total) {
		cli_line("  referrers none");
		return;
	}
	/* The only one stands in the chain already. */
	if (it->referrers_total == 1 && it->chain_count)
		return;
	snprintf(text, sizeof(text), "  referrers %s:", cli_count(it->referrers_total));
	for (size_t i = 0; i < it->referrers_count; i++)
		write_reference(output, i ? "           " : text, &it->referrers[i]);
	if (it->referrers_count < it->referrers_total)
		cli_line("            ... and %s more",
			 cli_count(it->referrers_total - it->referrers_count));
}

static void write_block(const struct cli_output *output, const struct vmat_explanation *it)
{
	const struct vmat_chunk *block = &it->block;

	if (it->why_no_block[0]) {
		cli_line("  block     none: %s", cli_escape(output, it->why_no_block));
		return;
	}
	if (it->reach == VMAT_REACH_UNKNOWN) {
		cli_line("  block     0x%" PRIx64 ", %s, %s", block->addr,
			 cli_size(output, block->size), vmat_chunk_state_name(block->state));
		return;
	}
	cli_line("  block     0x%" PRIx64 ", %s usable, %s; %s%s", block->block_addr,
		 cli_size(output, block->block_size), vmat_chunk_state_name(block->state),
		 vmat_is_known(it->block_offset) ? "the address is at +"
						 : "the address is in its header",
		 vmat_is_known(it->block_offset) ? cli_count(it->block_offset) : "");
	if (it->type[0])
		cli_line("  holds     %s: %s", cli_escape(output, it->type),
			 cli_escape(output, it->preview));
	write_chain(output, it);
	cli_line("  site      not known: no tracer saw its allocation");
}

static void write_place(const struct cli_output *output, const struct vmat_atlas *atlas,
			const struct vmat_explanation *it)
{
	const struct vmat_region *region;

	cli_line("0x%" PRIx64, it->addr);
	if (it->state != VMAT_PLACE_MAPPED) {
		cli_line("  region    none: %s", vmat_place_state_name(it->state));
		cli_line("  around    %s", cli_escape(output, it->why));
		return;
	}
	region = &atlas->map->regions[it->region];
	cli_line("  region    %" PRIx64 "-%" PRIx64 " %c%c%c%c %s", it->start, it->end,
		 region->prot & VMAT_PROT_READ ? 'r' : '-',
		 region->prot & VMAT_PROT_WRITE ? 'w' : '-',
		 region->prot & VMAT_PROT_EXEC ? 'x' : '-',
		 region->prot & VMAT_PROT_SHARED ? 's' : 'p',
		 region->name[0] ? cli_escape(output, region->name) : "anonymous");
	cli_line("  kind      %s%s%s", it->kind, it->owner[0] ? ": " : "",
		 cli_escape(output, it->owner));
	cli_line("  because   %s", cli_escape(output, it->why));
	if (it->name[0])
		cli_line("  here      %s", cli_escape(output, it->name));
	if (it->name[0] && it->name_why_not[0])
		cli_line("            symbol not known: %s", cli_escape(output, it->name_why_not));
	write_page(output, it);
	write_block(output, it);
}

static int write_json(const struct cli_subject *subject, const struct cli_output *output,
		      const struct vmat_explanations *all, const struct vmat_rows *rows)
{
	struct vmat_json *json = cli_document_begin(subject, SCHEMA);
	int r, finished;

	if (!json)
		return -ENOMEM;
	vmat_json_number(json, "stopped_ns", all->stopped_ns);
	r = cli_output_json(output, json, rows);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

static int write_all(const struct cli_subject *subject, const struct cli_output *output,
		     const struct vmat_explanations *all)
{
	const struct vmat_explanations_view view = { .explanations = all, .atlas = subject->atlas };
	const struct vmat_rows rows = { .list = &vmat_list_places,
					.model = &view,
					.count = all->count };
	const struct cli_args *args = output->args;

	if (output->format == CLI_JSON)
		return write_json(subject, output, all, &rows);
	if (!cli_output_has_heads(output) || args->columns || args->all_columns || args->sort)
		return cli_output_rows(output, &rows);
	cli_head_target(subject, output);
	if (vmat_is_known(all->stopped_ns))
		cli_line("the process stood still for %.1f ms", (double)all->stopped_ns / 1e6);
	for (size_t i = 0; i < all->count; i++) {
		cli_line("%s", "");
		write_place(output, subject->atlas, &all->list[i]);
	}
	return 0;
}

static int read_and_write(struct cli_subject *subject, const struct cli_output *output,
			  const struct explain_run *run)
{
	struct vmat_error *err = &subject->error;
	struct vmat_explanations *all;
	int r = vmat_explanations_read(&all, subject->target, subject->atlas, run->addrs,
				       run->count, &run->options, err);

	if (r < 0) {
		err->code = r;
		return cli_subject_refused(subject, output, SCHEMA);
	}
	if (all->is_partial)
		cli_subject_note(subject, all->partial_why);
	cli_subject_check(subject);
	r = write_all(subject, output, all);
	cli_subject_warn(subject);
	vmat_explanations_free(all);
	return cli_written(r, CLI_OK);
}

static int explain_run(const struct cli_args *args)
{
	struct explain_run run = {
		.options = { .size = sizeof(run.options),
			     .heap = { .size = sizeof(run.options.heap),
				       .is_running_allowed = args->no_stop,
				       .expect = cli_expect_stop } },
	};
	struct cli_output output;
	struct cli_subject subject;
	int code = parse_addrs(args, &run);

	if (!code)
		code = cli_output_init(&output, args, &vmat_list_places);
	if (!code)
		code = cli_parse_max_stop(args->max_stop, &run.options.heap.max_stop_ns);
	if (!code)
		code = cli_subject_open(&subject, args);
	if (code)
		return code;
	if (cli_subject_read(&subject, VMAT_NEED_PAGES | VMAT_NEED_OWNERS))
		code = cli_subject_refused(&subject, &output, SCHEMA);
	else
		code = read_and_write(&subject, &output, &run);
	cli_subject_close(&subject);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 0, "no-stop", NULL, CLI_NO_VALUE, AT(no_stop),
	  "do not stop the process: blocks, and who refers to them, are then unknown" },
	{ 0, "max-stop", "MS", CLI_NUMBER, AT(max_stop),
	  "give up, and let the process go, after this many milliseconds (2000)" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "1234 7f2a4c021a10", "what lies at an address" },
	{ "--no-stop 1234 7f2a4c021a10 55d0c8a2e000", "at two, without stopping the process" },
	{ "-J 1234 7f2a4c021a10", "for a program" },
	{ 0 },
};

static const char *const text[] = {
	"Shows all that is known of each address: its region and what that is for, the symbol or the "
	"place in a thread's stack, the state of its page, the block of malloc that holds it, what "
	"that block holds, a way from a root to it, and who refers to it. Addresses are hexadecimal.",
	"The process stands still for a moment when an address may lie in a heap: as in leaks, all "
	"references are read. With --no-stop it runs on, and blocks are unknown.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_places, &vmat_list_references, NULL };

const struct cli_command cli_explain_command = {
	.name = "explain",
	.operands = "TARGET ADDR...",
	.operands_min = 2,
	.operands_max = CLI_OPERANDS_MAX,
	.summary = "what lies at an address, and who refers to it",
	.text = text,
	.options = options,
	.has_target = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = explain_run,
};
