/* SPDX-License-Identifier: MIT */
/*
 * vmatlas record: processes, or a command and its children, into a recording.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"
#include "number.h"
#include "recorder.h"
#include "report.h"
#include "subject.h"

#define SECOND_NS 1000000000ULL

struct recording_run {
	const struct cli_args *args;
	struct cli_recorder recorder;
	struct cli_launch launch;
	char path[4096];
	uint64_t until_ns; /* UINT64_MAX: no limit */
	int signal_fd;
	bool is_launched; /* the command ran; wait_status is what it ended with, if has_status */
	bool has_status;
	int wait_status;
};

static int read_times(struct recording_run *run)
{
	const struct cli_args *args = run->args;
	uint64_t for_ns = 0;

	run->recorder.interval_ns = SECOND_NS;
	if (args->interval && (!cli_parse_duration(args->interval, &run->recorder.interval_ns) ||
			       run->recorder.interval_ns < SECOND_NS / 100))
		return cli_usage_error("--interval '%.64s' is no time from 10ms on: 500ms, 2s, 1m",
				       args->interval);
	if (args->for_time && !cli_parse_duration(args->for_time, &for_ns))
		return cli_usage_error("--for '%.64s' is no time: 90s, 5m, 2h", args->for_time);
	run->recorder.budget = 0.01;
	if (args->budget && !cli_parse_percent(args->budget, &run->recorder.budget))
		return cli_usage_error(
			"--budget '%.64s' is no share of a processor: 0.1%%; 0: no limit",
			args->budget);
	run->until_ns = for_ns ? cli_recorder_now() + for_ns : UINT64_MAX;
	return CLI_OK;
}

/* A text of one line, without its end. */
static void read_line(const char *path, char *ret, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, ret, size - 1);

	if (fd >= 0)
		close(fd);
	ret[got > 0 ? got : 0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

static void add_facts(struct recording_run *run)
{
	struct vmat_store *store = run->recorder.store;
	struct utsname name;
	char text[1024];
	size_t used = 0;

	if (uname(&name) == 0) {
		vmat_store_fact(store, "kernel", name.release, NULL);
		vmat_store_fact(store, "machine", name.machine, NULL);
		vmat_store_fact(store, "host", name.nodename, NULL);
	}
	read_line("/proc/sys/kernel/random/boot_id", text, sizeof(text));
	if (text[0])
		vmat_store_fact(store, "boot_id", text, NULL);
	snprintf(text, sizeof(text), "%ld", sysconf(_SC_PAGESIZE));
	vmat_store_fact(store, "page_size", text, NULL);
	snprintf(text, sizeof(text), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
	vmat_store_fact(store, "processors", text, NULL);
	if (!run->args->has_command)
		return;
	text[0] = '\0';
	for (size_t i = 0; i < run->args->operands_count && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "",
					 run->args->operands[i]);
	vmat_store_fact(store, "command", text, NULL);
}

/* A name without what has a meaning in paths or to a terminal. */
static void choose_path(struct recording_run *run, const char *name, pid_t pid)
{
	char plain[64];
	size_t i;

	if (run->args->file) {
		snprintf(run->path, sizeof(run->path), "%s", run->args->file);
		return;
	}
	for (i = 0; name[i] && i + 1 < sizeof(plain); i++)
		plain[i] = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				  "._-",
				  name[i])
				   ? name[i]
				   : '_';
	plain[i] = '\0';
	snprintf(run->path, sizeof(run->path), "vmatlas-%s-%d.vmatlas", plain, (int)pid);
}

static int create(struct recording_run *run, struct vmat_error *err)
{
	const struct vmat_store_options options = { .size = sizeof(options),
						    .is_durable = run->args->durable };
	int r = vmat_store_create(&run->recorder.store, run->path, &options, err);

	if (!r)
		add_facts(run);
	return r;
}

/* Nothing was recorded: then there is no recording. */
static int give_up(struct recording_run *run, const struct vmat_error *err)
{
	vmat_store_close(run->recorder.store, NULL);
	unlink(run->path);
	cli_recorder_free(&run->recorder);
	return cli_fail(err);
}

/* Five descriptors for each process. The command has got the limit that was there. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int begin_command(struct recording_run *run)
{
	const char *name = run->args->operands[0], *slash = strrchr(name, '/');
	char *argv[CLI_OPERANDS_MAX + 1] = { NULL };
	struct vmat_error err = { 0 };
	char spec[16];
	pid_t pid;
	int r;

	memcpy(argv, run->args->operands, run->args->operands_count * sizeof(argv[0]));
	r = cli_launch_prepare(&run->launch, argv);
	if (r < 0) {
		vmat_error_set(&err, r, "no process can be made: %s", strerror(-r));
		return cli_fail(&err);
	}
	pid = run->launch.pid;
	choose_path(run, slash ? slash + 1 : name, pid);
	r = create(run, &err);
	if (r < 0) {
		cli_launch_drop(&run->launch);
		return cli_fail(&err);
	}
	cli_signals_catch(pid, &run->signal_fd);
	r = cli_launch_go(&run->launch);
	if (r < 0) {
		vmat_error_set(&err, -EINVAL, "%.200s cannot be started: %s", name, strerror(-r));
		return give_up(run, &err);
	}
	run->is_launched = true;
	raise_limit();
	run->recorder.with_children = !run->args->no_children;
	snprintf(spec, sizeof(spec), "%d", (int)pid);
	if (cli_recorder_add(&run->recorder, spec, &err) < 0)
		r = cli_recorder_add_ended(&run->recorder, pid, name, &err);
	if (r < 0) {
		cli_recorder_free(&run->recorder);
		return cli_fail(&err);
	}
	return CLI_OK;
}

static int begin_targets(struct recording_run *run)
{
	struct vmat_error err = { 0 };
	const char *first = run->args->operands[0];
	int r;

	for (size_t i = 0; i < run->args->operands_count; i++)
		if (vmat_recording_is(run->args->operands[i]))
			return cli_needs_process(run->args, run->args->operands[i]);
	raise_limit();
	/* Who the first is, for the name of the file; it is opened again below. */
	if (!run->args->file) {
		struct vmat_target_options options = { .size = sizeof(options) };
		struct vmat_target *target;

		r = vmat_target_open(&target, first, &options, &err);
		if (r < 0)
			return cli_fail(&err);
		choose_path(run, vmat_target_process(target)->comm,
			    vmat_target_process(target)->pid);
		vmat_target_close(target);
	} else {
		choose_path(run, "", 0);
	}
	r = create(run, &err);
	if (r < 0)
		return cli_fail(&err);
	for (size_t i = 0; i < run->args->operands_count; i++)
		if (cli_recorder_add(&run->recorder, run->args->operands[i], &err) < 0)
			return give_up(run, &err);
	cli_signals_catch(0, &run->signal_fd);
	return CLI_OK;
}

/* A command is followed to its end, whatever is typed meanwhile: it has got the signal, too. */
static bool is_over(const struct recording_run *run)
{
	if (cli_recorder_now() >= run->until_ns)
		return true;
	return cli_signals_caught() && !run->is_launched;
}

static void take_status(struct recording_run *run)
{
	cli_recorder_status(&run->recorder, (pid_t)run->recorder.processes[0].keeper.series.pid,
			    run->wait_status);
	run->has_status = true;
}

static void follow(struct recording_run *run)
{
	size_t alive = 1;

	while (alive && !is_over(run)) {
		alive = cli_recorder_tick(&run->recorder);
		if (!run->has_status && cli_launch_ended(&run->launch, &run->wait_status)) {
			take_status(run);
			/* Its children may live on; who started it does not wait for them. */
			return;
		}
		if (alive)
			cli_recorder_wait(&run->recorder, run->until_ns, run->signal_fd);
	}
	/* It could not be measured, or cannot any more: how it ends is recorded all the same. */
	if (!alive && run->is_launched) {
		run->wait_status = cli_launch_wait(&run->launch);
		take_status(run);
	}
}

static void tell_end(const char *name, uint64_t wait_status)
{
	int status = (int)wait_status;

	if (!vmat_is_known(wait_status))
		fprintf(stderr, "%s has ended; only its parent knows its exit status\n", name);
	else if (WIFSIGNALED(status))
		fprintf(stderr, "%s was ended by signal %d (SIG%s)\n", name, WTERMSIG(status),
			sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?");
	else
		fprintf(stderr, "%s exited with status %d\n", name, WEXITSTATUS(status));
}

/* What was recorded, on stderr: the output is the command's. */
static void tell(const struct recording_run *run)
{
	const struct cli_output plain = { .args = run->args };
	const struct cli_recorder *recorder = &run->recorder;

	for (size_t i = 0; i < recorder->count && i < CLI_OPERANDS_MAX; i++)
		if (recorder->processes[i].has_ended && (i == 0 || !run->is_launched))
			tell_end(cli_escape(&plain, recorder->processes[i].name),
				 recorder->processes[i].wait_status);
	fprintf(stderr, "recorded %llu sample%s of %zu process%s in %s\n",
		(unsigned long long)recorder->samples, recorder->samples == 1 ? "" : "s",
		recorder->count, recorder->count == 1 ? "" : "es", cli_escape(&plain, run->path));
	if (recorder->lost)
		cli_warn("%llu ticks could not be written", (unsigned long long)recorder->lost);
}

static int finish(struct recording_run *run)
{
	struct vmat_error err = { 0 };
	int r = cli_recorder_end(&run->recorder, &err);

	tell(run);
	cli_recorder_free(&run->recorder);
	if (r < 0)
		return cli_fail(&err);
	if (run->recorder.lost)
		return CLI_INTERNAL;
	if (!run->is_launched)
		return CLI_OK;
	/* The time was over before the command was: it is not disturbed, and whoever started us waits for it. */
	if (!run->has_status)
		run->wait_status = cli_launch_wait(&run->launch);
	return cli_launch_code(run->wait_status);
}

static int record_run(const struct cli_args *args)
{
	struct recording_run run = { .args = args, .signal_fd = -1 };
	int code = read_times(&run);

	if (code)
		return code;
	run.recorder.is_verbose = args->verbose;
	code = args->has_command ? begin_command(&run) : begin_targets(&run);
	if (code)
		return code;
	follow(&run);
	return finish(&run);
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 'o', "output", "FILE", CLI_FILE, AT(file), "write to FILE (vmatlas-NAME-PID.vmatlas)" },
	{ 'i', "interval", "TIME", CLI_NUMBER, AT(interval), "between two ticks (1s)" },
	{ 0, "for", "TIME", CLI_NUMBER, AT(for_time), "end after this time: 90s, 5m, 2h" },
	{ 0, "until-exit", NULL, CLI_NO_VALUE, AT(until_exit),
	  "end when all processes have ended (the default, without --for)" },
	{ 0, "budget", "PERCENT", CLI_NUMBER, AT(budget),
	  "of one processor that measuring may cost (1%); 0: no limit" },
	{ 0, "durable", NULL, CLI_NO_VALUE, AT(durable),
	  "sync each tick to the disk, not each 5 s" },
	{ 0, "no-children", NULL, CLI_NO_VALUE, AT(no_children),
	  "follow COMMAND alone, not its children" },
	{ 'v', "verbose", NULL, CLI_NO_VALUE, AT(verbose),
	  "say on stderr how many samples are safe, tick by tick" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "--for 2s -i 100ms 1234", "process 1234 for two seconds, ten times a second" },
	{ "-o nap.vmatlas -- sleep 1", "a command and its children, into this file" },
	{ 0 },
};

static const char *const text[] = {
	"Measures processes at each tick (size, resident memory by kind, threads, faults, "
	"regions by kind) "
	"and writes that, and what happens to them, into a SQLite database: see "
	"vmatlas-recording(5). It never stops them.",
	"With `--` it starts COMMAND and follows it and its children; its input, output and exit "
	"status are those of COMMAND.",
	"Being killed costs nothing that was written, a loss of power at most the last 5 s. Nothing "
	"is ever overwritten.",
	NULL,
};

const struct cli_command cli_record_command = {
	.name = "record",
	.operands = "TARGET...|-- COMMAND",
	.operands_min = 1,
	.operands_max = CLI_OPERANDS_MAX,
	.summary = "keep what processes do over time, in a file to be judged and queried",
	.text = text,
	.options = options,
	.examples = examples,
	.run = record_run,
};
