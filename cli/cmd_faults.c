/* SPDX-License-Identifier: MIT */
/*
 * vmatlas faults: page faults for some time: how many, where, by which code, why, and what takes them away.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vmatlas/fault_cause.h>

#include "launch.h"
#include "number.h"
#include "report.h"
#include "subject.h"

#define SCHEMA "vmatlas/faults/1"

enum { PLACES_SHOWN = 12, SITES_SHOWN = 8, WIDTH = 78, INDENT = 4 };

/* A paragraph below its head, broken at blanks. */
static void write_paragraph(const struct cli_output *output, const char *head, const char *text)
{
	size_t width = output->text.width > 40 && output->text.width < WIDTH ? output->text.width
									     : (size_t)WIDTH;
	const char *safe = cli_escape(output, text);

	while (*safe) {
		size_t room = width - INDENT - strlen(head), length = strlen(safe);

		if (length > room) {
			length = room;
			while (length && safe[length] != ' ')
				length--;
			if (!length)
				length = strcspn(safe, " ");
		}
		cli_line("%*s%s%.*s", INDENT, "", head, (int)length, safe);
		safe += length;
		while (*safe == ' ')
			safe++;
		head = "  ";
	}
}

static void write_finding(const struct cli_output *output, const struct vmat_fault_finding *finding)
{
	char amount[120] = "";

	if (vmat_is_known(finding->minor))
		snprintf(amount, sizeof(amount), "%s%s minor%s",
			 finding->minor_error ? "about " : "", cli_count(finding->minor),
			 finding->minor == 1 ? " fault" : " faults");
	if (finding->minor_error && vmat_is_known(finding->minor_error))
		snprintf(amount + strlen(amount), sizeof(amount) - strlen(amount), " (+-%s)",
			 cli_count(finding->minor_error));
	if (finding->major)
		snprintf(amount + strlen(amount), sizeof(amount) - strlen(amount), ", %s major",
			 cli_count(finding->major));
	cli_line("%s: %s", vmat_fault_cause_name(finding->cause),
		 vmat_fault_cause_meaning(finding->cause));
	if (finding->cause == VMAT_FAULT_UNKNOWN)
		cli_line("%*s%s", INDENT, "", amount);
	else
		cli_line("%*s%s, confidence %u %%", INDENT, "", amount,
			 (unsigned)(100 * finding->confidence + 0.5));
	write_paragraph(output, "why: ", finding->evidence);
	if (finding->advice[0])
		write_paragraph(output, "do: ", finding->advice);
}

static void write_head(const struct cli_subject *subject, const struct cli_output *output,
		       const struct vmat_faults_view *view)
{
	const struct vmat_fault_profile *p = view->profile;
	double seconds = (double)p->span_ns / 1e9;

	cli_head_target(subject, output);
	cli_line("in %.1f s %s minor faults, %.1f a second; %s major, %.1f a second", seconds,
		 cli_count(p->minor), (double)p->minor / (seconds > 0 ? seconds : 1),
		 cli_count(p->major), (double)p->major / (seconds > 0 ? seconds : 1));
	if (p->every)
		cli_line(
			"sampled: one of %s minor and all major ones%s; %s samples, %s lost; %s looks at "
			"the map",
			cli_count(p->every), p->has_kernel ? "" : ", without those of system calls",
			cli_count(p->samples_minor + p->samples_major), cli_count(p->lost),
			cli_count(p->looks));
	else
		cli_line("not sampled: %s", cli_escape(output, p->why_no_samples));
	if (vmat_is_known(p->forks) && (p->forks || p->threads_begun))
		cli_line("meanwhile %s threads began, %s ended; %s forks",
			 cli_count(p->threads_begun), cli_count(p->threads_ended),
			 cli_count(p->forks));
	cli_line("%s", "");
}

static int write_tables(const struct cli_subject *subject, const struct cli_output *output,
			const struct vmat_faults_view *view)
{
	const struct vmat_fault_profile *profile = view->profile;
	const bool has_heads = cli_output_has_heads(output);
	struct vmat_rows places = { .list = &vmat_list_fault_places, .model = view };
	struct vmat_rows kinds = { .list = &vmat_list_fault_kinds, .model = view };
	struct vmat_rows sites = { .list = &vmat_list_fault_sites, .model = view };
	int r;

	places.count = profile->places_count;
	if (!has_heads)
		return cli_output_rows(output, &places);
	write_head(subject, output, view);
	for (size_t i = 0; i < view->findings->count; i++) {
		write_finding(output, &view->findings->findings[i]);
		cli_line("%s", "");
	}
	if (!profile->places_count)
		return 0;
	if (places.count > PLACES_SHOWN && !output->args->all_columns && !output->args->sort)
		places.count = PLACES_SHOWN;
	r = cli_output_rows(output, &places);
	if (r == 0 && places.count < profile->places_count)
		cli_line("... and %zu more places", profile->places_count - places.count);
	kinds.count = view->kinds_count;
	cli_line("%s", "");
	if (r == 0)
		r = cli_output_further(output, &kinds, 0);
	sites.count = profile->sites_count < SITES_SHOWN ? profile->sites_count : SITES_SHOWN;
	cli_line("%s", "");
	return r < 0 ? r : cli_output_further(output, &sites, 0);
}

static void json_settings(struct vmat_json *json, const struct vmat_fault_profile *p)
{
	vmat_json_number(json, "span_ns", p->span_ns);
	vmat_json_number(json, "minor", p->minor);
	vmat_json_number(json, "major", p->major);
	vmat_json_bool(json, "sampled", p->every != 0);
	vmat_json_string(json, "why_no_samples", p->every ? NULL : p->why_no_samples);
	vmat_json_number(json, "every", p->every ? p->every : VMAT_UNKNOWN(VMAT_NOT_APPLICABLE));
	vmat_json_number(json, "samples_minor", p->samples_minor);
	vmat_json_number(json, "samples_major", p->samples_major);
	vmat_json_number(json, "lost", p->lost);
	vmat_json_number(json, "throttled", p->throttled);
	vmat_json_number(json, "unseen", vmat_fault_unseen(p));
	vmat_json_bool(json, "with_kernel", p->has_kernel);
	vmat_json_number(json, "threads_begun", p->threads_begun);
	vmat_json_number(json, "threads_ended", p->threads_ended);
	vmat_json_number(json, "forks", p->forks);
	vmat_json_number(json, "looks", p->looks);
	vmat_json_string(json, "allocator", p->heap.allocator[0] ? p->heap.allocator : NULL);
	vmat_json_number(json, "mmap_threshold", p->heap.mmap_threshold);
	vmat_json_number(json, "trim_threshold", p->heap.trim_threshold);
	vmat_json_bool(json, "thresholds_fixed", p->heap.has_fixed_thresholds);
}

static int write_json(const struct cli_subject *subject, const struct cli_output *output,
		      const struct vmat_faults_view *view)
{
	const struct vmat_fault_profile *profile = view->profile;
	const struct vmat_rows rows[] = {
		{ .list = &vmat_list_fault_places, .model = view, .count = profile->places_count },
		{ .list = &vmat_list_fault_kinds, .model = view, .count = view->kinds_count },
		{ .list = &vmat_list_fault_sites, .model = view, .count = profile->sites_count },
		{ .list = &vmat_list_fault_causes, .model = view, .count = view->findings->count },
		{ .list = &vmat_list_fault_ticks, .model = view, .count = profile->ticks_count },
	};
	struct vmat_json *json = cli_document_begin(subject, SCHEMA);
	int r, finished;

	if (!json)
		return -ENOMEM;
	json_settings(json, profile);
	r = cli_output_json(output, json, &rows[0]);
	for (size_t i = 1; i < sizeof(rows) / sizeof(rows[0]); i++)
		cli_json_further(json, &rows[i], 0);
	finished = cli_document_end(json);
	return r < 0 ? r : finished;
}

/* Counts as they come, for who watches. */
static void show_tick(const struct vmat_fault_profile *profile, void *context)
{
	const struct vmat_fault_tick *tick = &profile->ticks[profile->ticks_count - 1];

	(void)context;
	fprintf(stderr, "%6.1f s  %10" PRIu64 " minor  %8" PRIu64 " major\n",
		(double)tick->end_ns / 1e9, tick->minor, tick->major);
}

/* Ctrl-C ends the time, and what was seen until then is told. */
static bool is_interrupted(void)
{
	return cli_signals_caught() != 0;
}

static int parse(const struct cli_args *args, struct vmat_fault_options *options)
{
	if (args->for_time && !cli_parse_duration(args->for_time, &options->for_ns))
		return cli_usage_error("--for: '%s' is no time, as in 10s, 500ms or 2m",
				       args->for_time);
	if (args->interval && !cli_parse_duration(args->interval, &options->interval_ns))
		return cli_usage_error("--interval: '%s' is no time, as in 1s or 500ms",
				       args->interval);
	if (args->every && !cli_parse_count(args->every, &options->every))
		return cli_usage_error("--every: '%s' is no number above 0", args->every);
	return CLI_OK;
}

static int watch_and_write(struct cli_subject *subject, const struct cli_output *output,
			   const struct vmat_fault_options *options)
{
	struct vmat_error *err = &subject->error;
	struct vmat_fault_profile *profile;
	struct vmat_fault_findings findings;
	struct vmat_faults_view view;
	int r = vmat_fault_profile_read(&profile, subject->target, options, err);

	if (r < 0) {
		err->code = r;
		return cli_fail(err);
	}
	if (profile->is_partial)
		cli_subject_note(subject, profile->partial_why);
	if (!profile->every && !options->without_samples)
		cli_subject_note(subject, profile->why_no_samples);
	vmat_fault_judge(&findings, profile);
	vmat_faults_view_init(&view, profile, &findings);
	r = output->format == CLI_JSON ? write_json(subject, output, &view)
				       : write_tables(subject, output, &view);
	cli_subject_warn(subject);
	vmat_fault_profile_free(profile);
	return cli_written(r, CLI_OK);
}

static int faults_run(const struct cli_args *args)
{
	struct vmat_fault_options options = { .size = sizeof(options),
					      .without_samples = args->no_samples };
	struct cli_output output;
	struct cli_subject subject;
	int signal_fd, code = cli_output_init(&output, args, &vmat_list_fault_places);

	if (!code)
		code = parse(args, &options);
	if (!code)
		code = cli_subject_open(&subject, args);
	if (code)
		return code;
	if (isatty(STDERR_FILENO))
		options.progress = show_tick;
	if (cli_signals_catch(0, &signal_fd) == 0)
		options.is_enough = is_interrupted;
	code = watch_and_write(&subject, &output, &options);
	cli_subject_close(&subject);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 0, "for", "TIME", CLI_NUMBER, AT(for_time), "how long to watch (10s)" },
	{ 0, "interval", "TIME", CLI_NUMBER, AT(interval),
	  "count faults for each of these times (1s)" },
	{ 0, "every", "N", CLI_NUMBER, AT(every),
	  "sample one of N minor faults (17); 1 is all of them" },
	{ 0, "no-samples", NULL, CLI_NO_VALUE, AT(no_samples),
	  "only count: no addresses, no code, no cause" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "--for 2s 1234", "two seconds of process 1234" },
	{ "--for 1s --every 1 1234", "look at each fault: for short threads and few faults" },
	{ "-J --for 1s 1234", "for a program" },
	{ 0 },
};

static const char *const text[] = {
	"Counts page faults, minor and major, and samples them: which memory, which code, and from how the "
	"same pages behave over time their cause, with what takes them away.",
	"Nothing is stopped, and nothing runs in the target. One of 17 minor faults is sampled by the kernel, and "
	"every major one; new threads are followed. Sampling needs the right to trace the target and "
	"kernel.perf_event_paranoid of 2 or less; without it faults are only counted.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_fault_places, &vmat_list_fault_kinds,
						 &vmat_list_fault_sites,  &vmat_list_fault_causes,
						 &vmat_list_fault_ticks,  NULL };

const struct cli_command cli_faults_command = {
	.name = "faults",
	.operands = "TARGET",
	.operands_min = 1,
	.operands_max = 1,
	.summary = "page faults: how many, where, by which code, why, and the cure",
	.text = text,
	.options = options,
	.has_target = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = faults_run,
};
