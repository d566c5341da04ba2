/* SPDX-License-Identifier: MIT */
/* Series of a living process and of a recording: see series.h. */
#include "series.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vmatlas/store.h>

#include "number.h"
#include "progress.h"
#include "report.h"

enum {
	SAMPLES_MAX = 4096,
	EVENTS_MAX = 1024,
	HEAP_LOOKS = 8, /* the heap is walked about so many times, if the budget allows */
};

/* Of one processor: what watching may take. */
#define BUDGET 0.03

bool cli_series_is_recording(const char *operand)
{
	return vmat_recording_is(operand);
}

/* Nothing to do: the call that waits returns, and what was seen until now is judged. */
static void on_interrupt(int signal)
{
	(void)signal;
}

static uint64_t now_ns(void)
{
	struct vmat_sample clocks;

	vmat_sample_clocks(&clocks);
	return clocks.mono_ns;
}

/* One tick after the other. 0 or a negative errno; *err says why. */
static int watch(struct vmat_keeper *keeper, struct vmat_sampler *sampler, uint64_t for_ns,
		 struct vmat_error *err)
{
	struct cli_progress progress = { .what = "watching" };
	uint64_t start_ns = now_ns(), end_ns = start_ns + for_ns, until_ns;
	int fd = vmat_sampler_fd(sampler), r = 1;
	static struct vmat_tick tick;

	for (;;) {
		r = vmat_sampler_tick(sampler, &tick);
		if (r < 0 && keeper->series.samples_count == 0)
			return vmat_error_set(err, r, "%s",
					      tick.events_count ? tick.events[0].text
								: strerror(-r));
		if (vmat_keeper_add(keeper, &tick, r > 0) < 0)
			return vmat_error_set(err, -ENOMEM, "out of memory");
		cli_progress_show(&progress, now_ns() - start_ns, for_ns);
		until_ns = vmat_sampler_due_ns(sampler);
		if (r <= 0 || until_ns > end_ns)
			break;
		if (vmat_sample_wait(until_ns, &fd, fd >= 0) == -EINTR)
			break;
	}
	cli_progress_end(&progress);
	return 0;
}

int cli_series_watch(struct cli_series *ret, const char *spec, uint64_t for_ns,
		     uint64_t interval_ns)
{
	struct vmat_sampler_options options = {
		.size = sizeof(options),
		.interval_ns = interval_ns,
		.budget = BUDGET,
		.want = VMAT_SAMPLER_KINDS | VMAT_SAMPLER_HEAP,
		.kinds_interval_ns = 2 * interval_ns,
		.heap_interval_ns = for_ns / HEAP_LOOKS,
	};
	struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND }, before;
	struct vmat_sampler *sampler;
	struct vmat_error err = { 0 };
	int r;

	memset(ret, 0, sizeof(*ret));
	r = vmat_sampler_open(&sampler, spec, &options, &err);
	if (r == -EINVAL)
		return CLI_OK;
	if (r < 0) {
		err.code = r;
		return cli_fail(&err);
	}
	vmat_keeper_init(&ret->keeper, SAMPLES_MAX, EVENTS_MAX);
	sigaction(SIGINT, &action, &before);
	r = watch(&ret->keeper, sampler, for_ns, &err);
	sigaction(SIGINT, &before, NULL);
	vmat_sampler_describe(sampler, &ret->keeper.series);
	snprintf(ret->note, sizeof(ret->note), "%.*s",
		 (int)strcspn(vmat_sampler_refusal(sampler), "\n"), vmat_sampler_refusal(sampler));
	vmat_sampler_close(sampler);
	ret->series = ret->keeper.series;
	if (r < 0) {
		cli_series_free(ret);
		return cli_fail(&err);
	}
	return CLI_OK;
}

/* The number of the process that is meant; 0 or an exit code. */
static int choose(size_t *ret, const struct vmat_recorded *processes, size_t count,
		  const char *path, const char *pid)
{
	uint64_t number;

	if (pid) {
		if (!cli_parse_count(pid, &number))
			return cli_usage_error("--pid '%.64s' is no process id", pid);
		for (size_t i = count; i-- > 0;) {
			if (processes[i].who.pid != number)
				continue;
			*ret = i;
			return CLI_OK;
		}
		return cli_usage_error("%.200s holds no process %" PRIu64, path, number);
	}
	if (count == 1) {
		*ret = 0;
		return CLI_OK;
	}
	return count ? cli_usage_error("%.200s holds %zu processes, such as %" PRIu64
				       " and %" PRIu64 "\nTry: --pid PID",
				       path, count, processes[0].who.pid, processes[1].who.pid)
		     : cli_usage_error("%.200s holds no process", path);
}

int cli_series_read(struct cli_series *ret, const char *path, const char *pid)
{
	struct vmat_recording_options options = { .size = sizeof(options) };
	const struct vmat_recorded *processes;
	struct vmat_error err = { 0 };
	uint64_t stride = 1;
	int r, code;

	memset(ret, 0, sizeof(*ret));
	r = vmat_recording_open(&ret->recording, path, &options, &err);
	if (r < 0) {
		err.code = r;
		return cli_fail(&err);
	}
	r = (int)vmat_recording_processes(ret->recording, &processes);
	code = choose(&ret->index, processes, (size_t)r, path, pid);
	if (!code) {
		r = vmat_recording_series(ret->recording, ret->index, &ret->series, &stride, &err);
		err.code = r;
		code = r < 0 ? cli_fail(&err) : CLI_OK;
	}
	if (!code && stride > 1)
		snprintf(ret->note, sizeof(ret->note), "every %" PRIu64 "th sample is looked at",
			 stride);
	return code;
}

void cli_series_free(struct cli_series *series)
{
	if (series->recording) {
		vmat_recording_series_free(&series->series);
		vmat_recording_close(series->recording);
	} else {
		vmat_keeper_deinit(&series->keeper);
	}
	memset(series, 0, sizeof(*series));
}
