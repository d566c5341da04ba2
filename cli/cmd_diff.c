/* SPDX-License-Identifier: MIT */
/*
 * vmatlas diff: what grew between two recordings, or between two times of one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/analyze.h>

#include "number.h"
#include "output.h"
#include "report.h"
#include "series.h"

#define SCHEMA "vmatlas/diff/1"

struct moment {
	struct vmat_sample sample;
	uint64_t kinds_off_ns; /* so far from the sample its kinds were read; unknown: never */
	uint64_t owners_ns;    /* when the owners were read that are nearest; unknown: never */
	struct vmat_owner_sample *owners;
	size_t owners_count;
};

struct diff {
	struct cli_series before, after; /* `after` is empty when both times are of one recording */
	struct moment first, last;
	struct vmat_difference difference;
	bool has_owners;
	char why_not[300]; /* has_owners */
};

/* The number of the sample at `at_ns` from the first one on, or of the last one before. */
static size_t sample_at(const struct vmat_series *series, uint64_t at_ns)
{
	size_t low = 0, high = series->samples_count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (series->samples[middle].mono_ns - series->samples[0].mono_ns <= at_ns)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* Those kinds that are not known yet, as a sample so far away has them. */
static void take_kinds(struct moment *moment, const struct vmat_sample *from, uint64_t off_ns)
{
	for (unsigned k = 0; k < VMAT_KIND_COUNT; k++) {
		if (!vmat_is_known(from->kinds[k].size))
			continue;
		if (!vmat_is_known(moment->kinds_off_ns))
			moment->kinds_off_ns = off_ns;
		if (!vmat_is_known(moment->sample.kinds[k].size))
			moment->sample.kinds[k] = from->kinds[k];
	}
}

/*
 * The sample of that number; what it does not know (kinds, owners and heap are read seldom) as the samples around it know it:
 * the nearest one on the side of the other time, and where none there does, on the other side.
 */
static struct moment settled(const struct vmat_series *series, size_t at, bool is_forward)
{
	struct moment moment = { .sample = series->samples[at],
				 .kinds_off_ns = VMAT_UNKNOWN(VMAT_NOT_RECORDED),
				 .owners_ns = VMAT_UNKNOWN(VMAT_NOT_RECORDED) };
	struct vmat_sample *sample = &moment.sample;

	for (size_t i = 0; i < 2 * series->samples_count; i++) {
		bool is_second = i >= series->samples_count;
		size_t away = is_second ? i - series->samples_count : i;
		size_t from = is_forward != is_second ? at + away : at - away;
		const struct vmat_sample *other;

		if (from >= series->samples_count)
			continue;
		other = &series->samples[from];
		for (unsigned m = 0; m < VMAT_METRIC_COUNT; m++)
			if (!vmat_is_known(sample->values[m]))
				sample->values[m] = other->values[m];
		take_kinds(&moment, other, distance(other->mono_ns, sample->mono_ns));
		if (!vmat_is_known(moment.owners_ns) && other->marks & VMAT_SAMPLE_OWNERS)
			moment.owners_ns = other->mono_ns;
	}
	return moment;
}

/* 0, or an exit code; 0 and no owners where the recording has none. */
static int read_owners(struct diff *diff, struct moment *moment, const struct cli_series *series,
		       const char *path)
{
	struct vmat_error err = { 0 };
	int r = vmat_recording_owners(series->recording, series->index, moment->owners_ns,
				      &moment->owners, &moment->owners_count, &err);

	if (!r && vmat_is_known(moment->owners_ns))
		return CLI_OK;
	diff->has_owners = false;
	if (!r)
		snprintf(err.text, sizeof(err.text),
			 "%.200s holds no owners of this process: its map could not be read", path);
	else if (r != -ENODATA)
		return cli_fail(&err);
	snprintf(diff->why_not, sizeof(diff->why_not), "%.299s", err.text);
	return CLI_OK;
}

static int compare(struct diff *diff, const struct cli_args *args)
{
	bool is_one = args->operands_count == 1;
	int code;

	vmat_difference_find(&diff->difference, &diff->first.sample, &diff->last.sample);
	diff->has_owners = true;
	code = read_owners(diff, &diff->first, &diff->before, args->operands[0]);
	if (!code)
		code = read_owners(diff, &diff->last, is_one ? &diff->before : &diff->after,
				   args->operands[is_one ? 0 : 1]);
	if (!code && diff->has_owners)
		vmat_difference_add_owners(&diff->difference, diff->first.owners,
					   diff->first.owners_count, diff->last.owners,
					   diff->last.owners_count);
	return code;
}

static int read_both(struct diff *diff, const struct cli_args *args)
{
	uint64_t from_ns = 0, to_ns = INT64_MAX;
	const struct vmat_series *a = &diff->before.series, *b = a;
	bool is_one = args->operands_count == 1;
	int code;

	if ((args->from || args->to) && !is_one)
		return cli_usage_error("--from and --to are times of one recording");
	if (args->from && !cli_parse_duration(args->from, &from_ns))
		return cli_usage_error("--from '%.64s' is no time, like 60s or 2h", args->from);
	if (args->to && !cli_parse_duration(args->to, &to_ns))
		return cli_usage_error("--to '%.64s' is no time, like 60s or 2h", args->to);
	code = cli_series_read(&diff->before, args->operands[0], args->pid);
	if (!code && !is_one) {
		code = cli_series_read(&diff->after, args->operands[1], args->pid);
		b = &diff->after.series;
	}
	if (code)
		return code;
	if (!a->samples_count || !b->samples_count)
		return cli_usage_error("there is no sample in %.200s",
				       args->operands[a->samples_count ? 1 : 0]);
	diff->first = settled(a, is_one ? sample_at(a, from_ns) : a->samples_count - 1, is_one);
	diff->last = settled(b, sample_at(b, to_ns), false);
	return compare(diff, args);
}

/* Regions are read more seldom than the numbers of the process. */
static void write_off(const char *which, const struct moment *moment)
{
	if (vmat_is_known(moment->kinds_off_ns) && moment->kinds_off_ns)
		cli_line("kinds and owners were read %.1f s from the %s sample",
			 (double)moment->kinds_off_ns / 1e9, which);
}

/* What ran at that time: another program may have been executed since the recording began. */
static const char *name_at(const struct vmat_series *series, uint64_t mono_ns)
{
	const char *name = series->name;

	for (size_t i = 0; i < series->events_count; i++)
		if (series->events[i].type == VMAT_EVENT_EXEC &&
		    series->events[i].mono_ns <= mono_ns)
			name = series->events[i].text;
	return name;
}

static void write_head(const struct diff *diff, const struct cli_output *output)
{
	const struct vmat_series *a = &diff->before.series;
	const struct vmat_series *b = diff->after.series.samples_count ? &diff->after.series : a;

	cli_line("%llu %s -> %llu %s", (unsigned long long)a->pid,
		 cli_escape(output, name_at(a, diff->first.sample.mono_ns)),
		 (unsigned long long)b->pid,
		 cli_escape(output, name_at(b, diff->last.sample.mono_ns)));
	cli_line("memory that is held (resident anonymous and swapped) grew by %s",
		 cli_size(output, diff->difference.grown_bytes));
	write_off("first", &diff->first);
	write_off("last", &diff->last);
	cli_line("%s", "");
}

static int write_json(const struct diff *diff, const struct cli_output *output,
		      const struct vmat_rows *rows)
{
	struct vmat_json *json;
	int r, finished;

	if (vmat_json_new(&json, stdout) < 0)
		return -ENOMEM;
	vmat_json_begin(json, NULL);
	vmat_json_string(json, "schema", SCHEMA);
	vmat_json_number(json, "grown_bytes", diff->difference.grown_bytes);
	vmat_json_number(json, "first_kinds_off_ns", diff->first.kinds_off_ns);
	vmat_json_number(json, "last_kinds_off_ns", diff->last.kinds_off_ns);
	vmat_json_bool(json, "has_owners", diff->has_owners);
	r = cli_output_json(output, json, rows);
	vmat_json_end(json);
	finished = vmat_json_finish(json);
	return r < 0 ? r : finished;
}

static int tell(const struct diff *diff, const struct cli_output *output, uint64_t fail_over)
{
	struct vmat_rows rows = { .list = &vmat_list_changes,
				  .model = &diff->difference,
				  .count = diff->difference.count };
	bool is_bad = vmat_is_known(diff->difference.grown_bytes) &&
		      diff->difference.grown_bytes > fail_over;
	int r;

	if (output->format == CLI_JSON) {
		r = write_json(diff, output, &rows);
	} else {
		if (cli_output_has_heads(output))
			write_head(diff, output);
		r = cli_output_rows(output, &rows);
	}
	if (diff->before.note[0])
		cli_warn("%s", diff->before.note);
	if (!diff->has_owners)
		cli_warn("%s", diff->why_not);
	return cli_written(r, is_bad ? CLI_JUDGED_BAD : CLI_OK);
}

static int diff_run(const struct cli_args *args)
{
	uint64_t fail_over = UINT64_MAX;
	static struct diff diff;
	struct cli_output output;
	int code = cli_output_init(&output, args, &vmat_list_changes);

	if (!code && args->fail_over && !cli_parse_size(args->fail_over, &fail_over))
		code = cli_usage_error("--fail-over '%.64s' is no size", args->fail_over);
	if (!code)
		code = read_both(&diff, args);
	if (!code)
		code = tell(&diff, &output, fail_over);
	free(diff.first.owners);
	free(diff.last.owners);
	cli_series_free(&diff.before);
	cli_series_free(&diff.after);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 0, "fail-over", "SIZE", CLI_SIZE, AT(fail_over),
	  "exit with 1 when what is held grew by more than this" },
	{ 0, "from", "TIME", CLI_NUMBER, AT(from),
	  "of one recording: begin so long after its start" },
	{ 0, "to", "TIME", CLI_NUMBER, AT(to), "of one recording: end so long after its start" },
	{ 'p', "pid", "PID", CLI_NUMBER, AT(pid), "of a recording of several processes, this one" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "before.vmatlas after.vmatlas", "the last samples of two recordings" },
	{ "--from 10m day.vmatlas", "what grew after the first ten minutes" },
	{ "--fail-over 10M a.vmatlas b.vmatlas",
	  "for a script: exit status 1 when more than 10 MiB were added" },
	{ 0 },
};

static const char *const text[] = {
	"Shows what grew between the ends of two recordings of vmatlas record, or within one: the numbers of the process, then "
	"the kinds of region, the most grown first, then those owners of regions (files, libraries, names) that changed.",
	"The 64 largest owners are recorded by name, the smaller ones of a kind as (others). Regions of malloc and stacks have none, only "
	"their kind.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_changes, NULL };

const struct cli_command cli_diff_command = {
	.name = "diff",
	.operands = "RECORDING [RECORDING]",
	.operands_min = 1,
	.operands_max = 2,
	.summary = "what grew between two recordings, or two times of one",
	.text = text,
	.options = options,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = diff_run,
};
