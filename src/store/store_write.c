/* SPDX-License-Identifier: MIT */
/*
 * store_write.c: the rows of a commit.
 *
 * A tick has the clocks of its first sample; further samples say how much later they were taken. Where the clocks of a sample
 * do not run beside those of the tick (it was set, or the machine slept), or the process has a sample in it already, another tick begins.
 * A kind of region has a row when it changed, and so have an owner and the reason why a fact is unknown.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/store_priv.h"

enum { CLOCKS_APART_NS = 1000000, TICK_LASTS_NS = 1000000000 };

static const char *const texts[STORE_STATEMENTS] = {
	[STORE_FACT] = "INSERT OR REPLACE INTO fact VALUES (?, ?)",
	[STORE_PROCESS] = "INSERT INTO process VALUES (?, ?, ?, ?, ?, ?)",
	[STORE_TICK] = "INSERT INTO tick VALUES (?, ?, ?, ?)",
	[STORE_SAMPLE] = ("INSERT INTO sample VALUES "
			  "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
	[STORE_KIND] = "INSERT INTO region_kind VALUES (?, ?, ?, ?, ?, ?)",
	[STORE_OWNER] = "INSERT OR REPLACE INTO region_owner VALUES (?, ?, ?, ?, ?, ?, ?)",
	[STORE_UNKNOWN] = "INSERT INTO unknown VALUES (?, ?, ?, ?)",
	[STORE_EVENT] = "INSERT INTO event VALUES (NULL, ?, ?, ?, ?, ?, ?)",
	[STORE_JUDGEMENT] = "INSERT OR REPLACE INTO judgement VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
	[STORE_NO_FINDINGS] = "DELETE FROM finding WHERE process = ?",
	[STORE_FINDING] = "INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
};

_Static_assert(VMAT_METRIC_COUNT == 17,
	       "a new metric is a new column: a new version of the schema");

int store_prepare(struct vmat_store *store)
{
	for (size_t i = 0; i < STORE_STATEMENTS; i++) {
		int rc = sqlite3_prepare_v3(store->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
					    &store->statements[i], NULL);

		if (rc != SQLITE_OK)
			return store_errno(store->db, rc);
	}
	return 0;
}

/* Values for one row, in the order of its columns. The first that cannot be bound is reported by end_row. */
struct row {
	struct vmat_store *store;
	sqlite3_stmt *statement;
	int columns, rc;
};

static struct row begin_row(struct vmat_store *store, enum store_statement statement)
{
	return (struct row){ .store = store, .statement = store->statements[statement] };
}

static void add(struct row *row, int rc)
{
	if (!row->rc)
		row->rc = rc;
}

static void add_integer(struct row *row, int64_t value)
{
	add(row, sqlite3_bind_int64(row->statement, ++row->columns, value));
}

/* What is unknown, or larger than SQL's numbers, is NULL. */
static void add_fact(struct row *row, uint64_t fact)
{
	row->columns++;
	if (fact <= INT64_MAX)
		add(row, sqlite3_bind_int64(row->statement, row->columns, (int64_t)fact));
	else
		add(row, sqlite3_bind_null(row->statement, row->columns));
}

/* NAN is NULL. */
static void add_real(struct row *row, double value)
{
	row->columns++;
	if (isfinite(value))
		add(row, sqlite3_bind_double(row->statement, row->columns, value));
	else
		add(row, sqlite3_bind_null(row->statement, row->columns));
}

/* The text must stay until end_row. */
static void add_text(struct row *row, const char *text)
{
	add(row,
	    sqlite3_bind_text(row->statement, ++row->columns, text ? text : "", -1, SQLITE_STATIC));
}

static int end_row(struct row *row)
{
	if (!row->rc)
		row->rc = sqlite3_step(row->statement);
	sqlite3_reset(row->statement);
	sqlite3_clear_bindings(row->statement);
	return store_errno(row->store->db, row->rc);
}

static int write_fact(struct vmat_store *store, const struct store_fact *fact)
{
	struct row row = begin_row(store, STORE_FACT);

	add_text(&row, fact->name);
	add_text(&row, fact->value);
	return end_row(&row);
}

static int write_process(struct vmat_store *store, uint32_t number, const struct vmat_series *who)
{
	struct row row = begin_row(store, STORE_PROCESS);

	add_integer(&row, number);
	add_fact(&row, who->pid);
	add_fact(&row, who->start_ns);
	add_text(&row, who->name);
	add_text(&row, who->command);
	add_fact(&row, who->interval_ns);
	return end_row(&row);
}

/* Does clock b run beside clock a, as it did at the tick? */
static bool is_beside(uint64_t a, uint64_t tick_a, uint64_t b, uint64_t tick_b)
{
	int64_t apart = (int64_t)((b - tick_b) - (a - tick_a));

	return apart < CLOCKS_APART_NS && apart > -CLOCKS_APART_NS;
}

static bool is_of_tick(const struct vmat_store *store, const struct store_process *process,
		       const struct vmat_sample *sample, bool has_tick)
{
	const uint64_t after = sample->mono_ns - store->tick_mono;

	return has_tick && process->last_tick != store->tick && after < TICK_LASTS_NS &&
	       is_beside(sample->mono_ns, store->tick_mono, sample->boot_ns, store->tick_boot) &&
	       is_beside(sample->mono_ns, store->tick_mono, sample->wall_ns, store->tick_wall_ns);
}

static int begin_tick(struct vmat_store *store, const struct vmat_sample *sample)
{
	struct row row = begin_row(store, STORE_TICK);

	store->tick++;
	store->tick_mono = sample->mono_ns;
	store->tick_boot = sample->boot_ns;
	store->tick_wall_ns = sample->wall_ns;
	add_integer(&row, store->tick);
	add_fact(&row, sample->mono_ns);
	add_fact(&row, sample->boot_ns);
	add_fact(&row, sample->wall_ns);
	return end_row(&row);
}

/* Why it is unknown, if that has not been said yet. */
static int write_reason(struct vmat_store *store, uint32_t number, size_t slot, uint64_t fact)
{
	struct store_process *process = &store->processes[number - 1];
	enum vmat_reason reason = vmat_is_known(fact) ? VMAT_NOT_RECORDED : vmat_reason(fact);
	char name[STORE_SLOT_NAME_SIZE];
	struct row row;

	if (fact <= INT64_MAX || process->reasons[slot] == reason)
		return 0;
	process->reasons[slot] = (uint8_t)reason;
	store_slot_name(slot, name);
	row = begin_row(store, STORE_UNKNOWN);
	add_integer(&row, store->tick);
	add_integer(&row, number);
	add_text(&row, name);
	add_text(&row, store_reason_name(reason) ? store_reason_name(reason) : "not_recorded");
	return end_row(&row);
}

static bool has_kinds(const struct vmat_sample *sample)
{
	for (size_t i = 0; i < VMAT_KIND_COUNT; i++)
		if (sample->kinds[i].count != VMAT_UNKNOWN(VMAT_NOT_ASKED) ||
		    sample->kinds[i].size != VMAT_UNKNOWN(VMAT_NOT_ASKED) ||
		    sample->kinds[i].rss != VMAT_UNKNOWN(VMAT_NOT_ASKED))
			return true;
	return false;
}

static int write_kinds(struct vmat_store *store, uint32_t number, const struct vmat_sample *sample)
{
	struct store_process *process = &store->processes[number - 1];
	int r = 0;

	for (size_t i = 0; i < VMAT_KIND_COUNT && !r; i++) {
		const struct vmat_kind_sample *kind = &sample->kinds[i];
		const size_t slot = store_kind_slot(i);
		struct row row;

		r = write_reason(store, number, slot, kind->count);
		if (!r)
			r = write_reason(store, number, slot + 1, kind->size);
		if (!r)
			r = write_reason(store, number, slot + 2, kind->rss);
		if (r || !memcmp(kind, &process->kinds[i], sizeof(*kind)))
			continue;
		process->kinds[i] = *kind;
		row = begin_row(store, STORE_KIND);
		add_integer(&row, store->tick);
		add_integer(&row, number);
		add_text(&row, vmat_kind_name((enum vmat_kind)i));
		add_fact(&row, kind->count);
		add_fact(&row, kind->size);
		add_fact(&row, kind->rss);
		r = end_row(&row);
	}
	return r;
}

static int write_owners(struct vmat_store *store, uint32_t number,
			const struct vmat_owner_sample *rows, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && !r; i++) {
		struct row row = begin_row(store, STORE_OWNER);

		add_integer(&row, store->tick);
		add_integer(&row, number);
		add_text(&row, vmat_kind_name(rows[i].kind));
		add_text(&row, rows[i].name);
		add_fact(&row, rows[i].count);
		add_fact(&row, rows[i].size);
		add_fact(&row, rows[i].rss);
		r = end_row(&row);
	}
	return r;
}

static int write_sample(struct vmat_store *store, struct store_sample *waiting)
{
	struct store_process *process = &store->processes[waiting->process - 1];
	const struct vmat_sample *sample = &waiting->sample;
	vmat_autofree struct vmat_owner_sample *owners = NULL;
	struct row row = begin_row(store, STORE_SAMPLE);
	size_t owners_count = 0;
	int r = store_owners_rows(process, waiting, &owners, &owners_count), has_owners = r;

	if (r < 0)
		return r;
	if (process->is_fresh) {
		memset(process->reasons, 0, sizeof(process->reasons));
		/* Unlike any sample: a row for each kind. At its first a process has none of those that it does not name. */
		memset(process->kinds, process->last_tick < 0 ? 0 : 0xff, sizeof(process->kinds));
		process->is_fresh = false;
	}
	process->last_tick = store->tick;
	add_integer(&row, store->tick);
	add_integer(&row, waiting->process);
	add_integer(&row, (int64_t)(sample->mono_ns - store->tick_mono));
	add_integer(&row, has_owners ? STORE_HAS_OWNERS : has_kinds(sample) ? STORE_HAS_KINDS : 0);
	for (size_t i = 0; i < VMAT_METRIC_COUNT; i++)
		add_fact(&row, sample->values[i]);
	r = end_row(&row);
	for (size_t i = 0; i < VMAT_METRIC_COUNT && !r; i++)
		r = write_reason(store, waiting->process, i, sample->values[i]);
	if (!r && has_kinds(sample))
		r = write_kinds(store, waiting->process, sample);
	if (!r)
		r = write_owners(store, waiting->process, owners, owners_count);
	if (!r && has_owners)
		store_owners_take(&process->owners, waiting);
	return r;
}

static int write_event(struct vmat_store *store, const struct store_event *waiting)
{
	const struct vmat_event *event = &waiting->event;
	struct row row = begin_row(store, STORE_EVENT);

	add_integer(&row, waiting->process);
	add_fact(&row, event->mono_ns);
	add_fact(&row, event->wall_ns);
	add_text(&row, vmat_event_name(event->type));
	/* The jump of a clock may be negative. */
	if (vmat_is_known(event->number))
		add_integer(&row, (int64_t)event->number);
	else
		add_fact(&row, event->number);
	add_text(&row, event->text);
	return end_row(&row);
}

static int write_findings(struct vmat_store *store, uint32_t number,
			  const struct vmat_judgement *judgement)
{
	struct row row = begin_row(store, STORE_NO_FINDINGS);
	int r;

	add_integer(&row, number);
	r = end_row(&row);
	for (size_t i = 0; i < judgement->findings_count && i < VMAT_FINDINGS_MAX && !r; i++) {
		const struct vmat_finding *finding = &judgement->findings[i];

		row = begin_row(store, STORE_FINDING);
		add_integer(&row, number);
		add_integer(&row, (int64_t)i);
		add_text(&row, finding->id);
		add_text(&row, vmat_severity_name(finding->severity));
		add_real(&row, finding->weight);
		add_text(&row, finding->title);
		add_text(&row, finding->evidence);
		add_text(&row, finding->advice);
		r = end_row(&row);
	}
	return r;
}

static int write_judgement(struct vmat_store *store, uint32_t number,
			   const struct vmat_judgement *judgement)
{
	struct row row = begin_row(store, STORE_JUDGEMENT);
	int r;

	add_integer(&row, number);
	add_text(&row, vmat_verdict_name(judgement->verdict));
	add_real(&row, judgement->confidence);
	add_real(&row, judgement->growth_bytes_per_s);
	add_real(&row, judgement->floor_bytes_per_s);
	add_fact(&row, judgement->span_ns);
	add_fact(&row, judgement->sure_after_ns);
	add_text(&row, judgement->sentence);
	r = end_row(&row);
	return r < 0 ? r : write_findings(store, number, judgement);
}

int store_write_all(struct vmat_store *store)
{
	bool has_tick = false;
	int r = 0;

	for (size_t i = 0; i < store->facts_count && !r; i++)
		r = write_fact(store, &store->facts[i]);
	for (size_t i = 0; i < store->processes_count && !r; i++)
		if (!store->processes[i].is_stored)
			r = write_process(store, (uint32_t)i + 1, &store->processes[i].who);
	for (size_t i = 0; i < store->samples_count && !r; i++) {
		struct store_sample *waiting = &store->samples[i];

		if (!is_of_tick(store, &store->processes[waiting->process - 1], &waiting->sample,
				has_tick))
			r = begin_tick(store, &waiting->sample);
		has_tick = true;
		if (!r)
			r = write_sample(store, waiting);
	}
	for (size_t i = 0; i < store->events_count && !r; i++)
		r = write_event(store, &store->events[i]);
	for (size_t i = 0; i < store->processes_count && !r; i++)
		if (store->processes[i].judgement)
			r = write_judgement(store, (uint32_t)i + 1, store->processes[i].judgement);
	return r;
}
