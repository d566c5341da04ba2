/* SPDX-License-Identifier: MIT */
/*
 * fleet.c: all processes of this machine in groups (fleet.h).
 *
 * Of a process is kept: who it is, its group, and its faults at the last scan. Pids come sorted, and so are the processes that
 * are known, so that a scan walks both lists side by side.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/fleet.h>

#include "base/cleanup.h"
#include "sample/fleet_name.h"
#include "sample/sampler_priv.h"

enum { GROUPS_DEFAULT = 30, SAMPLES_OF_A_GROUP = 256, EVENTS_OF_A_GROUP = 16 };

#define KINDS_EVERY_NS UINT64_C(60000000000)
#define HEAP_EVERY_NS  UINT64_C(600000000000)

struct process {
	struct vmat_glance who;
	struct vmat_sample sample;
	struct vmat_sampler *sampler;        /* NULL: not in detail */
	uint64_t faults_minor, faults_major; /* since the last scan */
	char name[64];                       /* of its group, were there room for all */
	size_t group;                        /* in fleet->groups while a scan lasts */
};

struct vmat_fleet_priv {
	struct vmat_fleet_options options;
	struct vmat_namer *namer;
	struct process *processes; /* by pid */
	size_t processes_count;
	size_t detailed;
};

static size_t groups_max(const struct vmat_fleet *fleet)
{
	size_t max = fleet->priv->options.groups_max;

	return max ? max : GROUPS_DEFAULT;
}

int vmat_fleet_new(struct vmat_fleet **ret, const struct vmat_fleet_options *options,
		   struct vmat_error *err)
{
	struct vmat_fleet *fleet = calloc(1, sizeof(*fleet));
	int r = -ENOMEM;

	if (fleet)
		fleet->priv = calloc(1, sizeof(*fleet->priv));
	if (fleet && fleet->priv) {
		fleet->priv->options = *options;
		fleet->groups = calloc(groups_max(fleet) + 1, sizeof(*fleet->groups));
		r = fleet->groups ? vmat_namer_new(&fleet->priv->namer, options, err) : -ENOMEM;
	}
	if (r) {
		vmat_fleet_free(fleet);
		return r == -ENOMEM ? vmat_error_set(err, r, "out of memory") : r;
	}
	*ret = fleet;
	return 0;
}

static void free_processes(struct process *processes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		vmat_sampler_close(processes[i].sampler);
	free(processes);
}

struct vmat_fleet *vmat_fleet_free(struct vmat_fleet *fleet)
{
	if (!fleet)
		return NULL;
	for (size_t i = 0; i < fleet->groups_count; i++)
		vmat_keeper_deinit(&fleet->groups[i].keeper);
	if (fleet->priv) {
		free_processes(fleet->priv->processes, fleet->priv->processes_count);
		vmat_namer_free(fleet->priv->namer);
	}
	free(fleet->priv);
	free(fleet->groups);
	free(fleet);
	return NULL;
}

static void count_error(struct vmat_fleet *fleet, int code)
{
	enum vmat_scan_error error = code == -ESRCH || code == -ENOENT   ? VMAT_SCAN_VANISHED
				     : code == -EACCES || code == -EPERM ? VMAT_SCAN_NOT_PERMITTED
									 : VMAT_SCAN_UNREADABLE;

	fleet->errors[error]++;
}

static bool is_detailed(const struct vmat_fleet *fleet, const char *name)
{
	for (size_t i = 0; i < fleet->priv->options.detail_count; i++) {
		if (strcmp(fleet->priv->options.detail[i], name) == 0)
			return true;
	}
	return false;
}

/* Regions and heap, where its group is one of those and they may be read. */
static void open_detail(struct vmat_fleet *fleet, struct process *process)
{
	const struct vmat_sampler_options options = {
		.size = sizeof(options),
		.interval_ns = fleet->priv->options.interval_ns,
		.budget = 0.001,
		.want = VMAT_SAMPLER_KINDS | VMAT_SAMPLER_HEAP,
		.kinds_interval_ns = KINDS_EVERY_NS,
		.heap_interval_ns = HEAP_EVERY_NS,
	};
	char spec[16];
	int code;

	if (!is_detailed(fleet, process->name) || fleet->priv->detailed >= VMAT_FLEET_DETAILED_MAX)
		return;
	snprintf(spec, sizeof(spec), "%d", (int)process->who.pid);
	code = vmat_sampler_open(&process->sampler, spec, &options, NULL);
	if (code)
		count_error(fleet, code);
	else
		fleet->priv->detailed++;
}

static void keep_details(struct vmat_sample *to, const struct vmat_sample *from, bool has_kinds,
			 bool has_heap)
{
	if (has_kinds)
		memcpy(to->kinds, from->kinds, sizeof(to->kinds));
	for (int m = VMAT_METRIC_HEAP_SYSTEM; has_heap && m <= VMAT_METRIC_HEAP_LARGEST_FREE; m++)
		to->values[m] = from->values[m];
}

/* What was read in detail now, or the last time that it was. */
static void take_detail(struct vmat_fleet *fleet, struct process *process,
			const struct vmat_sample *before)
{
	vmat_autofree struct vmat_tick *tick = malloc(sizeof(*tick));
	int r;

	keep_details(&process->sample, before, true, true);
	if (!process->sampler || !tick)
		return;
	r = vmat_sampler_tick(process->sampler, tick);
	if (r == 1) {
		keep_details(&process->sample, &tick->sample,
			     vmat_is_known(tick->sample.kinds[VMAT_KIND_TEXT].size),
			     vmat_is_known(tick->sample.values[VMAT_METRIC_HEAP_SYSTEM]));
		return;
	}
	process->sampler = vmat_sampler_close(process->sampler);
	fleet->priv->detailed--;
	if (r < 0)
		count_error(fleet, r);
}

static void forget(struct vmat_sample *sample)
{
	for (size_t i = 0; i < VMAT_METRIC_COUNT; i++)
		sample->values[i] = VMAT_UNKNOWN(VMAT_NOT_ASKED);
	for (size_t i = 0; i < VMAT_KIND_COUNT; i++)
		sample->kinds[i] = (struct vmat_kind_sample){ VMAT_UNKNOWN(VMAT_NOT_ASKED),
							      VMAT_UNKNOWN(VMAT_NOT_ASKED),
							      VMAT_UNKNOWN(VMAT_NOT_ASKED) };
}

static uint64_t since(uint64_t now, uint64_t before)
{
	if (!vmat_is_known(before)) /* a new process: all that it has done */
		before = 0;
	return !vmat_is_known(now) || now < before ? 0 : now - before;
}

/* One process: a new one, or `known`, the one of that number at the last scan. False when it is not to be counted. */
static bool look_at(struct vmat_fleet *fleet, pid_t pid, const struct vmat_sample *clocks,
		    struct process *known, struct process *ret)
{
	struct process process = { .sample = *clocks };
	struct vmat_sample nothing;
	const struct vmat_sample *before;
	int code;

	forget(&nothing);
	forget(&process.sample);
	code = vmat_sample_glance(&process.sample, &process.who, pid, true);
	if (code) {
		/* Threads of the kernel and zombies have no memory: they are no errors. */
		if (code != -ESRCH)
			count_error(fleet, code);
		return false;
	}
	if (known && known->who.start_ns == process.who.start_ns) {
		before = &known->sample;
		memcpy(process.name, known->name, sizeof(process.name));
		process.sampler = known->sampler;
		known->sampler = NULL;
	} else {
		before = &nothing;
		vmat_namer_name(fleet->priv->namer, &process.who, process.name);
		open_detail(fleet, &process);
	}
	process.faults_minor = since(process.sample.values[VMAT_METRIC_FAULTS_MINOR],
				     before->values[VMAT_METRIC_FAULTS_MINOR]);
	process.faults_major = since(process.sample.values[VMAT_METRIC_FAULTS_MAJOR],
				     before->values[VMAT_METRIC_FAULTS_MAJOR]);
	take_detail(fleet, &process, before);
	*ret = process;
	return true;
}

/* Looks at all pids beside those that are known, both ascending. */
static size_t look_at_all(struct vmat_fleet *fleet, const pid_t *pids, size_t pids_count,
			  const struct vmat_sample *clocks, struct process *ret)
{
	struct vmat_fleet_priv *priv = fleet->priv;
	size_t known = 0, count = 0;

	for (size_t i = 0; i < pids_count; i++) {
		bool is_known;

		while (known < priv->processes_count && priv->processes[known].who.pid < pids[i])
			known++;
		is_known =
			known < priv->processes_count && priv->processes[known].who.pid == pids[i];
		count += look_at(fleet, pids[i], clocks, is_known ? &priv->processes[known] : NULL,
				 &ret[count]);
	}
	return count;
}

/* All processes of one name. */
struct named {
	size_t first, count; /* in the order by name */
	uint64_t rss;
	bool is_taken;
};

static int compare_names(const void *a, const void *b)
{
	const struct process *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static int compare_rss(const void *a, const void *b)
{
	const struct named *const *x = a, *const *y = b;

	return ((*x)->rss < (*y)->rss) - ((*x)->rss > (*y)->rss);
}

static size_t gather_names(struct process **order, size_t count, struct named *ret)
{
	size_t names = 0;

	qsort(order, count, sizeof(struct process *), compare_names);
	for (size_t i = 0; i < count; i++) {
		uint64_t rss = order[i]->sample.values[VMAT_METRIC_RSS];

		if (i == 0 || strcmp(order[i - 1]->name, order[i]->name) != 0)
			ret[names++] = (struct named){ .first = i };
		ret[names - 1].count++;
		ret[names - 1].rss += vmat_is_known(rss) ? rss : 0;
	}
	return names;
}

static void begin_group(struct vmat_fleet *fleet, struct vmat_group *group, const char *name)
{
	*group = (struct vmat_group){ .is_rest = !name };
	snprintf(group->name, sizeof(group->name), "%s", name ? name : "_other");
	vmat_keeper_init(&group->keeper, SAMPLES_OF_A_GROUP, EVENTS_OF_A_GROUP);
	group->keeper.series.interval_ns = fleet->priv->options.interval_ns;
	snprintf(group->keeper.series.name, sizeof(group->keeper.series.name), "%s", group->name);
}

static void take_group(struct process **order, struct named *named, size_t group)
{
	named->is_taken = true;
	for (size_t i = named->first; i < named->first + named->count; i++)
		order[i]->group = group;
}

/* The groups that have processes still stay, at the places that *kept counts; *rest is taken out. */
static void keep_groups(struct vmat_fleet *fleet, struct process **order, struct named *names,
			size_t names_count, size_t *kept, struct vmat_group *rest)
{
	for (size_t i = 0; i < fleet->groups_count; i++) {
		struct vmat_group group = fleet->groups[i];
		size_t n = 0;

		if (group.is_rest) {
			*rest = group;
			continue;
		}
		while (n < names_count && strcmp(order[names[n].first]->name, group.name) != 0)
			n++;
		if (n == names_count) {
			vmat_keeper_deinit(&group.keeper);
			continue;
		}
		take_group(order, &names[n], *kept);
		fleet->groups[(*kept)++] = group;
	}
}

/* Then the largest names get what room is left, and all others are the rest. */
static int assign(struct vmat_fleet *fleet, struct process *processes, size_t count)
{
	vmat_autofree struct process **order = calloc(count + 1, sizeof(struct process *));
	vmat_autofree struct named *names = calloc(count + 1, sizeof(*names));
	vmat_autofree struct named **by_rss = calloc(count + 1, sizeof(struct named *));
	struct vmat_group rest = { 0 };
	size_t names_count, new_count = 0, kept = 0;
	bool is_rest_empty = true;

	if (!order || !names || !by_rss)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		order[i] = &processes[i];
	names_count = gather_names(order, count, names);
	keep_groups(fleet, order, names, names_count, &kept, &rest);
	for (size_t n = 0; n < names_count; n++) {
		if (!names[n].is_taken)
			by_rss[new_count++] = &names[n];
	}
	qsort(by_rss, new_count, sizeof(struct named *), compare_rss);
	for (size_t n = 0; n < new_count; n++) {
		bool has_room = kept < groups_max(fleet);

		if (has_room)
			begin_group(fleet, &fleet->groups[kept], order[by_rss[n]->first]->name);
		take_group(order, by_rss[n], kept); /* behind the last group: the rest */
		kept += has_room;
		is_rest_empty &= has_room;
	}
	fleet->groups_count = kept;
	if (is_rest_empty) {
		vmat_keeper_deinit(&rest.keeper);
		return 0;
	}
	if (!rest.is_rest)
		begin_group(fleet, &rest, NULL);
	fleet->groups[fleet->groups_count++] = rest;
	return 0;
}

static void add(uint64_t *sum, uint64_t more)
{
	if (vmat_is_known(more))
		*sum = vmat_is_known(*sum) ? *sum + more : more;
}

static void add_process(struct vmat_group *group, const struct process *process)
{
	const struct vmat_sample *sample = &process->sample;
	uint64_t start_wall_ns = sample->wall_ns - (sample->boot_ns - process->who.start_ns);

	group->processes++;
	group->faults_minor += process->faults_minor;
	group->faults_major += process->faults_major;
	if (group->processes == 1 || start_wall_ns < group->oldest_start_wall_ns)
		group->oldest_start_wall_ns = start_wall_ns;
	for (size_t i = 0; i < VMAT_METRIC_COUNT; i++)
		add(&group->values[i], sample->values[i]);
	group->detailed += vmat_is_known(sample->kinds[VMAT_KIND_TEXT].size);
	for (size_t i = 0; i < VMAT_KIND_COUNT; i++) {
		add(&group->kinds[i].count, sample->kinds[i].count);
		add(&group->kinds[i].size, sample->kinds[i].size);
		add(&group->kinds[i].rss, sample->kinds[i].rss);
	}
}

static int sum_up(struct vmat_fleet *fleet, const struct vmat_sample *clocks)
{
	const struct vmat_fleet_priv *priv = fleet->priv;
	vmat_autofree struct vmat_tick *tick = calloc(1, sizeof(*tick));
	int err = tick ? 0 : -ENOMEM;

	if (err)
		return err;
	tick->sample = *clocks;
	forget(&tick->sample);
	for (size_t i = 0; i < fleet->groups_count; i++) {
		struct vmat_group *group = &fleet->groups[i];

		group->processes = group->detailed = 0;
		memcpy(group->values, tick->sample.values, sizeof(group->values));
		memcpy(group->kinds, tick->sample.kinds, sizeof(group->kinds));
	}
	for (size_t i = 0; i < priv->processes_count; i++)
		add_process(&fleet->groups[priv->processes[i].group], &priv->processes[i]);
	for (size_t i = 0; i < fleet->groups_count && !err; i++) {
		struct vmat_group *group = &fleet->groups[i];
		const struct vmat_series *series = &group->keeper.series;

		memcpy(tick->sample.values, group->values, sizeof(group->values));
		memcpy(tick->sample.kinds, group->kinds, sizeof(group->kinds));
		tick->events_count = 0;
		if (series->samples_count)
			vmat_sample_clock_events(tick, &series->samples[series->samples_count - 1]);
		err = vmat_keeper_add(&group->keeper, tick, true);
	}
	return err;
}

int vmat_fleet_scan(struct vmat_fleet *fleet)
{
	struct vmat_fleet_priv *priv = fleet->priv;
	vmat_autofree pid_t *pids = NULL;
	struct process *processes;
	struct vmat_sample clocks, end;
	size_t pids_count, count;
	int err = vmat_sample_pids(&pids, &pids_count);

	if (err)
		return err;
	processes = calloc(pids_count + 1, sizeof(*processes));
	if (!processes)
		return -ENOMEM;
	vmat_sample_clocks(&clocks);
	count = look_at_all(fleet, pids, pids_count, &clocks, processes);
	free_processes(priv->processes, priv->processes_count);
	priv->processes = processes;
	priv->processes_count = count;
	priv->detailed = 0;
	for (size_t i = 0; i < count; i++)
		priv->detailed += processes[i].sampler != NULL;
	err = assign(fleet, processes, count);
	if (!err)
		err = sum_up(fleet, &clocks);
	vmat_sample_clocks(&end);
	fleet->processes = count;
	fleet->scan_ns = end.mono_ns - clocks.mono_ns;
	fleet->scan_wall_ns = end.wall_ns;
	return err;
}
