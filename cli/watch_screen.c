/* SPDX-License-Identifier: MIT */
/*
 * watch_screen.c: frames on a terminal, by plain ANSI sequences: see watch.h.
 *
 * The alternate screen keeps what stood there before. A frame is written in one piece, line by line over the last one, so nothing
 * flickers. Long lines are cut by the terminal itself (autowrap is off).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "report.h"
#include "watch.h"

#define ENTER "\x1b[?1049h\x1b[?25l\x1b[?7l"
#define LEAVE "\x1b[?7h\x1b[?25h\x1b[?1049l"

enum { EVENTS_SHOWN = 4, LABEL_WIDTH = 14, NUMBERS_WIDTH = 4 * 9 };

static struct termios terminal_before;
static bool has_terminal_before;

/* A row of the table of one process. */
static const struct {
	const char *label;
	enum vmat_metric metric;
	bool is_count;
} rows[] = {
	{ "vsize", VMAT_METRIC_SIZE, false },
	{ "size", VMAT_METRIC_DATA, false },
	{ "rss", VMAT_METRIC_RSS, false },
	{ "  anonymous", VMAT_METRIC_RSS_ANON, false },
	{ "  files", VMAT_METRIC_RSS_FILE, false },
	{ "  shared", VMAT_METRIC_RSS_SHMEM, false },
	{ "swap", VMAT_METRIC_SWAP, false },
	{ "page tables", VMAT_METRIC_PAGE_TABLES, false },
	{ "heap in use", VMAT_METRIC_HEAP_IN_USE, false },
	{ "heap free", VMAT_METRIC_HEAP_FREE, false },
	{ "regions", VMAT_METRIC_REGIONS, true },
	{ "threads", VMAT_METRIC_THREADS, true },
	{ "faults", VMAT_METRIC_FAULTS_MINOR, true },
};

static void write_all(const char *text, size_t size)
{
	while (size) {
		ssize_t put = write(STDOUT_FILENO, text, size);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return; /* the terminal has gone: SIGHUP follows */
		text += put;
		size -= (size_t)put;
	}
}

int cli_screen_enter(void)
{
	struct termios raw;

	has_terminal_before = tcgetattr(STDIN_FILENO, &terminal_before) == 0 &&
			      tcgetpgrp(STDIN_FILENO) == getpgrp();
	if (has_terminal_before) {
		raw = terminal_before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* signals stay: ^C, ^Z */
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	write_all(ENTER, strlen(ENTER));
	return 0;
}

void cli_screen_leave(void)
{
	write_all(LEAVE, strlen(LEAVE));
	if (has_terminal_before)
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
	has_terminal_before = false;
}

char cli_screen_key(void)
{
	char keys[64];
	ssize_t got = has_terminal_before ? read(STDIN_FILENO, keys, sizeof(keys)) : 0;
	char found = 0;

	for (ssize_t i = 0; i < got; i++) {
		if (keys[i] == 'q' || (keys[i] == 'h' && found != 'q'))
			found = keys[i];
	}
	return found;
}

/* The least and the most of what is known; false when nothing is. */
static bool range_of(const struct vmat_series *series, enum vmat_metric metric, uint64_t *least,
		     uint64_t *most)
{
	*least = UINT64_MAX;
	*most = 0;
	for (size_t i = 0; i < series->samples_count; i++) {
		uint64_t value = series->samples[i].values[metric];

		if (!vmat_is_known(value))
			continue;
		if (value < *least)
			*least = value;
		if (value > *most)
			*most = value;
	}
	return *least <= *most;
}

/* The newest value that is known: of regions and the heap that is often an earlier one. */
static uint64_t newest(const struct watch_target *target, enum vmat_metric metric)
{
	const struct vmat_series *series = &target->keeper.series;

	if (vmat_is_known(target->last.values[metric]))
		return target->last.values[metric];
	for (size_t i = series->samples_count; i-- > 0;) {
		if (vmat_is_known(series->samples[i].values[metric]))
			return series->samples[i].values[metric];
	}
	return target->last.values[metric];
}

static void put_number(FILE *frame, const struct watch *watch, uint64_t number, bool is_count)
{
	fprintf(frame, "%9s", is_count ? cli_count(number) : cli_size(&watch->output, number));
}

static void put_metric(FILE *frame, const struct watch *watch, const struct watch_target *target,
		       size_t row, size_t width)
{
	const struct vmat_series *series = &target->keeper.series;
	uint64_t least, most, now = newest(target, rows[row].metric);
	char trend[4 * 256 + 1], grown[32];
	bool is_count = rows[row].is_count;

	if (!range_of(series, rows[row].metric, &least, &most))
		return;
	fprintf(frame, "%-*s", LABEL_WIDTH, rows[row].label);
	put_number(frame, watch, now, is_count);
	put_number(frame, watch, least, is_count);
	put_number(frame, watch, most, is_count);
	if (is_count)
		snprintf(grown, sizeof(grown), "%+lld",
			 (long long)(now - series->samples[0].values[rows[row].metric]));
	else
		cli_watch_difference(grown, sizeof(grown),
				     series->samples[0].values[rows[row].metric], now);
	cli_watch_trend(trend, width, series, rows[row].metric, watch->output.text.is_utf8);
	fprintf(frame, "%9s  %s\n", grown, trend);
}

static void put_kinds(FILE *frame, const struct watch *watch, const struct watch_target *target)
{
	const struct vmat_sample *sample = &target->last_kinds;
	struct vmat_selection selection;
	struct vmat_rows kinds = { .list = &vmat_list_watch_kinds, .model = sample };
	size_t order[VMAT_KIND_COUNT];
	char ago[32];

	if (!target->has_kinds) {
		if (target->refusal[0])
			fprintf(frame, "\nno kinds: %s\n",
				cli_escape(&watch->output, target->refusal));
		return;
	}
	for (size_t i = 0; i < VMAT_KIND_COUNT; i++) {
		if (sample->kinds[i].count)
			order[kinds.count++] = i;
	}
	kinds.order = order;
	cli_watch_duration(ago, sizeof(ago), target->last.mono_ns - sample->mono_ns);
	fprintf(frame, "\nby kind, %s ago:\n", ago);
	vmat_selection_default(&selection, kinds.list, VMAT_SHOW_TABLE);
	vmat_write_table(frame, &kinds, &selection, &watch->output.text);
}

static void put_events(FILE *frame, const struct watch *watch, const struct watch_target *target)
{
	const struct vmat_series *series = &target->keeper.series;
	size_t count = series->events_count;
	size_t first = count > EVENTS_SHOWN ? count - EVENTS_SHOWN : 0;

	if (count > 1)
		fputc('\n', frame);
	for (size_t i = first; i < count; i++) {
		const struct vmat_event *event = &series->events[i];
		char ago[32];

		if (event->type == VMAT_EVENT_BEGUN)
			continue;
		cli_watch_duration(ago, sizeof(ago), target->last.mono_ns - event->mono_ns);
		fprintf(frame, "%s ago: %s", ago, vmat_event_name(event->type));
		if (event->type == VMAT_EVENT_THREADS || event->type == VMAT_EVENT_MAP_CHANGED ||
		    event->type == VMAT_EVENT_TICKS_MISSED)
			fprintf(frame, " %s", cli_count(event->number));
		fprintf(frame, "%s%s\n", event->text[0] ? " " : "",
			cli_escape(&watch->output, event->text));
	}
}

/* One process: its metrics, its kinds, what happened, and what that means so far. */
static void put_one(FILE *frame, const struct watch *watch, const struct watch_target *target,
		    size_t columns)
{
	const struct vmat_series *series = &target->keeper.series;
	size_t width = columns > LABEL_WIDTH + NUMBERS_WIDTH + 4
			       ? columns - LABEL_WIDTH - NUMBERS_WIDTH - 4
			       : 4;
	bool is_bold = watch->output.text.has_colour;

	fprintf(frame, "process %" PRIu64 " (%s): %s\n", series->pid,
		cli_escape(&watch->output, series->name),
		cli_escape(&watch->output, series->command));
	if (target->end[0])
		fprintf(frame, "%s\n", target->end);
	fprintf(frame, "\n%s%-*s%9s%9s%9s%9s  over time%s\n", is_bold ? "\x1b[1m" : "", LABEL_WIDTH,
		"", "now", "least", "most", "grown", is_bold ? "\x1b[0m" : "");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		put_metric(frame, watch, target, i, width < 256 ? width : 256);
	fprintf(frame, "%-*s%9s\n%-*s", LABEL_WIDTH, "faults/s", cli_count(target->faults_per_s),
		LABEL_WIDTH, "CPU");
	if (vmat_is_known(target->cpu_permille))
		fprintf(frame, "%8.1f%%\n\n", (double)target->cpu_permille / 10);
	else
		fprintf(frame, "%9s\n\n", "-");
	cli_watch_words(frame, target, true);
	fputc('\n', frame);
	put_kinds(frame, watch, target);
	put_events(frame, watch, target);
}

static void put_many(FILE *frame, const struct watch *watch, size_t columns)
{
	struct vmat_text_options text = watch->output.text;
	struct vmat_watch_row *all = cli_watch_rows(watch);
	struct vmat_rows table = { .list = &vmat_list_watch, .model = all, .count = watch->count };

	if (!all)
		return;
	fputc('\n', frame);
	text.width = columns; /* now: the window may have changed */
	vmat_write_table(frame, &table, &watch->output.selection, &text);
	free(all);
}

static void put_frame(FILE *frame, const struct watch *watch, size_t columns, bool has_help)
{
	const struct watch_target *first = &watch->targets[0];
	uint64_t span_ns = first->last.mono_ns - watch->begun_ns, cpu_ns = 0;
	char span[32], interval[32], cost[64] = "", line[160];

	for (size_t i = 0; i < watch->count; i++)
		cpu_ns += watch->targets[i].cpu_ns;
	cli_watch_duration(span, sizeof(span), span_ns);
	cli_watch_duration(interval, sizeof(interval), watch->interval_ns);
	if (span_ns)
		snprintf(cost, sizeof(cost), "; watching costs %.3f%% of a CPU",
			 100.0 * (double)cpu_ns / (double)span_ns);
	snprintf(line, sizeof(line), "q: end  h: help   watched %s, every %s%s", span, interval,
		 cost);
	fprintf(frame, "%.*s\n", (int)columns, line);
	if (has_help)
		fputs("vsize: mapped address space   size: private writable memory, as ps has it\n"
		      "rss: resident   grown: since the watch began   over time: least to most\n",
		      frame);
	if (watch->count == 1)
		put_one(frame, watch, first, columns);
	else
		put_many(frame, watch, columns);
}

/* As many lines of the frame as there are on the screen, each over the line that stood there. */
static void show(const char *frame, size_t lines)
{
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		return;
	fputs("\x1b[H", file);
	for (size_t i = 0; i < lines && *frame; i++) {
		size_t length = strcspn(frame, "\n");

		fprintf(file, "%s%.*s\x1b[K", i ? "\r\n" : "", (int)length, frame);
		frame += length + (frame[length] == '\n');
	}
	fputs("\x1b[J", file);
	if (!fclose(file))
		write_all(text, size);
	free(text);
}

void cli_screen_draw(const struct watch *watch, bool has_help)
{
	struct winsize window = { 0 };
	char *text = NULL;
	size_t size = 0;
	FILE *frame = open_memstream(&text, &size);

	if (!frame)
		return;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) || !window.ws_col || !window.ws_row) {
		window.ws_col = 80;
		window.ws_row = 24;
	}
	put_frame(frame, watch, window.ws_col, has_help);
	if (!fclose(frame))
		show(text, window.ws_row);
	free(text);
}
