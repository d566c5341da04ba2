/* SPDX-License-Identifier: MIT */
/*
 * See recorder.h. Processes that are due within a tenth of the interval are measured together, so that one transaction holds
 * them. That a tick cannot be written is said once; what happened meanwhile is written as soon as there is room (store.h).
 *
 * Children are found among the processes that are new since the last tick: who was born and had ended in between is not seen, nor who
 * lost its parent.
 */
#include "recorder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

enum {
	PROCESSES_MAX = 4096,
	KEPT_SAMPLES = 600,
	KEPT_EVENTS = 200,
	KINDS_INTERVAL_S = 10,
	WAIT_FDS = 64,
};

#define SECOND_NS 1000000000ULL

uint64_t cli_recorder_now(void)
{
	struct vmat_sample clocks;

	vmat_sample_clocks(&clocks);
	return clocks.mono_ns;
}

static struct cli_recorded *one_more(struct cli_recorder *recorder)
{
	struct cli_recorded *more;

	if (recorder->count == PROCESSES_MAX)
		return NULL;
	if (!(recorder->count & (recorder->count - 1))) {
		more = realloc(recorder->processes,
			       (recorder->count ? 2 * recorder->count : 1) * sizeof(*more));
		if (!more)
			return NULL;
		recorder->processes = more;
	}
	more = &recorder->processes[recorder->count];
	memset(more, 0, sizeof(*more));
	more->wait_status = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	return more;
}

static int take(struct cli_recorder *recorder, struct cli_recorded *process,
		const struct vmat_series *who, struct vmat_error *err)
{
	int r = vmat_store_process(recorder->store, who, &process->number, err);

	if (r < 0)
		return r;
	process->pid = (pid_t)who->pid;
	snprintf(process->name, sizeof(process->name), "%s", who->name);
	vmat_keeper_init(&process->keeper, KEPT_SAMPLES, KEPT_EVENTS);
	process->keeper.series = *who;
	process->keeper.series.samples = NULL;
	process->keeper.series.events = NULL;
	recorder->count++;
	return 0;
}

/* Each living process has the same part of the budget. */
static void share_budget(struct cli_recorder *recorder)
{
	size_t alive = 0;

	for (size_t i = 0; i < recorder->count; i++)
		alive += recorder->processes[i].sampler != NULL;
	for (size_t i = 0; i < recorder->count; i++)
		if (recorder->processes[i].sampler)
			vmat_sampler_allow(recorder->processes[i].sampler,
					   recorder->budget / (double)alive);
}

int cli_recorder_add(struct cli_recorder *recorder, const char *spec, struct vmat_error *err)
{
	const struct vmat_sampler_options options = {
		.size = sizeof(options),
		.interval_ns = recorder->interval_ns,
		.budget = recorder->budget,
		.want = VMAT_SAMPLER_KINDS | VMAT_SAMPLER_OWNERS,
		.kinds_interval_ns = KINDS_INTERVAL_S * SECOND_NS,
	};
	struct cli_recorded *process = one_more(recorder);
	struct vmat_series who = { .pid = 0 };
	int r;

	if (!process)
		return vmat_error_set(err, -ENOMEM, "no more than %d processes are recorded",
				      PROCESSES_MAX);
	r = vmat_sampler_open(&process->sampler, spec, &options, err);
	if (r < 0)
		return r;
	vmat_sampler_describe(process->sampler, &who);
	for (size_t i = 0; i < recorder->count; i++)
		if (recorder->processes[i].sampler && recorder->processes[i].pid == (pid_t)who.pid)
			r = vmat_error_set(err, -EEXIST, "process %d is named twice", (int)who.pid);
	if (!r)
		r = take(recorder, process, &who, err);
	if (r < 0)
		vmat_sampler_close(process->sampler);
	else
		share_budget(recorder);
	return r;
}

int cli_recorder_add_ended(struct cli_recorder *recorder, pid_t pid, const char *name,
			   struct vmat_error *err)
{
	struct vmat_series who = { .pid = (uint64_t)pid,
				   .start_ns = VMAT_UNKNOWN(VMAT_NOT_FOUND),
				   .interval_ns = recorder->interval_ns };
	const char *slash = strrchr(name, '/');
	struct cli_recorded *process = one_more(recorder);

	if (!process)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	snprintf(who.name, sizeof(who.name), "%.63s", slash ? slash + 1 : name);
	snprintf(who.command, sizeof(who.command), "%.255s", name);
	return take(recorder, process, &who, err);
}

static void measure(struct cli_recorder *recorder, struct cli_recorded *process)
{
	static struct vmat_tick tick;
	int r = vmat_sampler_tick(process->sampler, &tick);

	for (size_t i = 0; i < tick.events_count; i++) {
		/* The end is written with its status, which may be known a moment later. */
		if (tick.events[i].type == VMAT_EVENT_EXITED)
			process->wait_status = tick.events[i].number;
		else
			vmat_store_event(recorder->store, process->number, &tick.events[i], NULL);
	}
	vmat_keeper_add(&process->keeper, &tick, r > 0);
	if (r > 0 && vmat_store_sample(recorder->store, process->number, &tick.sample, NULL) == 0) {
		process->samples++;
		if (tick.sample.marks & VMAT_SAMPLE_OWNERS)
			vmat_store_owners(recorder->store, process->number, tick.owners,
					  tick.owners_count, NULL);
	}
	if (r > 0)
		return;
	process->sampler = vmat_sampler_close(process->sampler);
	process->has_ended = r == 0;
	share_budget(recorder);
}

static void write_end(struct cli_recorder *recorder, struct cli_recorded *process)
{
	struct vmat_event event = { .type = VMAT_EVENT_EXITED, .number = process->wait_status };
	struct vmat_sample clocks;

	vmat_sample_clocks(&clocks);
	event.mono_ns = clocks.mono_ns;
	event.wall_ns = clocks.wall_ns;
	vmat_store_event(recorder->store, process->number, &event, NULL);
	process->is_end_written = true;
}

void cli_recorder_status(struct cli_recorder *recorder, pid_t pid, int wait_status)
{
	for (size_t i = 0; i < recorder->count; i++)
		if (recorder->processes[i].pid == pid) {
			/* It may have ended since it was measured. */
			recorder->processes[i].has_ended = true;
			recorder->processes[i].wait_status = (uint64_t)(unsigned)wait_status;
		}
}

static void commit(struct cli_recorder *recorder, uint64_t samples)
{
	struct vmat_error err = { 0 };

	if (vmat_store_commit(recorder->store, &err) < 0) {
		if (!recorder->lost++)
			cli_warn("%s", err.text);
		return;
	}
	recorder->samples += samples;
	if (recorder->is_verbose)
		fprintf(stderr, "acknowledged %llu samples\n",
			(unsigned long long)recorder->samples);
}

static bool is_followed(const struct cli_recorder *recorder, pid_t pid)
{
	for (size_t i = 0; i < recorder->count; i++)
		if (recorder->processes[i].pid == pid && recorder->processes[i].sampler)
			return true;
	return false;
}

static int compare_pids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static void look_for_children(struct cli_recorder *recorder)
{
	struct vmat_sample sample;
	struct vmat_glance who;
	pid_t *pids;
	size_t count;
	char spec[16];

	if (vmat_sample_pids(&pids, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (recorder->pids && bsearch(&pids[i], recorder->pids, recorder->pids_count,
					      sizeof(*pids), compare_pids))
			continue;
		if (vmat_sample_glance(&sample, &who, pids[i], false) < 0 ||
		    !is_followed(recorder, who.ppid) || is_followed(recorder, pids[i]))
			continue;
		snprintf(spec, sizeof(spec), "%d", (int)pids[i]);
		/* One that has ended since, or that has other rights than we: the rest is recorded. */
		cli_recorder_add(recorder, spec, NULL);
	}
	free(recorder->pids);
	recorder->pids = pids;
	recorder->pids_count = count;
}

static bool is_due(const struct cli_recorder *recorder, const struct cli_recorded *process,
		   uint64_t now)
{
	const int fd = vmat_sampler_fd(process->sampler);

	if (vmat_sampler_due_ns(process->sampler) <= now + recorder->interval_ns / 10)
		return true;
	return recorder->is_called && fd >= 0 && vmat_sample_wait(0, &fd, 1) == 1;
}

size_t cli_recorder_tick(struct cli_recorder *recorder)
{
	const uint64_t now = cli_recorder_now();
	uint64_t before = 0, after = 0;
	size_t alive = 0;

	if (recorder->with_children)
		look_for_children(recorder);
	for (size_t i = 0; i < recorder->count; i++) {
		struct cli_recorded *process = &recorder->processes[i];

		if (process->has_ended && !process->is_end_written)
			write_end(recorder, process);
		before += process->samples;
		if (process->sampler && is_due(recorder, process, now))
			measure(recorder, process);
		after += process->samples;
		alive += process->sampler != NULL;
	}
	commit(recorder, after - before);
	return alive;
}

void cli_recorder_wait(struct cli_recorder *recorder, uint64_t until_ns, int fd)
{
	int fds[WAIT_FDS] = { fd };
	size_t count = 1;

	for (size_t i = 0; i < recorder->count; i++) {
		const struct vmat_sampler *sampler = recorder->processes[i].sampler;

		if (!sampler)
			continue;
		if (vmat_sampler_due_ns(sampler) < until_ns)
			until_ns = vmat_sampler_due_ns(sampler);
		/* The end of one of very many is seen at its next tick. */
		if (count < WAIT_FDS && vmat_sampler_fd(sampler) >= 0)
			fds[count++] = vmat_sampler_fd(sampler);
	}
	recorder->is_called = vmat_sample_wait(until_ns, fds, count) == 1;
}

int cli_recorder_end(struct cli_recorder *recorder, struct vmat_error *err)
{
	struct vmat_judgement *judgement = malloc(sizeof(*judgement));
	int r;

	for (size_t i = 0; i < recorder->count; i++) {
		struct cli_recorded *process = &recorder->processes[i];

		if (process->has_ended && !process->is_end_written)
			write_end(recorder, process);
		if (judgement && process->samples) {
			vmat_judge(judgement, &process->keeper.series);
			vmat_store_judgement(recorder->store, process->number, judgement, NULL);
		}
	}
	free(judgement);
	r = vmat_store_close(recorder->store, err);
	recorder->store = NULL;
	return r;
}

void cli_recorder_free(struct cli_recorder *recorder)
{
	for (size_t i = 0; i < recorder->count; i++) {
		vmat_sampler_close(recorder->processes[i].sampler);
		vmat_keeper_deinit(&recorder->processes[i].keeper);
	}
	free(recorder->processes);
	free(recorder->pids);
}
