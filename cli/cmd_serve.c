/* SPDX-License-Identifier: MIT */
/*
 * vmatlas serve: all processes of this machine in groups, as metrics over HTTP.
 *
 * One thread looks at the processes, another (the server's) hands out what was seen last: a scrape costs no look.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <vmatlas/analyze.h>
#include <vmatlas/fleet.h>
#include <vmatlas/metrics.h>
#include <vmatlas/server.h>

#include "command.h"
#include "number.h"
#include "report.h"

#define SECOND_NS UINT64_C(1000000000)

enum { LOOK_ROUND_S = 5 /* for connections that are kept for nothing */, PATTERN_MAX = 256 };

struct serving {
	const struct cli_args *args;
	struct vmat_fleet *fleet;
	struct vmat_server *server;
	struct vmat_group_rule rules[CLI_VALUES_MAX];
	char names[CLI_VALUES_MAX][64];
	struct vmat_fleet_options options;
	struct vmat_judgement *judgements;
};

static int parse_group_by(const char *text, enum vmat_group_by *ret)
{
	static const char *const names[] = { "name", "exe", "unit" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum vmat_group_by)i;
			return CLI_OK;
		}
	}
	return cli_usage_error("--group-by '%.64s' is none of name, exe, unit", text);
}

/* NAME=REGEX */
static int parse_rule(struct serving *serving, size_t i, const char *text)
{
	const char *equals = strchr(text, '=');
	size_t length = equals ? (size_t)(equals - text) : 0;

	if (!length || !equals[1] || length >= sizeof(serving->names[i]) ||
	    strlen(equals + 1) > PATTERN_MAX)
		return cli_usage_error("--group '%.64s' is no NAME=REGEX", text);
	snprintf(serving->names[i], sizeof(serving->names[i]), "%.*s", (int)length, text);
	serving->rules[i] = (struct vmat_group_rule){ serving->names[i], equals + 1 };
	return CLI_OK;
}

static int parse_options(struct serving *serving)
{
	const struct cli_args *args = serving->args;
	int code = CLI_OK;

	if (!args->metrics_only)
		return cli_usage_error("serve: there is no web page yet, only metrics.\n  Try:  "
				       "vmatlas serve --metrics-only");
	serving->options = (struct vmat_fleet_options){
		.size = sizeof(serving->options),
		.rules = serving->rules,
		.rules_count = args->groups.count,
		.detail = args->details.values,
		.detail_count = args->details.count,
		.interval_ns = 15 * SECOND_NS,
	};
	if (args->interval && (!cli_parse_duration(args->interval, &serving->options.interval_ns) ||
			       serving->options.interval_ns < SECOND_NS / 10))
		return cli_usage_error("--interval '%.64s' is no time from 100ms on: 5s, 15s, 1m",
				       args->interval);
	if (args->group_by)
		code = parse_group_by(args->group_by, &serving->options.by);
	for (size_t i = 0; i < args->groups.count && !code; i++)
		code = parse_rule(serving, i, args->groups.values[i]);
	return code;
}

static void judge_all(struct serving *serving)
{
	for (size_t i = 0; i < serving->fleet->groups_count; i++)
		vmat_judge(&serving->judgements[i], &serving->fleet->groups[i].keeper.series);
}

/* One form of the metrics as a text to be freed. 0 or -errno. */
static int write_text(const struct serving *serving, enum vmat_metrics_format format, char **ret,
		      size_t *ret_size)
{
	FILE *file = open_memstream(ret, ret_size);
	int r;

	if (!file)
		return -errno;
	r = vmat_metrics_write(file, serving->fleet, serving->judgements, format);
	if (fclose(file) && !r)
		r = -ENOMEM;
	return r;
}

static int publish(const struct serving *serving)
{
	static const char *const accepts[] = { "", "application/openmetrics-text" };
	int r = 0;

	for (int f = VMAT_METRICS_CLASSIC; f <= VMAT_METRICS_OPENMETRICS && !r; f++) {
		enum vmat_metrics_format format = (enum vmat_metrics_format)f;
		char *text = NULL;
		size_t size = 0;

		r = write_text(serving, format, &text, &size);
		if (!r)
			r = vmat_server_publish(serving->server, "/metrics", accepts[f],
						vmat_metrics_content_type(format), text, size);
		free(text);
	}
	return r;
}

static int scan(struct serving *serving)
{
	int r = vmat_fleet_scan(serving->fleet);

	if (!r)
		judge_all(serving);
	return r;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	/* Before the server's thread is made, which inherits it. */
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* Until a signal asks for the end. A scan that was due while another lasted is left out. */
static int loop(struct serving *serving, int signals)
{
	uint64_t interval_ns = serving->options.interval_ns, due_ns = now_ns() + interval_ns;

	for (;;) {
		uint64_t look_ns = now_ns() + LOOK_ROUND_S * SECOND_NS;
		int r = vmat_sample_wait(due_ns < look_ns ? due_ns : look_ns, &signals, 1);

		if (r == 1)
			return 0;
		vmat_server_expire(serving->server);
		if (now_ns() < due_ns)
			continue;
		r = scan(serving);
		if (!r)
			r = publish(serving);
		/* One that fails now may succeed at the next; what was seen last stays, and tells its time. */
		if (r)
			fprintf(stderr, "vmatlas: serve: %s\n", strerror(-r));
		while (due_ns <= now_ns())
			due_ns += interval_ns;
	}
}

static void warn_of_address(const char *address)
{
	if (strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]", 5) == 0)
		return;
	fprintf(stderr,
		"vmatlas: who can reach %s can read the names and sizes of all groups: there is "
		"no password\n",
		address);
}

static int serve(struct serving *serving)
{
	const char *address = serving->args->listen ? serving->args->listen : "127.0.0.1:9742";
	const char *colon = strrchr(address, ':');
	struct vmat_error err = { 0 };
	int signals = open_signals(), r;

	if (signals < 0)
		return cli_written(-errno, CLI_INTERNAL);
	err.code = vmat_server_start(&serving->server, address, &err);
	if (err.code) {
		close(signals);
		return err.code == -EINVAL ? cli_usage_error("%s", err.text) : cli_fail(&err);
	}
	warn_of_address(address);
	r = publish(serving);
	if (!r) {
		fprintf(stderr,
			"vmatlas: metrics of %llu processes in %zu groups are at http://%.*s:%u/metrics\n",
			(unsigned long long)serving->fleet->processes, serving->fleet->groups_count,
			(int)(colon - address), address, vmat_server_port(serving->server));
		r = loop(serving, signals);
	}
	vmat_server_stop(serving->server);
	close(signals);
	return cli_written(r, CLI_OK);
}

static int serve_run(const struct cli_args *args)
{
	struct serving serving = { .args = args };
	struct vmat_fleet *fleet = NULL;
	struct vmat_error err = { 0 };
	int code = parse_options(&serving);

	if (code)
		return code;
	err.code = vmat_fleet_new(&fleet, &serving.options, &err);
	if (err.code)
		return err.code == -EINVAL ? cli_usage_error("--group: %s", err.text)
					   : cli_fail(&err);
	serving.fleet = fleet;
	serving.judgements = calloc(CLI_VALUES_MAX * 2, sizeof(*serving.judgements));
	code = serving.judgements ? scan(&serving) : -ENOMEM;
	if (code)
		code = cli_written(code, CLI_INTERNAL);
	else if (args->once)
		code = cli_written(vmat_metrics_write(stdout, serving.fleet, serving.judgements,
						      VMAT_METRICS_CLASSIC),
				   CLI_OK);
	else
		code = serve(&serving);
	free(serving.judgements);
	vmat_fleet_free(fleet);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 0, "metrics-only", NULL, CLI_NO_VALUE, AT(metrics_only),
	  "metrics for Prometheus and VictoriaMetrics, at /metrics" },
	{ 0, "listen", "ADDR:PORT", CLI_PLACE, AT(listen), "where (127.0.0.1:9742)" },
	{ 'i', "interval", "TIME", CLI_NUMBER, AT(interval),
	  "between two looks at the processes (15s)" },
	{ 0, "group-by", "WHAT", CLI_TEXT, AT(group_by),
	  "name of the process (as in ps), exe (of the program), or unit (of systemd) (name)" },
	{ 0, "group", "NAME=REGEX", CLI_TEXTS, AT(groups),
	  "processes whose command line fits are of group NAME; may be given again" },
	{ 0, "detail", "NAME", CLI_TEXTS, AT(details),
	  "read regions and heaps of this group, too; may be given again" },
	{ 0, "once", NULL, CLI_NO_VALUE, AT(once),
	  "look once, write the metrics, and end: to push those of a short run" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "--metrics-only", "metrics at http://127.0.0.1:9742/metrics" },
	{ "--metrics-only --group-by unit --detail postgresql.service",
	  "by units of systemd, with the regions of one" },
	{ "--metrics-only --group 'app=java .*app.jar'", "one program among many of a name" },
	{ "--metrics-only --once", "to standard output, once" },
	{ 0 },
};

static const char *const text[] = {
	"Looks at all processes again and again, sums them up in groups, judges the growth of each group, and serves that as metrics.",
	"A scrape is answered with what was seen last and never costs a look. Processes are not stopped and nothing is read that "
	"holds a lock of theirs: two texts of /proc each, 11 us. Regions and heaps are read in groups with --detail only, of 64 "
	"processes at most.",
	"There are at most 30 groups and \"_other\". Labels are groups, kinds, states and verdicts: never a pid, an address, a path or an "
	"argument.",
	NULL,
};

const struct cli_command cli_serve_command = {
	.name = "serve",
	.operands = "",
	.operands_min = 0,
	.operands_max = 0,
	.summary = "metrics of all processes, for Prometheus and VictoriaMetrics",
	.text = text,
	.options = options,
	.examples = examples,
	.run = serve_run,
};
