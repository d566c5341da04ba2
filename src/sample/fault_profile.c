/* SPDX-License-Identifier: MIT */
/*
 * fault_profile.c: a profile of page faults, taken from a living process (vmatlas/fault.h).
 *
 * The counts of the kernel frame the time: they are read right after the events were opened and right before the last records
 * are read, and samples outside are dropped. The rings are read every TICK_NS; the map is looked at as often as that costs
 * at most a twentieth of the time. What is kept is bounded, however long it takes: counts by page, by instruction and by place.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/fault.h>
#include <vmatlas/feature.h>
#include <vmatlas/name.h>

#include "base/cleanup.h"
#include "sample/fault_counts.h"
#include "sample/fault_events.h"
#include "sample/fault_places.h"
#include "sys/sys_event.h"
#include "sys/sys_perf.h"
#include "target/process.h"
#include "target/target_source.h"

static const uint64_t SECOND_NS = 1000000000, TICK_NS = 25000000, LOOK_NS = 50000000;

enum {
	LOOK_SHARE = 20,
	PAGES_MAX = 1 << 20,
	SITES_MAX = 1 << 16,
	PF_FORKNOEXEC = 0x40, /* include/linux/sched.h */
};

struct watching {
	struct vmat_fault_profile *profile;
	struct vmat_target *target;
	const struct vmat_fault_options *options;
	struct vmat_fault_events events;
	bool has_events;
	struct vmat_fault_places places;
	struct vmat_fault_counts pages, sites;
	struct vmat_atlas *atlas; /* of the newest look */
	uint64_t start_ns, end_ns;
	uint64_t tick_start_minor, tick_start_major;
	struct vmat_stat first, last;
	size_t ticks_max;
	int error;
};

static void note_partial(struct vmat_fault_profile *profile, const char *why)
{
	size_t used = strlen(profile->partial_why);

	profile->is_partial = true;
	if (!why[0] || strstr(profile->partial_why, why))
		return;
	snprintf(profile->partial_why + used, sizeof(profile->partial_why) - used, "%s%s",
		 used ? "; " : "", why);
}

/* The counts now. False when it has ended or executed another program. */
static bool read_stat(struct watching *w, struct vmat_stat *ret)
{
	const struct vmat_process *process = vmat_target_process(w->target);
	struct vmat_buffer text = { 0 };
	struct vmat_stat stat;
	int err = vmat_source_text(w->target, "stat", &text);

	if (!err)
		err = vmat_stat_parse(&stat, text.data, text.size);
	vmat_buffer_deinit(&text);
	if (err || stat.state == 'Z' || stat.state == 'X' ||
	    stat.start_ticks != process->start_ticks) {
		w->profile->has_ended = true;
		return false;
	}
	*ret = stat;
	if (stat.stack_addr != process->stack_addr)
		w->profile->has_executed = true;
	return !w->profile->has_executed;
}

static void take_record(const struct vmat_fault_record *record, void *context)
{
	struct watching *w = context;
	struct vmat_fault_profile *profile = w->profile;
	const struct vmat_perf_record *perf = &record->perf;
	uint64_t page;

	if (perf->type == VMAT_PERF_LOST) {
		profile->lost += perf->lost;
	} else if (perf->type == VMAT_PERF_THROTTLE) {
		profile->throttled++;
	} else if (perf->time_ns < w->start_ns || perf->time_ns > w->end_ns) {
		return;
	} else if (perf->type == VMAT_PERF_FORK) {
		if (perf->parent_pid == (uint32_t)w->events.pid && perf->pid == perf->parent_pid)
			profile->threads_begun++;
		else if (perf->parent_pid == (uint32_t)w->events.pid)
			profile->forks++;
	} else if (perf->type == VMAT_PERF_EXIT) {
		profile->threads_ended += perf->pid == (uint32_t)w->events.pid;
	} else if (perf->type == VMAT_PERF_SAMPLE) {
		page = perf->addr & ~(profile->page_size - 1);
		if (record->is_major)
			profile->samples_major++;
		else
			profile->samples_minor++;
		vmat_fault_counts_add(&w->pages, page ? page : 1, 0, record->is_major);
		vmat_fault_counts_add(&w->sites, perf->ip ? perf->ip : 1, perf->addr,
				      record->is_major);
		if (w->places.spots)
			vmat_fault_places_note(&w->places, w->atlas, perf->addr);
	}
}

static void drain(struct watching *w)
{
	if (w->has_events && vmat_fault_events_drain(&w->events, take_record, w))
		note_partial(w->profile, "a ring of the kernel held bytes that are no records");
}

/* How long the look took. */
static uint64_t look(struct watching *w)
{
	const struct vmat_atlas_options options = { .size = sizeof(options),
						    .want = VMAT_ATLAS_OWNERS };
	uint64_t begin = vmat_sys_mono_ns();
	struct vmat_error err = { 0 };
	struct vmat_atlas *atlas;

	if (!w->places.spots)
		return 0;
	if (vmat_atlas_read(&atlas, w->target, &options, &err) < 0) {
		if (err.code != -ESRCH)
			note_partial(w->profile, err.text);
		return vmat_sys_mono_ns() - begin;
	}
	vmat_fault_places_look(&w->places, atlas, w->target);
	vmat_atlas_free(w->atlas);
	w->atlas = atlas;
	w->profile->looks++;
	return vmat_sys_mono_ns() - begin;
}

static void explain_refusal(struct watching *w, int code)
{
	char *to = w->profile->why_no_samples;
	const size_t size = sizeof(w->profile->why_no_samples);
	const int paranoid = vmat_sys_perf_paranoid();
	struct vmat_error err = { 0 };

	if (code == -EMFILE || code == -ENFILE)
		snprintf(
			to, size,
			"the limit of open files is too low: two for each thread and processor are "
			"needed.\n  ulimit -n 100000");
	else if (code == -ENOBUFS)
		snprintf(
			to, size,
			"the kernel lends no memory for the records: sysctl kernel.perf_event_mlock_kb=516, "
			"or a higher limit of locked memory (ulimit -l)");
	else if (code != -EACCES && code != -EPERM)
		snprintf(to, size, "this kernel has no events of page faults: %s",
			 strerrordesc_np(-code) ? strerrordesc_np(-code) : "unknown error");
	else if (paranoid > 2 && paranoid != INT_MIN)
		snprintf(
			to, size,
			"the kernel lets nobody watch events without CAP_PERFMON: "
			"kernel.perf_event_paranoid is %d.\n  sysctl kernel.perf_event_paranoid=2, or run "
			"vmatlas as root",
			paranoid);
	else if (vmat_target_explain(w->target, "sample the page faults", code, &err) < 0)
		snprintf(to, size, "%.390s", err.text);
}

static int begin_events(struct watching *w)
{
	struct vmat_fault_profile *profile = w->profile;
	const uint64_t every = w->options->every ? w->options->every : VMAT_FAULT_EVERY;
	char text[160];
	int err;

	if (w->options->without_samples) {
		snprintf(profile->why_no_samples, sizeof(profile->why_no_samples),
			 "they were not asked for");
		return 0;
	}
	if (vmat_feature_state(VMAT_FEATURE_PERF_FAULTS) == VMAT_FEATURE_FORCED_OFF) {
		snprintf(profile->why_no_samples, sizeof(profile->why_no_samples),
			 "perf_faults is turned off by VMAT_WITHOUT");
		return 0;
	}
	err = vmat_fault_events_open(&w->events, w->target, every);
	if (err == -ENOMEM)
		return err;
	if (err) {
		explain_refusal(w, err);
		return 0;
	}
	w->has_events = true;
	profile->every = every;
	profile->has_kernel = w->events.has_kernel;
	profile->threads_begun = profile->threads_ended = profile->forks = 0;
	if (w->events.refused) {
		snprintf(text, sizeof(text),
			 "%zu of %zu threads are not sampled: the limit of open files is reached",
			 w->events.refused, w->events.refused + w->events.tids_count);
		note_partial(profile, text);
	}
	return 0;
}

static int add_tick(struct watching *w, uint64_t end_ns)
{
	struct vmat_fault_profile *profile = w->profile;

	if (profile->ticks_count == VMAT_FAULT_TICKS_MAX)
		return 0;
	if (profile->ticks_count == w->ticks_max) {
		size_t wanted = w->ticks_max ? 2 * w->ticks_max : 64;
		void *more = reallocarray(profile->ticks, wanted, sizeof(*profile->ticks));

		if (!more)
			return -ENOMEM;
		profile->ticks = more;
		w->ticks_max = wanted;
	}
	profile->ticks[profile->ticks_count++] =
		(struct vmat_fault_tick){ .end_ns = end_ns - w->start_ns,
					  .minor = w->last.faults_minor - w->tick_start_minor,
					  .major = w->last.faults_major - w->tick_start_major };
	w->tick_start_minor = w->last.faults_minor;
	w->tick_start_major = w->last.faults_major;
	profile->span_ns = end_ns - w->start_ns;
	profile->minor = w->last.faults_minor - w->first.faults_minor;
	profile->major = w->last.faults_major - w->first.faults_major;
	if (w->options->progress)
		w->options->progress(profile, w->options->progress_context);
	return 0;
}

static bool is_enough(const struct watching *w)
{
	return w->options->is_enough && w->options->is_enough();
}

/* Until the time is over, or the target is, or whoever asked has seen enough. */
static int watch(struct watching *w)
{
	const uint64_t for_ns = w->options->for_ns ? w->options->for_ns : 10 * SECOND_NS;
	const uint64_t interval_ns = w->options->interval_ns ? w->options->interval_ns : SECOND_NS;
	uint64_t now = w->start_ns, look_at = w->start_ns + LOOK_NS,
		 tick_at = w->start_ns + interval_ns;
	const uint64_t until = w->start_ns + for_ns;
	bool is_there = true;
	int err = 0;

	while (is_there && !err && now < until && !is_enough(w)) {
		uint64_t next = until < tick_at ? until : tick_at;

		next = next - now < TICK_NS ? next - now : TICK_NS;
		vmat_sys_poll(NULL, 0, (int)((next + 999999) / 1000000));
		is_there = read_stat(w, &w->last);
		now = vmat_sys_mono_ns();
		drain(w);
		if (w->has_events && !w->options->every)
			vmat_fault_events_vary(&w->events);
		if (is_there && now >= look_at) {
			uint64_t cost = look(w);

			now = vmat_sys_mono_ns();
			look_at = now + (cost * LOOK_SHARE > LOOK_NS ? cost * LOOK_SHARE : LOOK_NS);
		}
		if (now >= tick_at && now < until) {
			err = add_tick(w, now);
			while (tick_at <= now)
				tick_at += interval_ns;
		}
	}
	/* The counts close the time that the samples are of. */
	if (is_there)
		read_stat(w, &w->last);
	w->end_ns = vmat_sys_mono_ns();
	drain(w);
	if (!w->profile->has_ended && !w->profile->has_executed)
		look(w);
	return err ? err : add_tick(w, w->end_ns);
}

static int compare_places(const void *a, const void *b)
{
	const struct vmat_fault_place *x = a, *y = b;
	uint64_t n = x->minor + x->major, m = y->minor + y->major;

	if (n != m)
		return n < m ? 1 : -1;
	return (x->start > y->start) - (x->start < y->start);
}

static int compare_sites(const void *a, const void *b)
{
	const struct vmat_fault_site *x = a, *y = b;
	uint64_t n = x->minor + x->major, m = y->minor + y->major;

	if (n != m)
		return n < m ? 1 : -1;
	return (x->addr > y->addr) - (x->addr < y->addr);
}

static int end_places(struct watching *w)
{
	struct vmat_fault_profile *profile = w->profile;

	if (!w->places.spots)
		return 0;
	for (size_t i = 0; i < w->pages.slots_count; i++) {
		const struct vmat_fault_count *page = &w->pages.slots[i];
		struct vmat_fault_spot *spot =
			page->key ? vmat_fault_places_find(&w->places, page->key) : NULL;

		if (!spot)
			continue;
		spot->place.pages++;
		spot->place.minor += page->minor;
		spot->place.major += page->major;
	}
	profile->places = calloc(w->places.count + 1, sizeof(*profile->places));
	if (!profile->places)
		return -ENOMEM;
	for (size_t i = 0; i < w->places.count; i++) {
		const struct vmat_fault_place *place = &w->places.spots[i].place;

		if (place->minor || place->major)
			profile->places[profile->places_count++] = *place;
	}
	qsort(profile->places, profile->places_count, sizeof(*profile->places), compare_places);
	if (w->places.is_full)
		note_partial(profile, "there were too many places with faults: some are left out");
	if (w->pages.left_out || w->sites.left_out)
		note_partial(profile,
			     "there were too many different pages with faults: some are left out");
	return 0;
}

/* The kernel's half of the address space: its code has no name here. */
static bool is_kernel_addr(uint64_t addr)
{
	return addr >> 63;
}

static void name_sites(struct watching *w)
{
	struct vmat_fault_profile *profile = w->profile;
	struct vmat_name names[VMAT_FAULT_SITES_NAMED];
	size_t count = 0;

	memset(names, 0, sizeof(names));
	for (size_t i = 0; i < profile->sites_count && i < VMAT_FAULT_SITES_NAMED; i++) {
		if (profile->sites[i].is_kernel)
			snprintf(profile->sites[i].name, sizeof(profile->sites[i].name),
				 "the kernel, in a system call");
		else
			names[count++].addr = profile->sites[i].addr;
	}
	if (!w->atlas || !count || vmat_names_read(w->target, w->atlas->map, names, count, NULL))
		return;
	for (size_t i = 0, k = 0; i < profile->sites_count && k < count; i++) {
		if (!profile->sites[i].is_kernel)
			vmat_name_text(profile->sites[i].name, sizeof(profile->sites[i].name),
				       &names[k++]);
	}
}

static int end_sites(struct watching *w)
{
	struct vmat_fault_profile *profile = w->profile;

	profile->sites = calloc(w->sites.used + 1, sizeof(*profile->sites));
	if (!profile->sites)
		return -ENOMEM;
	for (size_t i = 0; i < w->sites.slots_count; i++) {
		const struct vmat_fault_count *site = &w->sites.slots[i];

		if (site->key)
			profile->sites[profile->sites_count++] =
				(struct vmat_fault_site){ .addr = site->key,
							  .is_kernel = is_kernel_addr(site->key),
							  .minor = site->minor,
							  .major = site->major,
							  .last_addr = site->last };
	}
	qsort(profile->sites, profile->sites_count, sizeof(*profile->sites), compare_sites);
	name_sites(w);
	return 0;
}

static int begin(struct watching *w, struct vmat_error *err)
{
	struct vmat_fault_profile *profile = w->profile;
	int code = begin_events(w);

	if (!code)
		code = vmat_fault_counts_init(&w->pages, PAGES_MAX);
	if (!code)
		code = vmat_fault_counts_init(&w->sites, SITES_MAX);
	if (!code && w->has_events)
		code = vmat_fault_places_init(&w->places, profile->page_size);
	if (code)
		return vmat_error_set(err, code, "out of memory");
	look(w);
	if (w->atlas)
		vmat_heap_settings_read(&profile->heap, w->target, w->atlas->map, NULL);
	w->start_ns = vmat_sys_mono_ns();
	w->end_ns = UINT64_MAX;
	if (!read_stat(w, &w->first))
		return vmat_error_set(err, -ESRCH, "process %d has ended",
				      (int)vmat_target_process(w->target)->pid);
	w->last = w->first;
	w->tick_start_minor = w->first.faults_minor;
	w->tick_start_major = w->first.faults_major;
	profile->is_forked = w->first.flags & PF_FORKNOEXEC;
	return 0;
}

static void note_losses(struct vmat_fault_profile *profile)
{
	char text[200];

	if (profile->has_ended)
		note_partial(profile, "the process ended before the time was over");
	else if (profile->has_executed)
		note_partial(profile,
			     "the process executed another program before the time was over");
	if (!profile->lost && !profile->throttled)
		return;
	snprintf(
		text, sizeof(text),
		"%llu samples were lost, and the kernel paused sampling %llu times: --every with a larger "
		"number helps",
		(unsigned long long)profile->lost, (unsigned long long)profile->throttled);
	note_partial(profile, text);
}

static void cleanup_profile(struct vmat_fault_profile **profile)
{
	vmat_fault_profile_free(*profile);
}

int vmat_fault_profile_read(struct vmat_fault_profile **ret, struct vmat_target *target,
			    const struct vmat_fault_options *options, struct vmat_error *err)
{
	vmat_cleanup(cleanup_profile) struct vmat_fault_profile *profile =
		calloc(1, sizeof(*profile));
	struct watching w = { .profile = profile, .target = target, .options = options };
	int code;

	if (!profile)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	if (!vmat_source_is_live(target))
		return vmat_error_set(
			err, -EOPNOTSUPP,
			"page faults are watched while they happen: this is no living "
			"process");
	profile->pid = (uint64_t)vmat_target_process(target)->pid;
	profile->page_size = vmat_sys_page_bytes();
	profile->threads_begun = profile->threads_ended = profile->forks =
		VMAT_UNKNOWN(VMAT_NOT_PERMITTED);
	profile->heap.mmap_threshold = profile->heap.mmap_max = profile->heap.trim_threshold =
		VMAT_UNKNOWN(VMAT_NOT_FOUND);
	code = begin(&w, err);
	if (!code)
		code = watch(&w);
	if (!code)
		code = end_places(&w);
	if (!code)
		code = end_sites(&w);
	profile->threads = w.last.threads;
	note_losses(profile);
	if (w.has_events)
		vmat_fault_events_close(&w.events);
	vmat_fault_counts_deinit(&w.pages);
	vmat_fault_counts_deinit(&w.sites);
	vmat_fault_places_deinit(&w.places);
	vmat_atlas_free(w.atlas);
	if (code == -ENOMEM)
		return vmat_error_set(err, code, "out of memory");
	if (code)
		return code;
	*ret = vmat_take_ptr(&profile);
	return 0;
}

struct vmat_fault_profile *vmat_fault_profile_free(struct vmat_fault_profile *profile)
{
	if (profile) {
		free(profile->places);
		free(profile->sites);
		free(profile->ticks);
	}
	free(profile);
	return NULL;
}

const struct vmat_fault_place *vmat_fault_place_at(const struct vmat_fault_profile *profile,
						   uint64_t addr)
{
	for (size_t i = 0; i < profile->places_count; i++) {
		if (addr >= profile->places[i].start && addr < profile->places[i].end)
			return &profile->places[i];
	}
	return NULL;
}

/* floor(sqrt(n)) by Newton, so that nothing here needs libm. */
static uint64_t root_of(uint64_t n)
{
	uint64_t x = n, y = (n + 1) / 2;

	while (y < x) {
		x = y;
		y = (x + n / x) / 2;
	}
	return x;
}

uint64_t vmat_fault_unseen(const struct vmat_fault_profile *profile)
{
	uint64_t seen = profile->samples_minor * profile->every, unseen;

	if (!profile->every || profile->lost || profile->throttled || seen >= profile->minor)
		return 0;
	unseen = profile->minor - seen;
	/* Each thread's last faults have no sample yet: a few are always missing, and of no place in particular. */
	return unseen > profile->minor / 10 && unseen > 4 * profile->every ? unseen : 0;
}

uint64_t vmat_fault_estimate(const struct vmat_fault_profile *profile, uint64_t samples,
			     uint64_t *ret_error)
{
	const uint64_t all = profile->samples_minor;
	const double counted = (double)(profile->minor - vmat_fault_unseen(profile));

	if (!all || !vmat_is_known(profile->minor)) {
		if (ret_error)
			*ret_error = VMAT_UNKNOWN(VMAT_NOT_FOUND);
		return VMAT_UNKNOWN(VMAT_NOT_FOUND);
	}
	if (ret_error) {
		/* 1.96 * sqrt(p (1 - p) / n) of the count; at least that of one sample: none seen is not none. */
		double p = (double)samples / (double)all;
		double square = p * (1 - p) / (double)all;
		double share = 1.96 * (double)root_of((uint64_t)(square * 1e18)) / 1e9;

		if (share < 1.0 / (double)all)
			share = 1.0 / (double)all;
		*ret_error = (uint64_t)(share * counted + 0.5);
	}
	return (uint64_t)(counted * (double)samples / (double)all + 0.5);
}
