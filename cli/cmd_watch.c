/* SPDX-License-Identifier: MIT */
/*
 * vmatlas watch: processes over time, as a picture on a terminal, as rows on a pipe, and in words at the end.
 *
 * One thread waits for the next tick, for the end of a process, for keys and for signals, all by descriptors, so that none is
 * missed and the terminal is put back on every way out.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "number.h"
#include "report.h"
#include "watch.h"

#define SCHEMA    "vmatlas/watch/1"
#define SECOND_NS 1000000000ULL

enum {
	SAMPLES_MAX = 2048,
	EVENTS_MAX = 256,
	KINDS_INTERVAL_S = 5,
	HEAP_INTERVAL_S = 60,
};

/* What the loop needs besides. */
struct loop {
	struct watch *watch;
	bool is_screen, has_screen, has_help, has_rows;
	int signals;       /* signalfd */
	uint64_t until_ns; /* CLOCK_MONOTONIC; 0: no end */
	bool is_over;
	bool is_called; /* some descriptor woke the loop: a process may have ended */
	int error;      /* of writing */
};

/* How it ended, in words. */
static void tell_end(struct watch_target *target, const struct vmat_event *event)
{
	uint64_t status = event->number;
	size_t size = sizeof(target->end);

	target->wait_status = status;
	if (event->type == VMAT_EVENT_LOST)
		snprintf(target->end, size, "it cannot be read any more: %.90s", event->text);
	else if (!vmat_is_known(status))
		snprintf(target->end, size, "it has ended; its exit status is not known: %s",
			 vmat_reason_text(vmat_reason(status)));
	else if (WIFSIGNALED((int)status))
		snprintf(target->end, size, "it has ended by signal %d (%s)", WTERMSIG((int)status),
			 strsignal(WTERMSIG((int)status)));
	else
		snprintf(target->end, size, "it has ended with exit status %d",
			 WEXITSTATUS((int)status));
}

static void close_target(struct watch *watch, struct watch_target *target)
{
	target->sampler = vmat_sampler_close(target->sampler);
	watch->live--;
}

/* Counters to rates, from the tick before. */
static void take_rates(struct watch_target *target, const struct vmat_sample *sample)
{
	const uint64_t *now = sample->values, *before = target->last.values;
	double seconds = (double)(sample->mono_ns - target->last.mono_ns) / 1e9;
	uint64_t faults, cpu_ns;

	target->faults_per_s = target->cpu_permille = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	if (!target->has_sample || seconds <= 0 ||
	    now[VMAT_METRIC_CPU_NS] < before[VMAT_METRIC_CPU_NS])
		return;
	faults = now[VMAT_METRIC_FAULTS_MINOR] + now[VMAT_METRIC_FAULTS_MAJOR] -
		 before[VMAT_METRIC_FAULTS_MINOR] - before[VMAT_METRIC_FAULTS_MAJOR];
	cpu_ns = now[VMAT_METRIC_CPU_NS] - before[VMAT_METRIC_CPU_NS];
	target->faults_per_s = (uint64_t)((double)faults / seconds + 0.5);
	target->cpu_permille = (uint64_t)((double)cpu_ns / seconds / 1e6 + 0.5);
}

static void take_sample(struct watch_target *target, const struct vmat_sample *sample)
{
	take_rates(target, sample);
	target->last = *sample;
	target->has_sample = true;
	target->ticks++;
	target->cpu_ns = vmat_sampler_cpu_ns(target->sampler);
	if (vmat_is_known(sample->kinds[0].count)) {
		target->last_kinds = *sample;
		target->has_kinds = true;
	}
	snprintf(target->refusal, sizeof(target->refusal), "%.*s",
		 (int)strcspn(vmat_sampler_refusal(target->sampler), "\n"),
		 vmat_sampler_refusal(target->sampler));
}

/* One line of JSON for a tick, and for its events without a sample. */
static int write_json(const struct watch *watch, const struct watch_target *target,
		      const struct vmat_watch_row *row, bool has_sample)
{
	struct vmat_rows rows = { .list = &vmat_list_watch, .model = row, .count = 1 };
	struct vmat_rows kinds = { .list = &vmat_list_watch_kinds, .model = &row->sample };
	struct vmat_rows events = { .list = &vmat_list_watch_events,
				    .model = watch->tick.events,
				    .count = watch->tick.events_count };
	size_t order[VMAT_KIND_COUNT];
	struct vmat_json *json;
	int r = vmat_json_new(&json, stdout);

	if (r)
		return r;
	for (size_t i = 0; i < VMAT_KIND_COUNT; i++) {
		if (vmat_is_known(row->sample.kinds[i].count) && row->sample.kinds[i].count)
			order[kinds.count++] = i;
	}
	kinds.order = order;
	vmat_json_one_line(json);
	vmat_json_begin(json, NULL);
	vmat_json_string(json, "schema", SCHEMA);
	vmat_json_number(json, "pid", target->keeper.series.pid);
	if (has_sample) {
		vmat_json_row(json, "sample", &rows, 0, &watch->output.selection);
		vmat_json_bool(json, "heap_is_approximate",
			       row->sample.marks & VMAT_SAMPLE_HEAP_APPROXIMATE);
		vmat_json_bool(json, "kinds_are_partial",
			       row->sample.marks & VMAT_SAMPLE_KINDS_PARTIAL);
	}
	if (kinds.count)
		cli_json_further(json, &kinds, 0);
	cli_json_further(json, &events, 0);
	vmat_json_end(json);
	return vmat_json_finish(json);
}

/* For people who read rows: what explains a jump. */
static void tell_events(const struct watch *watch, const struct watch_target *target)
{
	for (size_t i = 0; i < watch->tick.events_count; i++) {
		const struct vmat_event *event = &watch->tick.events[i];

		if (event->type == VMAT_EVENT_BEGUN && !event->text[0])
			continue;
		if (event->type == VMAT_EVENT_EXITED)
			fprintf(stderr, "vmatlas: %" PRIu64 ": %s\n", target->keeper.series.pid,
				target->end);
		else if (vmat_is_known(event->number) && event->number)
			fprintf(stderr, "vmatlas: %" PRIu64 ": %s %" PRId64 "%s%s\n",
				target->keeper.series.pid, vmat_event_name(event->type),
				(int64_t)event->number, event->text[0] ? " " : "",
				cli_escape(&watch->output, event->text));
		else
			fprintf(stderr, "vmatlas: %" PRIu64 ": %s %s\n", target->keeper.series.pid,
				vmat_event_name(event->type),
				cli_escape(&watch->output, event->text));
	}
}

static int write_tick(struct loop *loop, struct watch_target *target, bool has_sample)
{
	struct watch *watch = loop->watch;
	struct vmat_watch_row row;
	struct vmat_rows rows = { .list = &vmat_list_watch, .model = &row, .count = 1 };
	int r;

	cli_watch_row(&row, watch, target);
	if (watch->output.format == CLI_JSON)
		return write_json(watch, target, &row, has_sample);
	tell_events(watch, target);
	if (!has_sample)
		return 0;
	r = cli_output_rows(&watch->output, &rows);
	watch->output.text.no_headings = true; /* once */
	return r;
}

static void tick_target(struct loop *loop, struct watch_target *target)
{
	struct watch *watch = loop->watch;
	int r = vmat_sampler_tick(target->sampler, &watch->tick);

	vmat_sampler_describe(target->sampler, &target->keeper.series);
	if (r == 1)
		take_sample(target, &watch->tick.sample);
	for (size_t i = 0; r <= 0 && i < watch->tick.events_count; i++)
		tell_end(target, &watch->tick.events[i]);
	if (vmat_keeper_add(&target->keeper, &watch->tick, r == 1))
		loop->error = -ENOMEM;
	if (!loop->is_screen && !loop->error)
		loop->error = write_tick(loop, target, r == 1);
	if (r <= 0)
		close_target(watch, target);
	if (r <= 0 && watch->args.until_exit)
		loop->is_over = true;
}

/* SIGWINCH only needs a new frame. Ctrl-Z leaves the terminal to others for as long as they want it. */
static void take_signal(struct loop *loop, int sig)
{
	if (sig == SIGTSTP) {
		if (loop->has_screen)
			cli_screen_leave();
		raise(SIGSTOP);
		if (loop->has_screen)
			cli_screen_enter();
	} else if (sig != SIGWINCH) {
		loop->is_over = true;
	}
}

static void take_input(struct loop *loop)
{
	struct signalfd_siginfo info;
	char key;

	while (read(loop->signals, &info, sizeof(info)) == sizeof(info))
		take_signal(loop, (int)info.ssi_signo);
	key = loop->has_screen ? cli_screen_key() : 0;
	if (key == 'q')
		loop->is_over = true;
	if (key == 'h')
		loop->has_help = !loop->has_help;
}

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * SECOND_NS + (uint64_t)time.tv_nsec;
}

/* Sleeps until something is to be done. The ends of processes are ticks that come at once. */
static void wait_for_next(struct loop *loop)
{
	const struct watch *watch = loop->watch;
	int fds[WATCH_TARGETS_MAX + 2];
	size_t count = 0;
	uint64_t next = UINT64_MAX;

	fds[count++] = loop->signals;
	if (loop->has_screen)
		fds[count++] = STDIN_FILENO;
	for (size_t i = 0; i < watch->count; i++) {
		uint64_t due;

		if (!watch->targets[i].sampler)
			continue;
		due = vmat_sampler_due_ns(watch->targets[i].sampler);
		next = due < next ? due : next;
		fds[count++] = vmat_sampler_fd(watch->targets[i].sampler);
	}
	if (loop->until_ns && loop->until_ns < next)
		next = loop->until_ns;
	loop->is_called = vmat_sample_wait(next, fds, count) == 1;
}

/* Those due within a tenth of the interval are measured together: one waking and one picture for all. */
static bool is_due(const struct loop *loop, const struct watch_target *target, uint64_t now)
{
	int fd = vmat_sampler_fd(target->sampler);

	if (vmat_sampler_due_ns(target->sampler) <= now + loop->watch->interval_ns / 10)
		return true;
	return loop->is_called && fd >= 0 && vmat_sample_wait(0, &fd, 1) == 1;
}

static void run_loop(struct loop *loop)
{
	struct watch *watch = loop->watch;

	while (watch->live && !loop->is_over && !loop->error) {
		uint64_t now = now_ns();
		bool is_new = false;

		for (size_t i = 0; i < watch->count; i++) {
			struct watch_target *target = &watch->targets[i];

			if (!target->sampler || !is_due(loop, target, now))
				continue;
			tick_target(loop, target);
			is_new = true;
		}
		if (loop->has_screen && is_new) {
			uint64_t cpu_ns = vmat_sample_own_cpu_ns();

			cli_screen_draw(watch, loop->has_help);
			if (watch->targets[0].sampler)
				vmat_sampler_charge(watch->targets[0].sampler,
						    vmat_sample_own_cpu_ns() - cpu_ns);
		}
		if (loop->until_ns && now >= loop->until_ns)
			break;
		if (watch->live && !loop->is_over)
			wait_for_next(loop);
		take_input(loop);
		if (loop->has_screen && !is_new)
			cli_screen_draw(watch, loop->has_help);
	}
}

/* What a person wants to know at the end. */
static void tell_summary(const struct watch *watch, FILE *file)
{
	for (size_t i = 0; i < watch->count; i++) {
		const struct watch_target *target = &watch->targets[i];
		const struct vmat_series *series = &target->keeper.series;
		char span[32];

		if (!series->samples_count)
			continue;
		cli_watch_duration(span, sizeof(span),
				   target->last.mono_ns - series->samples[0].mono_ns);
		fprintf(file, "process %" PRIu64 " (%s) in %s, measured %" PRIu64 " times:\n",
			series->pid, cli_escape(&watch->output, series->name), span, target->ticks);
		if (target->end[0])
			fprintf(file, "  %s\n", target->end);
		cli_watch_words(file, target, false);
	}
	cli_watch_advice(file);
}

static int open_signals(void)
{
	static const int wanted[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		sigaddset(&set, wanted[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int parse_options(struct loop *loop)
{
	const struct cli_args *args = &loop->watch->args;
	uint64_t for_ns = 0;

	loop->watch->interval_ns = 2 * SECOND_NS;
	loop->watch->budget = 0.001;
	if (args->interval && (!cli_parse_duration(args->interval, &loop->watch->interval_ns) ||
			       loop->watch->interval_ns < SECOND_NS / 100))
		return cli_usage_error("--interval '%.64s' is no time from 10ms on: 500ms, 2s, 1m",
				       args->interval);
	if (args->for_time && !cli_parse_duration(args->for_time, &for_ns))
		return cli_usage_error("--for '%.64s' is no time: 30s, 10m, 2h, 1d",
				       args->for_time);
	if (args->budget && !cli_parse_percent(args->budget, &loop->watch->budget))
		return cli_usage_error(
			"--budget '%.64s' is no share of a processor: 0.1%%; 0: no limit",
			args->budget);
	if (args->operands_count > WATCH_TARGETS_MAX)
		return cli_usage_error("watch: at most %d processes can be watched at once",
				       WATCH_TARGETS_MAX);
	loop->until_ns = for_ns ? now_ns() + for_ns : 0;
	return CLI_OK;
}

/* A picture for a terminal that can show one, else rows: of comma-separated values, or short ones for a dumb terminal. */
static void choose_outlet(struct loop *loop, const struct cli_args *args)
{
	const char *term = getenv("TERM");
	bool is_chosen = args->json || args->raw || args->pairs || args->csv;

	loop->watch->args = *args;
	if (is_chosen)
		return;
	if (!isatty(STDOUT_FILENO))
		loop->watch->args.csv = true;
	else if (!term || !*term || !strcmp(term, "dumb"))
		loop->watch->args.raw = true;
	else
		loop->is_screen = true;
}

static int open_targets(struct watch *watch)
{
	struct vmat_sampler_options options = {
		.size = sizeof(options),
		.interval_ns = watch->interval_ns,
		.budget = watch->budget / (double)watch->args.operands_count,
		.want = VMAT_SAMPLER_KINDS | (watch->args.walks_heap ? VMAT_SAMPLER_HEAP : 0),
		.kinds_interval_ns = KINDS_INTERVAL_S * SECOND_NS,
		.heap_interval_ns = HEAP_INTERVAL_S * SECOND_NS,
	};

	watch->targets = calloc(watch->args.operands_count, sizeof(*watch->targets));
	if (!watch->targets)
		return cli_written(-ENOMEM, CLI_INTERNAL);
	for (size_t i = 0; i < watch->args.operands_count; i++) {
		struct watch_target *target = &watch->targets[i];
		struct vmat_error err = { 0 };

		target->spec = watch->args.operands[i];
		if (vmat_sampler_open(&target->sampler, target->spec, &options, &err))
			return cli_fail(&err);
		vmat_keeper_init(&target->keeper, SAMPLES_MAX, EVENTS_MAX);
		watch->count++;
		watch->live++;
	}
	return CLI_OK;
}

static void close_all(struct watch *watch)
{
	for (size_t i = 0; i < watch->count; i++) {
		vmat_sampler_close(watch->targets[i].sampler);
		vmat_keeper_deinit(&watch->targets[i].keeper);
	}
	free(watch->targets);
}

static int watch_all(struct loop *loop)
{
	struct watch *watch = loop->watch;

	loop->signals = open_signals();
	if (loop->signals < 0)
		return cli_written(-errno, CLI_INTERNAL);
	watch->begun_ns = now_ns();
	if (loop->is_screen)
		loop->has_screen = !cli_screen_enter();
	run_loop(loop);
	if (loop->has_screen)
		cli_screen_leave();
	close(loop->signals);
	/* Rows go on stdout alone; a reader that went away has seen what it wanted. */
	if (watch->output.format != CLI_JSON && loop->error != -EPIPE)
		tell_summary(watch, loop->is_screen ? stdout : stderr);
	return cli_written(loop->error, CLI_OK);
}

static int watch_run(const struct cli_args *args)
{
	struct watch *watch = calloc(1, sizeof(*watch));
	struct loop loop = { .watch = watch };
	int code;

	if (!watch)
		return cli_written(-ENOMEM, CLI_INTERNAL);
	choose_outlet(&loop, args);
	code = cli_output_init(&watch->output, &watch->args, &vmat_list_watch);
	if (!code)
		code = parse_options(&loop);
	if (!code)
		code = open_targets(watch);
	if (!code)
		code = watch_all(&loop);
	close_all(watch);
	free(watch);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 'i', "interval", "TIME", CLI_NUMBER, AT(interval), "between two ticks (2s)" },
	{ 0, "for", "TIME", CLI_NUMBER, AT(for_time),
	  "end after this time; else when all processes have ended" },
	{ 0, "until-exit", NULL, CLI_NO_VALUE, AT(until_exit),
	  "end when the first of them has ended" },
	{ 0, "budget", "PERCENT", CLI_NUMBER, AT(budget),
	  "of one processor that watching may cost (0.1%); 0: no limit" },
	{ 0, "heap", NULL, CLI_NO_VALUE, AT(walks_heap),
	  "walk the heap once a minute, without stopping the process: approximate" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "1234", "a picture of process 1234 that is drawn anew every two seconds" },
	{ "-i 1s --for 60s --csv 1234", "a row each second, for a minute" },
	{ "-J --until-exit @redis-server", "a line of JSON each tick, until it ends" },
	{ "-i 15s 1234 @redis-server", "two processes, the one that grows more first" },
	{ 0 },
};

static const char *const text[] = {
	"Measures processes again and again: sizes, resident memory, swap, threads, page faults at each tick, and regions by kind "
	"when these say that the map has changed. On a terminal the screen is drawn anew, with a line of bars for each number; "
	"else one row is written each tick. At the end it says in words which of vsize, size and rss grew, and what that means.",
	"The processes are never stopped. Watching keeps its own CPU time within --budget: it postpones the regions first, then "
	"ticks, and says so. What explains a jump (exec, threads, libraries, a clock that was set, sleep) is told, too.",
	NULL,
};

static const struct vmat_list *const lists[] = { &vmat_list_watch, &vmat_list_watch_kinds,
						 &vmat_list_watch_events, NULL };

const struct cli_command cli_watch_command = {
	.name = "watch",
	.operands = "TARGET...",
	.operands_min = 1,
	.operands_max = CLI_OPERANDS_MAX,
	.summary = "processes over time: what grows, and what that means",
	.text = text,
	.options = options,
	.has_rows = true,
	.lists = lists,
	.examples = examples,
	.run = watch_run,
};
