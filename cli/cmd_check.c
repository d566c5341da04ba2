/* SPDX-License-Identifier: MIT */
/*
 * vmatlas check: what a process's memory does, judged: over some time, or out of a recording.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include <vmatlas/analyze.h>
#include <vmatlas/fault_cause.h>

#include "number.h"
#include "paragraph.h"
#include "report.h"
#include "series.h"
#include "subject.h"

#define SCHEMA      "vmatlas/check/1"
#define SECOND_NS   UINT64_C(1000000000)
#define FOR_USUAL   (60 * SECOND_NS)
#define TICKS_USUAL 240
#define TICK_LEAST  (SECOND_NS / 20)
#define TICK_MOST   (10 * SECOND_NS)

/* Faults are sampled for a tenth of the time, within these bounds, when there are so many that their cause matters. */
#define FAULTS_LEAST SECOND_NS
#define FAULTS_MOST  (5 * SECOND_NS)
#define MINOR_MANY   1000.0 /* per second */
#define MAJOR_MANY   1.0

/* All that is known when it is told. The judgement is large, so it lives once. */
struct check {
	struct cli_series series;
	struct vmat_judgement judgement;
	struct cli_subject subject; /* of a living process and of a core; else its target is NULL */
	struct vmat_heap *heap;
	char note[1024]; /* what is missing in the answer */
};

static void note(struct check *check, const char *text)
{
	size_t used = strlen(check->note);

	if (text[0] && !strstr(check->note, text))
		snprintf(check->note + used, sizeof(check->note) - used, "%s%.400s",
			 used ? "; " : "", text);
}

static void head(const struct check *check, const struct cli_output *output)
{
	const struct vmat_series *series = &check->series.series;

	if (check->subject.target)
		cli_head_target(&check->subject, output);
	else
		cli_line("%llu %s  %s", (unsigned long long)series->pid,
			 cli_escape(output, series->name), cli_escape(output, series->command));
}

static int write_text(const struct check *check, const struct cli_output *output)
{
	const struct vmat_judgement *judgement = &check->judgement;

	head(check, output);
	cli_line("verdict: %s%s%.0f %%\n", vmat_verdict_name(judgement->verdict), ", confidence ",
		 100 * judgement->confidence);
	cli_paragraph(output, 0, "", judgement->sentence);
	for (size_t i = 0; i < judgement->findings_count; i++) {
		const struct vmat_finding *finding = &judgement->findings[i];

		cli_line("\n%s: %s (%s)", vmat_severity_name(finding->severity),
			 cli_escape(output, finding->title), finding->id);
		cli_paragraph(output, 2, "", cli_escape(output, finding->evidence));
		if (finding->advice[0])
			cli_paragraph(output, 2, "Advice: ", finding->advice);
	}
	return 0;
}

static int write_json(const struct check *check, const struct cli_output *output)
{
	const struct vmat_judgement *judgement = &check->judgement;
	const struct vmat_series *series = &check->series.series;
	struct vmat_rows rows = { .list = &vmat_list_judged,
				  .model = judgement,
				  .count = judgement->findings_count };
	struct vmat_json *json;
	int r, finished;

	if (vmat_json_new(&json, stdout) < 0)
		return -ENOMEM;
	vmat_json_begin(json, NULL);
	vmat_json_string(json, "schema", SCHEMA);
	vmat_json_begin(json, "target");
	vmat_json_number(json, "pid", series->pid);
	vmat_json_string(json, "name", series->name);
	vmat_json_string(json, "command", series->command);
	vmat_json_end(json);
	vmat_json_bool(json, "partial", check->note[0]);
	vmat_json_string(json, "partial_why", check->note[0] ? check->note : NULL);
	vmat_json_string(json, "verdict", vmat_verdict_name(judgement->verdict));
	vmat_json_real(json, "confidence", judgement->confidence);
	vmat_json_string(json, "sentence", judgement->sentence);
	vmat_json_number(json, "samples", series->samples_count);
	vmat_json_real(json, "span_s", (double)judgement->span_ns / 1e9);
	vmat_json_real(json, "sure_after_s",
		       vmat_is_known(judgement->sure_after_ns)
			       ? (double)judgement->sure_after_ns / 1e9
			       : NAN);
	vmat_json_real(json, "growth_bytes_per_s", judgement->growth_bytes_per_s);
	vmat_json_real(json, "floor_bytes_per_s", judgement->floor_bytes_per_s);
	r = cli_output_json(output, json, &rows);
	vmat_json_end(json);
	finished = vmat_json_finish(json);
	return r < 0 ? r : finished;
}

static int tell(const struct check *check, const struct cli_output *output)
{
	const struct cli_args *args = output->args;
	struct vmat_rows rows = { .list = &vmat_list_judged,
				  .model = &check->judgement,
				  .count = check->judgement.findings_count };
	int r;

	if (output->format == CLI_JSON)
		r = write_json(check, output);
	else if (cli_output_has_heads(output) && !args->columns && !args->all_columns &&
		 !args->sort)
		r = write_text(check, output);
	else
		r = cli_output_rows(output, &rows);
	if (check->note[0])
		cli_warn("the answer is partial: %s", check->note);
	return cli_written(r, vmat_judgement_is_bad(&check->judgement) ? CLI_JUDGED_BAD : CLI_OK);
}

/* What is there now: the map with its owners, the stacks, the heap; without a stop. What cannot be read is left out. */
static void look(struct check *check)
{
	struct cli_subject *subject = &check->subject;
	struct vmat_heap_options options = { .size = sizeof(options), .is_running_allowed = true };
	struct vmat_heap_settings settings;
	struct vmat_moment moment = { 0 };
	struct vmat_error err = { 0 };

	if (cli_subject_read(subject, VMAT_NEED_PAGES | VMAT_NEED_OWNERS)) {
		note(check, subject->error.text);
		return;
	}
	if (vmat_heap_read(&check->heap, subject->target, subject->atlas->map, &options, &err) < 0)
		note(check, err.text);
	moment.atlas = subject->atlas;
	moment.heap = check->heap;
	moment.counters = subject->counters;
	if (vmat_heap_settings_read(&settings, subject->target, subject->atlas->map, &err) == 0)
		moment.settings = &settings;
	vmat_judge_moment(&check->judgement, &moment);
	if (subject->is_partial)
		note(check, subject->partial_why);
}

static double rate_of(const struct vmat_series *series, enum vmat_metric metric)
{
	const struct vmat_sample *first = series->samples;
	const struct vmat_sample *last = first + series->samples_count - 1;
	uint64_t before = first->values[metric], after = last->values[metric];

	if (!vmat_is_known(before) || !vmat_is_known(after) || after < before ||
	    last->mono_ns <= first->mono_ns)
		return 0;
	return (double)(after - before) * 1e9 / (double)(last->mono_ns - first->mono_ns);
}

/* Why it has so many page faults, where it has. What samples cost the target is only spent then. */
static void look_at_faults(struct check *check, uint64_t for_ns)
{
	struct vmat_fault_options options = { .size = sizeof(options), .for_ns = for_ns / 10 };
	const struct vmat_series *series = &check->series.series;
	struct vmat_fault_profile *profile;
	struct vmat_error err = { 0 };

	if (series->samples_count < 2)
		return;
	if (check->judgement.verdict != VMAT_VERDICT_FAULT_CHURN &&
	    rate_of(series, VMAT_METRIC_FAULTS_MINOR) < MINOR_MANY &&
	    rate_of(series, VMAT_METRIC_FAULTS_MAJOR) < MAJOR_MANY)
		return;
	if (options.for_ns < FAULTS_LEAST)
		options.for_ns = FAULTS_LEAST;
	if (options.for_ns > FAULTS_MOST)
		options.for_ns = FAULTS_MOST;
	if (vmat_fault_profile_read(&profile, check->subject.target, &options, &err) < 0) {
		note(check, err.text);
		return;
	}
	if (profile->every)
		vmat_fault_findings_add(&check->judgement, profile);
	else
		note(check, profile->why_no_samples);
	vmat_fault_profile_free(profile);
}

static int check_living(struct check *check, const struct cli_args *args, uint64_t for_ns,
			uint64_t interval_ns)
{
	struct cli_args own = *args;
	char pid[24];
	int code = CLI_OK;

	if (!args->root)
		code = cli_series_watch(&check->series, args->operands[0], for_ns, interval_ns);
	if (code)
		return code;
	vmat_judge(&check->judgement, &check->series.series);
	note(check, check->series.note);
	/* By its number: a name may by now mean another one, too. */
	if (check->series.series.pid) {
		snprintf(pid, sizeof(pid), "%llu", (unsigned long long)check->series.series.pid);
		own.operands[0] = pid;
	}
	if (check->series.series.events_count &&
	    check->series.series.events[check->series.series.events_count - 1].type ==
		    VMAT_EVENT_EXITED) {
		note(check, "the process has ended: only its samples are judged");
		return CLI_OK;
	}
	code = cli_subject_open(&check->subject, &own);
	if (code)
		return code;
	if (!check->series.series.pid) {
		check->series.series.pid = (uint64_t)check->subject.process->pid;
		snprintf(check->series.series.name, sizeof(check->series.series.name), "%s",
			 check->subject.process->comm);
	}
	look(check);
	look_at_faults(check, for_ns);
	return CLI_OK;
}

static int check_run(const struct cli_args *args)
{
	uint64_t for_ns = FOR_USUAL, interval_ns = 0;
	static struct check check;
	struct cli_output output;
	int code = cli_output_init(&output, args, &vmat_list_judged);

	if (!code && args->for_time && !cli_parse_duration(args->for_time, &for_ns))
		code = cli_usage_error("--for '%.64s' is no time, like 60s, 10m or 2h",
				       args->for_time);
	if (!code && args->interval && !cli_parse_duration(args->interval, &interval_ns))
		code = cli_usage_error("--interval '%.64s' is no time, like 1s or 250ms",
				       args->interval);
	if (code)
		return code;
	if (!interval_ns) {
		interval_ns = for_ns / TICKS_USUAL;
		interval_ns = interval_ns < TICK_LEAST ? TICK_LEAST : interval_ns;
		interval_ns = interval_ns > TICK_MOST ? TICK_MOST : interval_ns;
	}
	if (!args->root && cli_series_is_recording(args->operands[0])) {
		code = cli_series_read(&check.series, args->operands[0], args->pid);
		if (!code) {
			vmat_judge(&check.judgement, &check.series.series);
			note(&check, check.series.note);
		}
	} else {
		code = check_living(&check, args, for_ns, interval_ns);
	}
	if (!code)
		code = tell(&check, &output);
	vmat_heap_free(check.heap);
	cli_subject_close(&check.subject);
	cli_series_free(&check.series);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 0, "for", "TIME", CLI_NUMBER, AT(for_time),
	  "watch it for this long, like 10m or 2h (60s)" },
	{ 0, "interval", "TIME", CLI_NUMBER, AT(interval),
	  "take a sample so often (a 240th of --for, 50ms to 10s)" },
	{ 'p', "pid", "PID", CLI_NUMBER, AT(pid), "of a recording of several processes, this one" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "1234", "a minute of process 1234" },
	{ "--for 2h 1234", "longer: slower leaks are seen" },
	{ "day.vmatlas", "a recording of vmatlas record" },
	{ "-J --for 10m 1234", "for a program; the exit status is 1 when it is bad" },
	{ 0 },
};

static const char *const text[] = {
	"Watches a process, or reads a recording, and says what its memory does: stable, leak, fragmentation, cache_filling, "
	"stacks, mappings, fault_churn or insufficient_data; how sure that is, and from which rate on a leak would have been "
	"seen. Findings follow, the weightiest first, each with its evidence and, where there is a setting that helps, its "
	"value, what it changes and what it costs.",
	"Where it has 1000 page faults a second or more, or waits for major ones, they are sampled for some seconds more (a tenth of "
	"--for, 1 to 5 s), and each of their causes is a finding.",
	"The process is never stopped. Steps, warm-ups and cycles seen three times are told from growth; no slope is taken over "
	"gaps, sleep of the machine or exec.",
	"The exit status is 1 when a finding is bad, 0 when none is, which is so for insufficient_data, too.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_judged, NULL };

const struct cli_command cli_check_command = {
	.name = "check",
	.operands = "TARGET",
	.operands_min = 1,
	.operands_max = 1,
	.summary = "judge a process over time: leak, fragmentation, stacks, churn, and what helps",
	.text = text,
	.options = options,
	.has_target = true,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = check_run,
};
