/* SPDX-License-Identifier: MIT */
/*
 * vmatlas heap: what malloc has taken, what of it is in use, free, stuck or could be given back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <vmatlas/heap.h>

#include "limit.h"
#include "number.h"
#include "report.h"
#include "strip_text.h"
#include "subject.h"
#include "tasks.h"

#define SCHEMA "vmatlas/heap/1"

enum { PINNED_SHOWN = 5 };

static size_t arena_rows(const struct vmat_heap *heap)
{
	return heap->arenas_count + (heap->totals.count[VMAT_CHUNK_MMAPPED] != 0);
}

/* glibc's own settings (mallopt(3)), and what they do. */
static void write_settings(const struct cli_subject *subject, const struct cli_output *output,
			   const struct vmat_heap *heap)
{
	bool is_trimmed = heap->trim_threshold < INT64_MAX;
	unsigned word_size = vmat_target_process(subject->target)->word_size;

	cli_line("M_MMAP_THRESHOLD %6s  %s", cli_size(output, heap->mmap_threshold),
		 heap->mmap_max ? "a larger block is a mapping of its own: gone when freed"
				: "without effect: M_MMAP_MAX is 0");
	cli_line("M_TRIM_THRESHOLD %6s  %s",
		 is_trimmed ? cli_size(output, heap->trim_threshold) : "off",
		 is_trimmed ? "a larger free end (TOP) of the main heap goes back"
			    : "free gives nothing of the main heap back");
	cli_line("                         %s",
		 heap->has_fixed_thresholds
			 ? "both are fixed: the program has set a parameter"
			 : "both rise: to a mapped block that is freed, and twice it");
	if (heap->arena_max)
		cli_line("arenas           %6zu  of at most %s (M_ARENA_MAX)", heap->arenas_count,
			 cli_count(heap->arena_max));
	else
		cli_line("arenas           %6zu  of at most %u for each processor",
			 heap->arenas_count, word_size == 4 ? 2 : 8);
	cli_line("tcache_count     %6s  freed blocks of each size that a thread may keep",
		 cli_count(heap->tcache_count));
}

static void write_head(const struct cli_subject *subject, const struct cli_output *output,
		       const struct vmat_heap *heap)
{
	cli_head_target(subject, output);
	cli_line("allocator: %s\n  %s", heap->allocator[0] ? heap->allocator : "-",
		 heap->allocator_why);
	if (vmat_rtos_is_there(subject->target))
		cli_line("FreeRTOS has a heap of its own in it: --rtos shows that");
	if (!heap->is_walked) {
		cli_line("not walked: %s", heap->why_not);
		if (!output->args->allocator && heap->allocator[0])
			cli_line("libc may have a heap beside it: --allocator glibc shows that");
		return;
	}
	cli_head_stop(heap);
	if (vmat_is_known(heap->trim_threshold))
		write_settings(subject, output, heap);
	cli_line("%s", "");
}

static int write_tables(const struct cli_subject *subject, const struct cli_output *output,
			const struct vmat_heap *heap)
{
	struct vmat_rows arenas = { .list = &vmat_list_arenas, .model = heap };
	struct vmat_rows buckets = { .list = &vmat_list_histogram, .model = heap };
	struct vmat_rows pinned = { .list = &vmat_list_pinned, .model = heap };
	struct vmat_rows findings = { .list = &vmat_list_findings, .model = heap };
	int r;

	if (cli_output_has_heads(output))
		write_head(subject, output, heap);
	if (!heap->is_walked)
		return 0;
	arenas.count = arena_rows(heap) + cli_output_has_heads(output); /* and their sum */
	r = cli_output_rows(output, &arenas);
	if (r < 0 || !cli_output_has_heads(output))
		return r;
	buckets.count = heap->buckets_count;
	pinned.count = heap->pinned_count < PINNED_SHOWN ? heap->pinned_count : PINNED_SHOWN;
	findings.count = heap->findings_count;
	cli_line("%s", "");
	r = cli_output_further(output, &buckets, 0);
	if (r == 0 && pinned.count) {
		cli_line("\nThe largest free ranges inside the heap, and what holds them there:");
		r = cli_output_further(output, &pinned, 0);
	}
	if (r == 0 && findings.count) {
		cli_line("\n%zu findings:", heap->findings_total);
		r = cli_output_further(output, &findings, 0);
	}
	return r;
}

static int write_json(const struct cli_subject *subject, const struct cli_output *output,
		      const struct vmat_heap *heap)
{
	struct vmat_rows rows = { .list = &vmat_list_arenas, .model = heap };
	struct vmat_json *json = cli_document_begin(subject, SCHEMA);
	int r, finished;

	if (!json)
		return -ENOMEM;
	vmat_json_string(json, "allocator", heap->allocator[0] ? heap->allocator : NULL);
	vmat_json_string(json, "allocator_why", heap->allocator_why);
	vmat_json_bool(json, "walked", heap->is_walked);
	vmat_json_string(json, "why_not", heap->is_walked ? NULL : heap->why_not);
	vmat_json_bool(json, "approximate", heap->is_approximate);
	cli_json_stop(json, heap);
	vmat_json_number(json, "trim_threshold", heap->trim_threshold);
	vmat_json_number(json, "mmap_threshold", heap->mmap_threshold);
	vmat_json_bool(json, "thresholds_fixed", heap->has_fixed_thresholds);
	vmat_json_number(json, "mmap_max", heap->mmap_max);
	vmat_json_number(json, "arena_max", heap->arena_max);
	vmat_json_number(json, "tcache_count", heap->tcache_count);
	vmat_json_number(json, "findings_total", heap->findings_total);
	rows.count = heap->is_walked ? arena_rows(heap) : 0;
	r = cli_output_json(output, json, &rows);
	if (heap->is_walked)
		cli_json_single(json, &(struct vmat_rows){ .list = &vmat_list_heap_totals,
							   .model = heap,
							   .count = 1 });
	cli_json_further(json,
			 &(struct vmat_rows){ .list = &vmat_list_histogram,
					      .model = heap,
					      .count = heap->buckets_count },
			 0);
	cli_json_further(json,
			 &(struct vmat_rows){ .list = &vmat_list_pinned,
					      .model = heap,
					      .count = heap->pinned_count },
			 0);
	cli_json_further(json,
			 &(struct vmat_rows){ .list = &vmat_list_findings,
					      .model = heap,
					      .count = heap->findings_count },
			 0);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

struct chunks {
	struct vmat_chunk *chunks;
	size_t count, capacity;
	bool has_failed;
};

static bool add_chunk(const struct vmat_chunk *chunk, void *context)
{
	struct chunks *all = context;

	if (all->count == all->capacity) {
		size_t capacity = all->capacity ? 2 * all->capacity : 1024;
		struct vmat_chunk *more = realloc(all->chunks, capacity * sizeof(*more));

		if (!more) {
			all->has_failed = true;
			return false;
		}
		all->chunks = more;
		all->capacity = capacity;
	}
	all->chunks[all->count++] = *chunk;
	return true;
}

static int write_chunks(const struct cli_subject *subject, const struct cli_output *output,
			const struct vmat_heap *heap)
{
	struct chunks all = { 0 };
	struct vmat_chunks_view view = { .heap = heap };
	struct vmat_rows rows = { .list = &vmat_list_chunks, .model = &view };
	struct vmat_json *json;
	int r = -ENOMEM;

	if (heap->is_walked)
		vmat_heap_each(heap, add_chunk, &all);
	view.chunks = all.chunks;
	rows.count = all.count;
	if (all.has_failed) {
		r = -ENOMEM;
	} else if (output->format != CLI_JSON) {
		if (cli_output_has_heads(output))
			write_head(subject, output, heap);
		r = cli_output_rows(output, &rows);
	} else {
		json = cli_document_begin(subject, SCHEMA);
		if (json) {
			vmat_json_bool(json, "approximate", heap->is_approximate);
			cli_json_stop(json, heap);
			r = cli_output_json(output, json, &rows);
			r = r < 0 ? r : cli_document_end(json);
		}
	}
	free(all.chunks);
	return r;
}

static int write_cells(const struct cli_subject *subject, const struct cli_output *output,
		       const struct vmat_heap *heap, const struct vmat_heap_strips *strips)
{
	const struct vmat_cells_view view = { .heap = heap, .strips = strips };
	struct vmat_rows rows = { .list = &vmat_list_cells,
				  .model = &view,
				  .count = strips->cells_count };
	const struct cli_args *args = output->args;
	struct vmat_json *json;
	int r, finished;

	if (output->format == CLI_JSON) {
		json = cli_document_begin(subject, SCHEMA);
		if (!json)
			return -ENOMEM;
		vmat_json_bool(json, "approximate", heap->is_approximate);
		vmat_json_number(json, "cell_bytes", strips->cell_bytes);
		vmat_json_number(json, "mapped_count", strips->mapped_count);
		vmat_json_number(json, "mapped_bytes", strips->mapped_bytes);
		r = cli_output_json(output, json, &rows);
		finished = cli_document_end(json);
		return r < 0 ? r : finished;
	}
	if (!cli_output_has_heads(output) || args->columns || args->all_columns || args->sort)
		return cli_output_rows(output, &rows);
	write_head(subject, output, heap);
	if (heap->is_walked)
		cli_strip_write(output, heap, strips);
	return 0;
}

/* Returns an exit code. */
static int write_map(const struct cli_subject *subject, const struct cli_output *output,
		     const struct vmat_heap *heap)
{
	const size_t lines = 16; /* of the largest arena */
	struct vmat_heap_strips *strips;
	struct vmat_error err = { 0 };
	uint64_t cell_bytes = 0;
	int r;

	if (output->args->cell && (!cli_parse_size(output->args->cell, &cell_bytes) || !cell_bytes))
		return cli_usage_error("--cell '%.64s' is no size", output->args->cell);
	r = vmat_heap_strips_read(&strips, heap, cell_bytes,
				  lines * cli_strip_columns(output->text.width), &err);
	if (r == -E2BIG || r == -EINVAL)
		return cli_usage_error("--cell: %s", err.text);
	if (r < 0)
		return cli_written(r, CLI_OK);
	r = write_cells(subject, output, heap, strips);
	vmat_heap_strips_free(strips);
	return cli_written(r, CLI_OK);
}

static int read_and_write(struct cli_subject *subject, const struct cli_output *output,
			  const struct vmat_heap_options *options)
{
	struct vmat_error *err = &subject->error;
	struct vmat_heap *heap;
	int r, code = CLI_OK;

	if (!options->is_running_allowed)
		cli_subject_restart(subject);
	r = vmat_heap_read(&heap, subject->target, subject->atlas->map, options, err);

	if (r < 0) {
		err->code = r;
		return cli_subject_refused(subject, output, SCHEMA);
	}
	if (heap->is_partial)
		cli_subject_note(subject, heap->partial_why);
	cli_subject_check(subject);
	if (output->args->map)
		code = write_map(subject, output, heap);
	else if (output->args->chunks)
		r = write_chunks(subject, output, heap);
	else if (output->format == CLI_JSON)
		r = write_json(subject, output, heap);
	else
		r = write_tables(subject, output, heap);
	cli_subject_warn(subject);
	vmat_heap_free(heap);
	return cli_written(r, code);
}

static int heap_run(const struct cli_args *args)
{
	struct vmat_heap_options options = { .size = sizeof(options),
					     .is_running_allowed = args->no_stop,
					     .allocator = args->allocator,
					     .is_snapshot_wanted = args->snapshot,
					     .expect = cli_expect_stop };
	struct cli_output output;
	struct cli_subject subject;
	int code;

	if (cli_tasks_wanted(args))
		return cli_rtos_heap_run(args);
	code = cli_output_init(&output, args,
			       args->map      ? &vmat_list_cells
			       : args->chunks ? &vmat_list_chunks
					      : &vmat_list_arenas);

	if (!code && args->map && args->chunks)
		return cli_usage_error("choose one of --map and --chunks");
	if (!code)
		code = cli_parse_max_stop(args->max_stop, &options.max_stop_ns);
	if (!code)
		code = cli_subject_open(&subject, args);
	if (code)
		return code;
	if (cli_subject_read(&subject, VMAT_NEED_PAGES))
		code = cli_subject_refused(&subject, &output, SCHEMA);
	else
		code = read_and_write(&subject, &output, &options);
	cli_subject_close(&subject);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 'c', "chunks", NULL, CLI_NO_VALUE, AT(chunks), "every chunk of the heap, a row each" },
	{ 'm', "map", NULL, CLI_NO_VALUE, AT(map),
	  "draw each arena as a strip of signs: where it is in use and where it is free" },
	{ 0, "cell", "SIZE", CLI_SIZE, AT(cell),
	  "bytes that a sign of --map stands for (as many as fit the largest arena into 16 lines)" },
	{ 0, "allocator", "NAME", CLI_ALLOCATOR, AT(allocator),
	  "the heap of this one (glibc, musl, mimalloc), whichever owns malloc" },
	{ 0, "no-stop", NULL, CLI_NO_VALUE, AT(no_stop),
	  "do not stop the process: the sums are approximate" },
	{ 0, "max-stop", "MS", CLI_NUMBER, AT(max_stop),
	  "do not stop the process for more milliseconds than this (2000)" },
	{ 0, "snapshot", NULL, CLI_NO_VALUE, AT(snapshot),
	  "fork the process and read the copy, also when its heap is small" },
	{ 0, "rtos", NULL, CLI_NO_VALUE, AT(rtos),
	  "the heap of FreeRTOS in it, instead of malloc's; the process is not stopped" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "1234", "the heap of process 1234" },
	{ "--no-stop 1234", "without stopping it" },
	{ "--chunks -x SIZE 1234", "every chunk, the largest last" },
	{ "--map 1234", "see how fragmented it is" },
	{ "-J 1234", "for a program" },
	{ 0 },
};

static const char *const text[] = {
	"Walks the heap of glibc's, musl's or mimalloc's malloc from outside: what each arena took from the kernel, what of "
	"it is in use, free, kept in caches, and what malloc_trim would give back.",
	"All threads of the process stand still while its heap is read. Where that would take longer than 0.1 s, "
	"the process is forked and runs on while the copy is read. How long it stood is printed, and "
	"before, how long that is expected to be. With --no-stop it runs on, and the sums are approximate.",
	"Other allocators (jemalloc, tcmalloc) are named and not walked; --allocator shows a heap that "
	"libc has beside theirs.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_arenas,    &vmat_list_histogram,
						 &vmat_list_pinned,    &vmat_list_findings,
						 &vmat_list_chunks,    &vmat_list_cells,
						 &vmat_list_rtos_heap, NULL };

const struct cli_command cli_heap_command = {
	.name = "heap",
	.operands = "TARGET",
	.operands_min = 1,
	.operands_max = 1,
	.summary = "malloc's arenas: in use, free, cached, stuck, trimmable",
	.text = text,
	.options = options,
	.has_target = true,
	.takes_firmware = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = heap_run,
};
