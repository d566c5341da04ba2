/* SPDX-License-Identifier: MIT */
/*
 * Loss of power and full disks: what was acknowledged is there afterwards.
 *
 * Each state that a loss of power may leave opens, holds a beginning of the series without a gap, and all that was
 * acknowledged: of a durable store every tick, of another one all but the last 5 s. When the n-th write fails, for every n, the
 * commit says so, all that was acknowledged is kept, and the recording goes on as soon as the disk takes it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "faulty_disk.h"
#include "series_made.h"
#include "store/store_priv.h"

enum { TICKS = 40, PROCESSES = 2, SECTOR = 512, CHECKPOINT_PAGES = 12 };

static char folder[128];
static uint64_t seed;

static uint64_t any(uint64_t below)
{
	return made_mix(seed++) % below;
}

static const char *place(const char *name, const char *end)
{
	static char paths[2][200];
	static unsigned next;
	char *path = paths[next++ % 2];

	snprintf(path, sizeof(paths[0]), "%s/%s%s", folder, name, end);
	return path;
}

static const char *const ends[DISK_FILES] = { "", "-wal", "-journal" };

static void remove_all(const char *name)
{
	for (size_t i = 0; i < DISK_FILES; i++)
		unlink(place(name, ends[i]));
	unlink(place(name, "-shm"));
}

enum { OWNERS = 8 };

/* Some of eight owners, each of one of three sizes. */
static size_t made_owners(struct vmat_owner_sample ret[OWNERS], uint32_t who, uint64_t tick)
{
	size_t count = 0;

	for (unsigned i = 0; i < OWNERS; i++) {
		uint64_t number = made_mix(tick * 64 + who * OWNERS + i);

		if (number % 4 == 0)
			continue;
		memset(&ret[count], 0, sizeof(*ret));
		ret[count].kind = VMAT_KIND_FILE;
		snprintf(ret[count].name, sizeof(ret->name), "made%u", i);
		ret[count].count = 1;
		ret[count].size = 4096 * (number % 3 + 1);
		count++;
	}
	return count;
}

/* As of each sample at which they were put in, whatever ticks before it were lost. */
static void check_owners(struct vmat_recording *recording, size_t index,
			 const struct vmat_sample *sample, uint64_t tick)
{
	struct vmat_owner_sample wanted[OWNERS], *owners;
	size_t count, found = 0, wanted_count = made_owners(wanted, (uint32_t)index + 1, tick);

	assert_int_equal(
		vmat_recording_owners(recording, index, sample->mono_ns, &owners, &count, NULL), 0);
	assert_int_equal(count, wanted_count);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < count; j++)
			found += !strcmp(owners[i].name, wanted[j].name) &&
				 owners[i].size == wanted[j].size;
	assert_int_equal(found, count);
	free(owners);
}

/* 0 or what was refused. */
static int add_tick(struct vmat_store *store, uint64_t tick)
{
	for (uint32_t who = 1; who <= PROCESSES; who++) {
		struct vmat_sample sample = made_sample(who, tick, 5);

		assert_int_equal(vmat_store_sample(store, who, &sample, NULL), 0);
		if (tick % 5 == 0) {
			struct vmat_owner_sample owners[OWNERS];
			size_t count = made_owners(owners, who, tick);

			assert_int_equal(vmat_store_owners(store, who, owners, count, NULL), 0);
		}
	}
	return vmat_store_commit(store, NULL);
}

static struct vmat_store *create(const char *name, bool is_durable, int checkpoint_pages)
{
	struct vmat_store_options options = { .size = sizeof(options),
					      .vfs = "faulty",
					      .is_durable = is_durable };
	struct vmat_store *store = NULL;
	uint32_t number;

	if (vmat_store_create(&store, place(name, ""), &options, NULL) < 0)
		return NULL;
	sqlite3_wal_autocheckpoint(store->db, checkpoint_pages);
	for (uint32_t who = 1; who <= PROCESSES; who++) {
		struct vmat_series process = made_process(who);

		assert_int_equal(vmat_store_process(store, &process, &number, NULL), 0);
	}
	return store;
}

/* Reads it back: which ticks of a process are there, as far as they are what was put in. */
static void read_ticks(const char *name, size_t index, bool *ret)
{
	struct vmat_recording *recording = NULL;
	struct vmat_error err = { 0 };
	const struct vmat_recorded *processes;
	struct vmat_series series;
	int r = vmat_recording_open(&recording, place(name, ""), NULL, &err);

	memset(ret, 0, TICKS * sizeof(*ret));
	if (r)
		fail_msg("a recording that is left cannot be read: %s", err.text);
	if (index < vmat_recording_processes(recording, &processes)) {
		r = vmat_recording_series(recording, index, &series, NULL, &err);
		if (r)
			fail_msg("a series that is left cannot be read: %s", err.text);
		for (size_t i = 0; i < series.samples_count; i++) {
			uint64_t tick = series.samples[i].mono_ns / MADE_SECOND - 1000;
			struct vmat_sample wanted = made_sample((uint32_t)index + 1, tick, 5);

			assert_true(tick < TICKS);
			assert_true(made_is_same(&series.samples[i], &wanted));
			assert_int_equal(series.samples[i].marks & VMAT_SAMPLE_OWNERS,
					 tick % 5 ? 0 : VMAT_SAMPLE_OWNERS);
			if (tick % 5 == 0)
				check_owners(recording, index, &series.samples[i], tick);
			ret[tick] = true;
		}
		vmat_recording_series_free(&series);
	}
	vmat_recording_close(recording);
}

static void write_file(const char *path, const struct disk_content *content)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content->data, content->size), content->size);
	close(fd);
}

/* The part of a write that has reached the disk: all sectors, none, or those from one to another. */
static void apply_torn(struct disk_content *content, const struct disk_step *step)
{
	uint64_t first = 0, end = step->size;

	if (step->kind == DISK_WRITE && any(3) == 0) {
		first = SECTOR * any(step->size / SECTOR + 1);
		end = first + SECTOR * any((step->size - first) / SECTOR + 1);
		end = end > step->size ? step->size : end;
	}
	disk_apply(content, step, first, end);
}

/*
 * One file as it may be after a loss of power behind the first `count` steps: what was done before its last sync is there. Of
 * what came later a random part is, in random order.
 */
static void lose_power(enum disk_file file, size_t count, struct disk_content *content)
{
	size_t late[64], late_count = 0, synced = 0;

	for (size_t i = 0; i < count; i++)
		if (disk.steps[i].kind == DISK_SYNC && disk.steps[i].file == file)
			synced = i;
	for (size_t i = 0; i < count; i++) {
		const struct disk_step *step = &disk.steps[i];

		if (step->file != file || step->kind == DISK_SYNC ||
		    step->kind == DISK_ACKNOWLEDGED)
			continue;
		if (step->kind == DISK_REMOVE) {
			content->size = 0;
			content->is_there = false;
			late_count = 0;
		} else if (i < synced) {
			disk_apply(content, step, 0, step->size);
		} else if (any(4)) {
			late[late_count++ % 64] = i;
		}
	}
	late_count = late_count > 64 ? 64 : late_count;
	for (size_t left = late_count; left; left--) {
		size_t at = seed % 2 ? 0 : any(left); /* in order, or not */
		size_t step = late[at];

		memmove(&late[at], &late[at + 1], (left - at - 1) * sizeof(late[0]));
		apply_torn(content, &disk.steps[step]);
	}
}

/* The state after `count` steps, of which `acknowledged` ticks must be whole. */
static void check_state(size_t count, size_t acknowledged)
{
	struct disk_content contents[DISK_FILES] = { 0 };
	bool ticks[TICKS];

	remove_all("left");
	for (size_t i = 0; i < DISK_FILES; i++) {
		lose_power((enum disk_file)i, count, &contents[i]);
		if (contents[i].is_there)
			write_file(place("left", ends[i]), &contents[i]);
		free(contents[i].data);
	}
	for (size_t who = 0; who < PROCESSES; who++) {
		size_t there = 0;

		read_ticks("left", who, ticks);
		while (there < TICKS && ticks[there])
			there++;
		if (there < acknowledged)
			fail_msg("after %zu steps %zu ticks of %zu are left", count, there,
				 acknowledged);
		for (size_t i = there; i < TICKS; i++)
			assert_false(ticks[i]);
	}
}

static void play(bool is_durable, int checkpoint_pages)
{
	enum { VARIANTS = 2 };
	struct vmat_store *store;
	size_t created, acknowledged = 0, states = 0;

	disk_begin();
	remove_all("played");
	store = create("played", is_durable, checkpoint_pages);
	assert_non_null(store);
	created = disk.steps_count;
	for (uint64_t tick = 0; tick < TICKS; tick++) {
		assert_int_equal(add_tick(store, tick), 0);
		disk_note(DISK_ACKNOWLEDGED, DISK_DATABASE, 0, tick + 1);
	}
	assert_int_equal(vmat_store_close(store, NULL), 0);
	for (size_t count = created; count <= disk.steps_count; count++) {
		if (disk.steps[count - 1].kind == DISK_ACKNOWLEDGED)
			acknowledged = disk.steps[count - 1].size;
		for (unsigned variant = 0; variant < VARIANTS; variant++, states++)
			check_state(count, is_durable         ? acknowledged
					   : acknowledged > 5 ? acknowledged - 5
							      : 0);
	}
	check_state(disk.steps_count, TICKS);
	print_message("# %s: %zu steps, %zu states of the disk\n",
		      is_durable ? "durable" : "synced each 5 s", disk.steps_count, states);
	remove_all("left");
	remove_all("played");
}

static void test_power(void **state)
{
	(void)state;
	play(false, CHECKPOINT_PAGES);
}

/* As in life: the log is merged into the file after many minutes only. */
static void test_power_log(void **state)
{
	(void)state;
	play(false, 1000);
}

static void test_power_durable(void **state)
{
	(void)state;
	play(true, CHECKPOINT_PAGES);
}

/* Writes that fail, from the n-th call on, `length` of them. Returns whether any did. */
static bool play_full(uint64_t from, uint64_t length, int code)
{
	bool acknowledged[TICKS] = { false }, ticks[TICKS], has_failed, has_room;
	struct vmat_store *store;
	size_t lost = 0;
	int r;

	disk_begin();
	disk.fail_from = from;
	disk.fail_to = from + length - 1;
	disk.fail_code = code;
	store = create("full", false, CHECKPOINT_PAGES);
	if (!store) {
		/* What was begun is removed. */
		for (size_t i = 0; i < DISK_FILES; i++)
			assert_int_equal(access(place("full", ends[i]), F_OK), -1);
		return true;
	}
	for (uint64_t tick = 0; tick < TICKS; tick++) {
		r = add_tick(store, tick);
		acknowledged[tick] = r == 0;
		lost += r != 0;
		if (r)
			assert_true(disk.calls >= from);
		if (r && code == SQLITE_FULL && disk.calls == disk.fail_from)
			assert_true(r == -ENOSPC || r == -EIO);
	}
	has_failed = disk.calls >= from;
	has_room = disk.calls >= disk.fail_to;
	r = vmat_store_close(store, NULL);
	if (has_room)
		assert_int_equal(r, 0);
	read_ticks("full", 0, ticks);
	for (size_t i = 0; i < TICKS; i++)
		if (acknowledged[i])
			assert_true(ticks[i]);
	/* A disk that takes one write fewer costs a tick, or the one that has to be written again. */
	if (length == 1)
		assert_true(lost <= 1);
	remove_all("full");
	return has_failed;
}

static void every_write(uint64_t length, int code)
{
	uint64_t from = 1;

	while (play_full(from, length, code))
		from++;
	assert_true(from > TICKS);
	print_message("# failed at each of %llu calls, %llu at a time\n", (unsigned long long)from,
		      (unsigned long long)length);
}

static void test_full_once(void **state)
{
	(void)state;
	every_write(1, SQLITE_FULL);
}

static void test_full_for_long(void **state)
{
	(void)state;
	every_write(40, SQLITE_FULL);
}

static void test_full_for_good(void **state)
{
	(void)state;
	every_write(1000000, SQLITE_FULL);
}

static void test_bad_disk(void **state)
{
	(void)state;
	every_write(1, SQLITE_IOERR_WRITE);
}

static int begin(void **state)
{
	(void)state;
	return made_folder(folder) ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	remove_all("left");
	remove_all("played");
	remove_all("full");
	disk_begin();
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power),         cmocka_unit_test(test_power_log),
		cmocka_unit_test(test_power_durable), cmocka_unit_test(test_full_once),
		cmocka_unit_test(test_full_for_long), cmocka_unit_test(test_full_for_good),
		cmocka_unit_test(test_bad_disk),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, begin, end);
}
