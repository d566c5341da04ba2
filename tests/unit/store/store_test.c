/* SPDX-License-Identifier: MIT */
/* A recording gives back what was put into it, is never overwritten, and a day of it is small. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "series_made.h"

static char folder[128];

static const char *at(const char *name)
{
	static char path[200];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static struct vmat_store *create(const char *name)
{
	struct vmat_store *store = NULL;
	struct vmat_error err = { 0 };
	int r = vmat_store_create(&store, at(name), NULL, &err);

	if (r)
		fail_msg("%d: %s", r, err.text);
	return store;
}

static struct vmat_recording *read_back(const char *name)
{
	struct vmat_recording *recording = NULL;
	struct vmat_error err = { 0 };
	int r = vmat_recording_open(&recording, at(name), NULL, &err);

	if (r)
		fail_msg("%d: %s", r, err.text);
	return recording;
}

static void expect_series(struct vmat_recording *recording, size_t index, uint32_t who,
			  uint64_t from, uint64_t count, uint64_t kinds_every)
{
	struct vmat_series series;
	struct vmat_error err = { 0 };
	uint64_t stride;
	int r = vmat_recording_series(recording, index, &series, &stride, &err);

	if (r)
		fail_msg("%d: %s", r, err.text);
	assert_int_equal(stride, 1);
	assert_int_equal(series.samples_count, count);
	for (uint64_t i = 0; i < count; i++) {
		struct vmat_sample wanted = made_sample(who, from + i, kinds_every);

		assert_true(made_is_same(&series.samples[i], &wanted));
	}
	vmat_recording_series_free(&series);
}

static void test_round(void **state)
{
	struct vmat_store *store = create("round.vmatlas");
	struct vmat_event event = { .type = VMAT_EVENT_CLOCK_SET, .number = (uint64_t)-5000000000 };
	struct vmat_judgement judgement = { .verdict = VMAT_VERDICT_LEAK,
					    .confidence = 0.75,
					    .growth_bytes_per_s = (double)NAN,
					    .span_ns = 7,
					    .sure_after_ns = VMAT_UNKNOWN(VMAT_NOT_FOUND),
					    .sentence = "it leaks",
					    .findings_count = 2 };
	struct vmat_judgement judged;
	struct vmat_recording *recording;
	const struct vmat_recorded *processes;
	const struct vmat_fact *facts;
	struct vmat_series series;
	uint32_t number;

	(void)state;
	judgement.findings[0] = (struct vmat_finding){ .id = "leak.heap",
						       .severity = VMAT_SEVERITY_BAD,
						       .weight = 0.5,
						       .title = "a",
						       .evidence = "b",
						       .advice = "c" };
	judgement.findings[1] = (struct vmat_finding){ .id = "other" };
	for (uint32_t who = 1; who <= 3; who++) {
		struct vmat_series process = made_process(who);

		assert_int_equal(vmat_store_process(store, &process, &number, NULL), 0);
		assert_int_equal(number, who);
	}
	for (uint64_t second = 0; second < 200; second++) {
		for (uint32_t who = 1; who <= 3; who++) {
			struct vmat_sample sample = made_sample(who, second, who == 3 ? 0 : 10);

			assert_int_equal(vmat_store_sample(store, who, &sample, NULL), 0);
		}
		if (second == 100) {
			event.mono_ns = 5;
			snprintf(event.text, sizeof(event.text), "set back");
			assert_int_equal(vmat_store_event(store, 2, &event, NULL), 0);
		}
		assert_int_equal(vmat_store_commit(store, NULL), 0);
	}
	event = (struct vmat_event){ .type = VMAT_EVENT_EXITED, .number = 139 };
	assert_int_equal(vmat_store_event(store, 3, &event, NULL), 0);
	assert_int_equal(vmat_store_judgement(store, 1, &judgement, NULL), 0);
	assert_int_equal(vmat_store_fact(store, "kernel", "6.1", NULL), 0);
	/* What is not committed is not there yet, and all else is. */
	recording = read_back("round.vmatlas");
	assert_true(vmat_recording_is_growing(recording));
	assert_false(vmat_recording_is_whole(recording));
	assert_int_equal(vmat_recording_judgement(recording, 0, &judged, NULL), -ENODATA);
	expect_series(recording, 1, 2, 0, 200, 10);
	vmat_recording_close(recording);

	assert_int_equal(vmat_store_close(store, NULL), 0);
	assert_int_equal(access(at("round.vmatlas-wal"), F_OK), -1);
	recording = read_back("round.vmatlas");
	assert_false(vmat_recording_is_growing(recording));
	assert_true(vmat_recording_is_whole(recording));
	assert_int_equal(vmat_recording_processes(recording, &processes), 3);
	assert_int_equal(processes[2].who.pid, 1003);
	assert_string_equal(processes[2].who.name, "made3");
	assert_string_equal(processes[2].who.command, "/usr/bin/made --number=3");
	assert_int_equal(processes[2].who.start_ns, 3 * MADE_SECOND);
	assert_int_equal(processes[2].who.interval_ns, MADE_SECOND);
	assert_int_equal(processes[2].samples_count, 200);
	assert_true(processes[2].has_ended);
	assert_int_equal(processes[2].wait_status, 139);
	assert_false(processes[1].has_ended);
	for (uint32_t who = 1; who <= 3; who++)
		expect_series(recording, who - 1, who, 0, 200, who == 3 ? 0 : 10);
	assert_int_equal(vmat_recording_series(recording, 1, &series, NULL, NULL), 0);
	assert_int_equal(series.events_count, 1);
	assert_int_equal(series.events[0].type, VMAT_EVENT_CLOCK_SET);
	assert_int_equal(series.events[0].number, (uint64_t)-5000000000);
	assert_string_equal(series.events[0].text, "set back");
	vmat_recording_series_free(&series);
	assert_int_equal(vmat_recording_judgement(recording, 0, &judged, NULL), 0);
	assert_int_equal(judged.verdict, VMAT_VERDICT_LEAK);
	assert_true(isnan(judged.growth_bytes_per_s));
	assert_int_equal(judged.findings_count, 2);
	assert_string_equal(judged.findings[0].id, "leak.heap");
	assert_string_equal(judged.findings[0].advice, "c");
	assert_int_equal(judged.findings[0].severity, VMAT_SEVERITY_BAD);
	assert_string_equal(judged.sentence, "it leaks");
	assert_false(vmat_is_known(judged.sure_after_ns));
	for (size_t i = vmat_recording_facts(recording, &facts); i--;)
		if (!strcmp(facts[i].name, "kernel"))
			assert_string_equal(facts[i].value, "6.1");
	vmat_recording_close(recording);
}

/* The clock is set and the machine sleeps in the middle of a tick: each sample keeps its own clocks, to a millisecond. */
static void test_clocks(void **state)
{
	struct vmat_store *store = create("clocks.vmatlas");
	struct vmat_recording *recording;
	struct vmat_series series;
	uint32_t number;

	(void)state;
	for (uint32_t who = 1; who <= 3; who++) {
		struct vmat_series process = made_process(who);
		struct vmat_sample sample = made_sample(who, 1, 0);

		sample.wall_ns -= who == 2 ? 3600 * MADE_SECOND : 0;
		sample.boot_ns += who == 3 ? 60 * MADE_SECOND : 0;
		assert_int_equal(vmat_store_process(store, &process, &number, NULL), 0);
		assert_int_equal(vmat_store_sample(store, number, &sample, NULL), 0);
		/* Twice in one commit, and never backwards. */
		assert_int_equal(vmat_store_sample(store, number, &sample, NULL), -EINVAL);
		sample.mono_ns += 1000;
		assert_int_equal(vmat_store_sample(store, number, &sample, NULL), 0);
	}
	assert_int_equal(vmat_store_close(store, NULL), 0);
	recording = read_back("clocks.vmatlas");
	for (uint32_t who = 1; who <= 3; who++) {
		struct vmat_sample sample = made_sample(who, 1, 0);

		assert_int_equal(vmat_recording_series(recording, who - 1, &series, NULL, NULL), 0);
		assert_int_equal(series.samples_count, 2);
		sample.wall_ns -= who == 2 ? 3600 * MADE_SECOND : 0;
		sample.boot_ns += who == 3 ? 60 * MADE_SECOND : 0;
		assert_true(made_is_same(&series.samples[0], &sample));
		vmat_recording_series_free(&series);
	}
	vmat_recording_close(recording);
}

/* More samples than are asked for: every n-th, evenly. */
static void test_stride(void **state)
{
	struct vmat_recording_options few = { .size = sizeof(few), .samples_max = 30 };
	struct vmat_store *store = create("stride.vmatlas");
	struct vmat_series process = made_process(1), series;
	struct vmat_recording *recording;
	uint64_t stride;
	uint32_t number;

	(void)state;
	assert_int_equal(vmat_store_process(store, &process, &number, NULL), 0);
	for (uint64_t second = 0; second < 100; second++) {
		struct vmat_sample sample = made_sample(1, second, 10);

		assert_int_equal(vmat_store_sample(store, 1, &sample, NULL), 0);
	}
	assert_int_equal(vmat_store_close(store, NULL), 0);
	assert_int_equal(vmat_recording_open(&recording, at("stride.vmatlas"), &few, NULL), 0);
	assert_int_equal(vmat_recording_series(recording, 0, &series, &stride, NULL), 0);
	assert_int_equal(stride, 4);
	assert_int_equal(series.samples_count, 25);
	for (uint64_t i = 0; i < 25; i++) {
		struct vmat_sample sample = made_sample(1, 4 * i, 10);

		assert_true(made_is_same(&series.samples[i], &sample));
	}
	vmat_recording_series_free(&series);
	vmat_recording_close(recording);
}

static void expect_refused(const char *name, const char *why)
{
	struct vmat_store *store = NULL;
	struct vmat_error err = { 0 };

	assert_int_equal(vmat_store_create(&store, at(name), NULL, &err), -EEXIST);
	assert_null(store);
	if (!strstr(err.text, why))
		fail_msg("%s: %s", name, err.text);
}

static void test_never_overwritten(void **state)
{
	struct vmat_store *store = create("mine.vmatlas");
	char text[8] = "";
	int fd;

	(void)state;
	expect_refused("mine.vmatlas", "a recording that is being written");
	assert_int_equal(vmat_store_close(store, NULL), 0);
	expect_refused("mine.vmatlas", "there already: a recording\n");
	fd = open(at("other"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "precious", 8), 8);
	close(fd);
	expect_refused("other", "no recording");
	fd = open(at("other"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, text, 8), 8);
	assert_memory_equal(text, "precious", 8);
	close(fd);
	mkdir(at("folder"), 0700);
	expect_refused("folder", "no recording");
	assert_int_equal(mkfifo(at("fifo"), 0600), 0);
	expect_refused("fifo", "no recording");
	assert_int_equal(symlink("nowhere", at("link")), 0);
	expect_refused("link", "no recording");
	/* SQLite would remove it, or take it for its own. */
	fd = open(at("left-wal"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	expect_refused("left", "left of another recording");
	assert_int_equal(access(at("left-wal"), F_OK), 0);
	assert_int_equal(access(at("left"), F_OK), -1);
}

static void expect_unreadable(const char *name, int code, const char *why)
{
	struct vmat_recording *recording = NULL;
	struct vmat_error err = { 0 };
	int r = vmat_recording_open(&recording, at(name), NULL, &err);

	if (r != code || recording || !strstr(err.text, why))
		fail_msg("%s: %d %s", name, r, err.text);
}

static void change(const char *name, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at(name), &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	sqlite3_close(db);
}

static void test_unreadable(void **state)
{
	(void)state;
	expect_unreadable("absent", -ENOENT, "No such file");
	expect_unreadable("folder", -EBADMSG, "no file");
	expect_unreadable("fifo", -EBADMSG, "no file");
	expect_unreadable("left-wal", -EBADMSG, "empty");
	expect_unreadable("other", -EBADMSG, "no recording of vmatlas");
	change("foreign.db", "CREATE TABLE a (b)");
	expect_unreadable("foreign.db", -EBADMSG, "SQLite database, but no recording");
	assert_int_equal(vmat_store_close(create("newer"), NULL), 0);
	change("newer", "PRAGMA user_version=3");
	expect_unreadable("newer", -EPROTO, "schema 3");
	change("newer", "PRAGMA user_version=1");
	expect_unreadable("newer", -EBADMSG, "added to them");
	change("newer", "PRAGMA user_version=0");
	expect_unreadable("newer", -EBADMSG, "no schema that ever was");
	assert_int_equal(vmat_store_close(create("trigger"), NULL), 0);
	change("trigger", "CREATE TRIGGER t AFTER INSERT ON tick BEGIN SELECT 1; END");
	expect_unreadable("trigger", -EBADMSG, "added to them");
}

/* Of a number: so many owners, of which the one of that place has so many bytes, and one has a name of its own. */
static size_t made_owners(struct vmat_owner_sample *ret, size_t count, size_t at, uint64_t size,
			  const char *name)
{
	memset(ret, 0, count * sizeof(*ret));
	for (size_t i = 0; i < count; i++) {
		ret[i].kind = (enum vmat_kind)(i % 5);
		snprintf(ret[i].name, sizeof(ret[i].name), "libmade%zu.so.1", i / 5);
		ret[i].count = 1 + i % 2;
		ret[i].size = i == at ? size : (i + 1) * 4096;
		ret[i].rss = i == 1 ? VMAT_UNKNOWN(VMAT_NOT_RECORDED) : ret[i].size / 2;
	}
	if (name)
		snprintf(ret[count - 1].name, sizeof(ret[count - 1].name), "%s", name);
	return count;
}

static void expect_owners(struct vmat_recording *recording, uint64_t at_ns,
			  const struct vmat_owner_sample *wanted, size_t wanted_count)
{
	struct vmat_owner_sample *owners;
	struct vmat_error err = { 0 };
	size_t count, found = 0;

	if (vmat_recording_owners(recording, 0, at_ns, &owners, &count, &err))
		fail_msg("%s", err.text);
	assert_int_equal(count, wanted_count);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < count; j++)
			found += owners[i].kind == wanted[j].kind &&
				 !strcmp(owners[i].name, wanted[j].name) &&
				 owners[i].count == wanted[j].count &&
				 owners[i].size == wanted[j].size && owners[i].rss == wanted[j].rss;
	assert_int_equal(found, count);
	free(owners);
}

/* Owners that grow, come, go and have hostile names are told as they were at each time; a recording of before has none. */
static void test_owners(void **state)
{
	static const char hostile[] = "\x1b]0;x\x07\xff'; DROP TABLE fact; --\n";
	static struct vmat_owner_sample made[4][VMAT_OWNERS_MAX];
	struct vmat_store *store = create("owners.vmatlas");
	struct vmat_series process = made_process(1), series;
	struct vmat_recording *recording;
	struct vmat_owner_sample *none;
	uint32_t number;
	size_t counts[4];

	(void)state;
	counts[0] = made_owners(made[0], 10, 3, 4096, NULL);
	counts[1] = made_owners(made[1], 10, 3, 1 << 20, hostile);
	counts[2] = made_owners(made[2], 4, 3, 1 << 20, NULL);
	counts[3] = made_owners(made[3], VMAT_OWNERS_MAX, 7, 1, VMAT_OWNERS_REST);
	assert_int_equal(vmat_store_process(store, &process, &number, NULL), 0);
	assert_int_equal(vmat_store_owners(store, 1, made[0], 1, NULL), -EINVAL);
	for (uint64_t i = 0; i < 4; i++) {
		struct vmat_sample sample = made_sample(1, 10 * i, 10);

		assert_int_equal(vmat_store_sample(store, 1, &sample, NULL), 0);
		assert_int_equal(vmat_store_owners(store, 2, made[i], counts[i], NULL), -EINVAL);
		assert_int_equal(vmat_store_owners(store, 1, made[i], counts[i], NULL), 0);
		assert_int_equal(vmat_store_owners(store, 1, made[i], counts[i], NULL), -EINVAL);
		/* A sample whose owners were not read changes nothing. */
		sample = made_sample(1, 10 * i + 5, 10);
		assert_int_equal(vmat_store_sample(store, 1, &sample, NULL), 0);
		if (i != 1)
			assert_int_equal(vmat_store_commit(store, NULL), 0);
	}
	assert_int_equal(vmat_store_close(store, NULL), 0);
	recording = read_back("owners.vmatlas");
	assert_int_equal(vmat_recording_series(recording, 0, &series, NULL, NULL), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(series.samples[2 * i].marks & VMAT_SAMPLE_OWNERS,
				 VMAT_SAMPLE_OWNERS);
		assert_int_equal(series.samples[2 * i + 1].marks & VMAT_SAMPLE_OWNERS, 0);
		expect_owners(recording, series.samples[2 * i].mono_ns, made[i], counts[i]);
		expect_owners(recording, series.samples[2 * i + 1].mono_ns, made[i], counts[i]);
	}
	expect_owners(recording, series.samples[0].mono_ns - 1, NULL, 0);
	vmat_recording_series_free(&series);
	vmat_recording_close(recording);

	change("owners.vmatlas", "DROP TABLE region_owner; PRAGMA user_version=1");
	recording = read_back("owners.vmatlas");
	assert_int_equal(vmat_recording_owners(recording, 0, INT64_MAX, &none, &counts[0], NULL),
			 -ENODATA);
	assert_int_equal(vmat_recording_series(recording, 0, &series, NULL, NULL), 0);
	assert_int_equal(series.samples_count, 8);
	assert_int_equal(series.samples[0].marks & VMAT_SAMPLE_OWNERS, 0);
	vmat_recording_series_free(&series);
	vmat_recording_close(recording);
}

/* All owners are others at each reading: when that has cost too much, samples say that they have none, and a later one has all. */
static void test_allowance(void **state)
{
	enum { READINGS = 30, LATER = 4 * 3600 };
	static struct vmat_owner_sample owners[VMAT_OWNERS_MAX];
	struct vmat_store *store = create("allowance.vmatlas");
	struct vmat_series process = made_process(1), series;
	struct vmat_recording *recording;
	size_t marked = 0;
	uint32_t number;

	(void)state;
	assert_int_equal(vmat_store_process(store, &process, &number, NULL), 0);
	for (uint64_t i = 0; i <= READINGS; i++) {
		struct vmat_sample sample = made_sample(1, i < READINGS ? i * 10 : LATER, 10);

		made_owners(owners, VMAT_OWNERS_MAX, 0, 4096, NULL);
		for (size_t k = 0; k < VMAT_OWNERS_MAX; k++)
			snprintf(owners[k].name, sizeof(owners[k].name), "/tmp/made%zu.%llu", k,
				 (unsigned long long)i);
		assert_int_equal(vmat_store_sample(store, 1, &sample, NULL), 0);
		assert_int_equal(vmat_store_owners(store, 1, owners, VMAT_OWNERS_MAX, NULL), 0);
		assert_int_equal(vmat_store_commit(store, NULL), 0);
	}
	assert_int_equal(vmat_store_close(store, NULL), 0);
	recording = read_back("allowance.vmatlas");
	assert_int_equal(vmat_recording_series(recording, 0, &series, NULL, NULL), 0);
	for (size_t i = 0; i < READINGS; i++)
		marked += (series.samples[i].marks & VMAT_SAMPLE_OWNERS) != 0;
	assert_true(marked >= 2 && marked < READINGS / 2);
	assert_true(series.samples[0].marks & VMAT_SAMPLE_OWNERS);
	assert_true(series.samples[READINGS].marks & VMAT_SAMPLE_OWNERS);
	expect_owners(recording, series.samples[READINGS].mono_ns, owners, VMAT_OWNERS_MAX);
	vmat_recording_series_free(&series);
	vmat_recording_close(recording);
}

/* The owners of a process at a second: one grows, a file comes and another goes; in the first minutes all of them do. */
static void add_owners(struct vmat_store *store, uint32_t who, uint64_t second)
{
	static struct vmat_owner_sample owners[VMAT_OWNERS_MAX];

	made_owners(owners, VMAT_OWNERS_MAX, second % 70, second * 4096, NULL);
	for (size_t i = 0; i < VMAT_OWNERS_MAX; i++)
		if (i == 0 || second < 200)
			snprintf(owners[i].name, sizeof(owners[i].name), "/tmp/made%zu.%llu", i,
				 (unsigned long long)second);
	assert_int_equal(vmat_store_owners(store, who, owners, VMAT_OWNERS_MAX, NULL), 0);
}

enum { DAY_PROCESSES = 20 };

static int64_t size_after(uint64_t seconds)
{
	struct vmat_store *store = create("day.vmatlas");
	struct stat status;
	uint32_t number;

	for (uint32_t who = 1; who <= DAY_PROCESSES; who++) {
		struct vmat_series process = made_process(who);

		assert_int_equal(vmat_store_process(store, &process, &number, NULL), 0);
	}
	for (uint64_t second = 0; second < seconds; second++) {
		for (uint32_t who = 1; who <= DAY_PROCESSES; who++) {
			struct vmat_sample sample = made_sample(who, 80000 + second, 10);

			assert_int_equal(vmat_store_sample(store, who, &sample, NULL), 0);
			if (second % 10 == 0)
				add_owners(store, who, second);
		}
		assert_int_equal(vmat_store_commit(store, NULL), 0);
	}
	assert_int_equal(vmat_store_close(store, NULL), 0);
	assert_int_equal(stat(at("day.vmatlas"), &status), 0);
	unlink(at("day.vmatlas"));
	return status.st_size;
}

/* What owners may take at once they take in the first minutes, so it counts once. */
static void count_pages(void)
{
	enum { FIRST = 300, SECONDS = 1800, DAY = 86400 };

	const int64_t first = size_after(FIRST), all = size_after(FIRST + SECONDS);
	const double each = (double)(all - first) / DAY_PROCESSES / SECONDS;
	const double day = (double)first + each * DAY_PROCESSES * (DAY - FIRST);

	print_message("# %d processes: %lld bytes in the first %d s, then %.1f a sample; "
		      "a day: %.0f MB\n",
		      DAY_PROCESSES, (long long)first, FIRST, each, day / 1e6);
	assert_true(day < 200e6);
}

/* All metrics of 20 processes each second, of which eight change each time, and the kinds and all owners of regions each 10 s: below 200 MB a day. */
static void test_day(void **state)
{
	(void)state;
	count_pages();
}

static int begin(void **state)
{
	(void)state;
	return made_folder(folder) ? 0 : -1;
}

static int end(void **state)
{
	static const char *const names[] = {
		"round.vmatlas", "clocks.vmatlas", "stride.vmatlas", "mine.vmatlas",     "other",
		"fifo",          "link",           "left-wal",       "foreign.db",       "newer",
		"trigger",       "day.vmatlas",    "owners.vmatlas", "allowance.vmatlas"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(at(names[i]));
	rmdir(at("folder"));
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),      cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_stride),     cmocka_unit_test(test_never_overwritten),
		cmocka_unit_test(test_unreadable), cmocka_unit_test(test_owners),
		cmocka_unit_test(test_allowance),  cmocka_unit_test(test_day),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, begin, end);
}
