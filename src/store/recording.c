/* SPDX-License-Identifier: MIT */
/*
 * recording.c: opening a recording, which may be a stranger's.
 *
 * SQLite is asked as sqlite.org/security.html advises for files that are not trusted: read only, without triggers, views and
 * extensions, sizes of cells checked, limits lowered, memory and steps bounded. Before anything is asked, the schema must be
 * ours letter for letter, so that no view, trigger, index or column computes what we read; and each value must be of its type.
 *
 * What is never done: writing to the file, or taking a log beside it that is no regular file. While a writer lives, or when it was
 * killed, SQLite keeps path-shm beside the file; for a recording that was ended it needs nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/recording_priv.h"
#include "sys/sys_claim.h"
#include "sys/sys_file.h"

enum {
	HEADER_SIZE = 100,
	FACTS_MAX = 1000,
	PROCESSES_MAX = 65536,
	SAMPLES_MAX = 100000,
	STEPS = 10000, /* of SQLite's machine, between two looks at the work */
};

#define WORK_MAX 300000000ULL

static const int limits[][2] = {
	{ SQLITE_LIMIT_LENGTH, 1 << 20 },     { SQLITE_LIMIT_SQL_LENGTH, 1 << 14 },
	{ SQLITE_LIMIT_COLUMN, 64 },          { SQLITE_LIMIT_EXPR_DEPTH, 32 },
	{ SQLITE_LIMIT_COMPOUND_SELECT, 2 },  { SQLITE_LIMIT_FUNCTION_ARG, 8 },
	{ SQLITE_LIMIT_ATTACHED, 0 },         { SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 64 },
	{ SQLITE_LIMIT_VARIABLE_NUMBER, 32 }, { SQLITE_LIMIT_TRIGGER_DEPTH, 1 },
	{ SQLITE_LIMIT_WORKER_THREADS, 0 },
};

/* The file's header, see sqlite.org/fileformat.html. */
struct header {
	bool is_sqlite, is_recording, has_log;
	uint32_t version;
};

static uint32_t big_endian(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static void read_header(int fd, struct header *ret)
{
	uint8_t bytes[HEADER_SIZE];

	*ret = (struct header){ .version = 0 };
	if (vmat_sys_pread(fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return;
	ret->is_sqlite = !memcmp(bytes, "SQLite format 3", 16);
	ret->has_log = bytes[18] == 2 || bytes[19] == 2;
	ret->version = big_endian(bytes + 60);
	ret->is_recording = ret->is_sqlite && big_endian(bytes + 68) == STORE_APPLICATION_ID;
}

bool vmat_recording_is(const char *path)
{
	struct header header = { .is_recording = false };
	struct stat status;
	vmat_autoclose int fd = vmat_sys_open_at(AT_FDCWD, path, 0);

	if (fd >= 0 && vmat_sys_fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
		read_header(fd, &header);
	return header.is_recording;
}

static int refuse(struct vmat_error *err, int code, const char *path, const char *why)
{
	return vmat_error_set(err, code, "%.200s: %s", path, why);
}

/* Looks at the file itself; closed before SQLite opens it (see store.c on locks). */
static int look_at_file(struct vmat_recording *recording, struct header *header,
			struct vmat_error *err)
{
	const char *path = recording->path;
	struct stat status;
	vmat_autoclose int fd = vmat_sys_open_at(AT_FDCWD, path, 0);

	if (fd < 0)
		return refuse(err, fd, path, strerrordesc_np(-fd));
	if (vmat_sys_fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return refuse(err, -EBADMSG, path, "this is no file, so it is no recording");
	if (!status.st_size)
		return refuse(err, -EBADMSG, path, "the file is empty: it is no recording");
	read_header(fd, header);
	if (!header->is_sqlite)
		return refuse(err, -EBADMSG, path, "this is no recording of vmatlas");
	if (!header->is_recording)
		return refuse(err, -EBADMSG, path,
			      "this is a SQLite database, but no recording of vmatlas");
	if (header->version > STORE_VERSION)
		return vmat_error_set(err, -EPROTO,
				      "%.200s: a recording of schema %u, and this vmatlas knows "
				      "schema %d\nRead it with the vmatlas that wrote it, or newer",
				      path, header->version, STORE_VERSION);
	if (!header->version)
		return refuse(err, -EBADMSG, path, "a recording of no schema that ever was");
	recording->version = header->version;
	recording->is_growing = vmat_sys_is_claimed(fd);
	return 0;
}

static int count_work(void *context)
{
	struct vmat_recording *recording = context;

	recording->work += STEPS;
	return recording->work > recording->work_max;
}

void recording_begin(struct vmat_recording *recording)
{
	recording->work = 0;
}

/* "file:" and the path, where what has a meaning in a URI is escaped. */
static void write_uri(char *ret, size_t size, const char *path, const char *end)
{
	size_t used = (size_t)snprintf(ret, size, "file:");

	for (; *path && used + 4 < size; path++) {
		bool is_plain = strchr("?#%", *path) == NULL;

		used += (size_t)snprintf(ret + used, size - used, is_plain ? "%c" : "%%%02x",
					 (unsigned char)*path);
	}
	snprintf(ret + used, size - used, "%s", end);
}

static int open_database(struct vmat_recording *recording, const struct header *header,
			 struct vmat_error *err)
{
	static const char *const siblings[] = { "-wal", "-shm", "-journal" };
	char uri[3 * sizeof(recording->path) + 32], name[sizeof(recording->path) + 16];
	const int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
			  SQLITE_OPEN_PRIVATECACHE;
	const char *end = "?mode=ro";
	int is_there[3], rc;

	for (size_t i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", recording->path, siblings[i]);
		is_there[i] = vmat_sys_is_file(name);
		if (is_there[i] < 0)
			return refuse(err, -EBADMSG, name, "this is no file of a recording");
	}
	/*
	 * Nobody writes what has a log and none beside it: then SQLite need not make files to read it. A journal is left when
	 * the writer died while it ended the recording; all that it changes then is one byte that says whether there is a log.
	 */
	if (!recording->is_growing && (is_there[2] || (header->has_log && !is_there[0])))
		end = "?immutable=1";
	write_uri(uri, sizeof(uri), recording->path, end);
	rc = sqlite3_open_v2(uri, &recording->db, flags, NULL);
	if (rc != SQLITE_OK)
		return refuse(err, store_errno(recording->db, rc), recording->path,
			      "cannot be opened as a SQLite database");
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		sqlite3_limit(recording->db, limits[i][0], limits[i][1]);
	sqlite3_busy_timeout(recording->db, 2000);
	sqlite3_db_config(recording->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(recording->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(recording->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(recording->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	sqlite3_progress_handler(recording->db, STEPS, count_work, recording);
	return 0;
}

/* The cause of a result code, in words. */
static int explain(struct vmat_recording *recording, int rc, struct vmat_error *err)
{
	int r = store_errno(recording->db, rc);

	if (r == -EFBIG && recording->work > recording->work_max)
		return refuse(
			err, r, recording->path,
			"the recording takes more work than its size explains: it is damaged, or "
			"made to");
	if (r == -EFBIG)
		return refuse(err, r, recording->path,
			      "the recording holds a text that is too long");
	if (r == -EBADMSG)
		return vmat_error_set(err, r, "%.200s: the recording is damaged (SQLite: %s)",
				      recording->path, sqlite3_errmsg(recording->db));
	/* The log of a killed writer cannot be read where nothing may be written. */
	if (rc == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_READONLY)
		return vmat_error_set(
			err, r == -EROFS ? -EBADMSG : r,
			"%.200s: its writer did not end it, and SQLite cannot read its log "
			"here (%s)\nCopy it with its -wal into a folder that you may write "
			"to, and read it there",
			recording->path, sqlite3_errmsg(recording->db));
	return vmat_error_set(err, r, "%.200s cannot be read: %s", recording->path,
			      strerrordesc_np(-r));
}

sqlite3_stmt *recording_query(struct vmat_recording *recording, const char *sql,
			      struct vmat_error *err)
{
	sqlite3_stmt *statement = NULL;
	int rc = sqlite3_prepare_v2(recording->db, sql, -1, &statement, NULL);

	if (rc == SQLITE_OK)
		return statement;
	explain(recording, rc, err);
	return NULL;
}

int recording_step(struct vmat_recording *recording, sqlite3_stmt *statement,
		   struct vmat_error *err)
{
	int rc = sqlite3_step(statement);

	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : explain(recording, rc, err);
}

int recording_lies(const struct vmat_recording *recording, const char *what, struct vmat_error *err)
{
	return vmat_error_set(err, -EBADMSG, "%.200s: the recording is damaged: %s",
			      recording->path, what);
}

const char *recording_string(struct vmat_recording *recording, const char *text)
{
	return vmat_strings_intern(&recording->strings, text, strlen(text));
}

/* The first object from this one on that the version of the recording has. */
static size_t next_object(const struct vmat_recording *recording, size_t at)
{
	while (at < store_objects_count && store_objects[at].since > recording->version)
		at++;
	return at;
}

/* The schema is that of its version, letter for letter. */
static int check_schema(struct vmat_recording *recording, struct vmat_error *err)
{
	recording_autofinalize sqlite3_stmt *statement = recording_query(
		recording, "SELECT type, name, sql FROM sqlite_schema ORDER BY rowid", err);
	size_t count = next_object(recording, 0);
	int r;

	if (!statement)
		return err->code;
	while ((r = recording_step(recording, statement, err)) > 0) {
		struct store_row row = { .statement = statement };
		bool fits = count < store_objects_count;

		for (int column = 0; column < 3 && fits; column++) {
			const char *const wanted[] = { store_objects[count].type,
						       store_objects[count].name,
						       store_objects[count].sql };

			fits = !strcmp(store_text(&row, column), wanted[column]);
		}
		if (!fits)
			return recording_lies(
				recording,
				"its tables are not those of a recording, or somebody "
				"has added to them",
				err);
		count = next_object(recording, count + 1);
	}
	if (!r && count != store_objects_count)
		return recording_lies(recording, "tables are missing", err);
	return r;
}

static int read_facts(struct vmat_recording *recording, struct vmat_error *err)
{
	recording_autofinalize sqlite3_stmt *statement =
		recording_query(recording, "SELECT name, value FROM fact ORDER BY name", err);
	int r;

	recording->facts = calloc(FACTS_MAX, sizeof(*recording->facts));
	if (!recording->facts)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	if (!statement)
		return err->code;
	while ((r = recording_step(recording, statement, err)) > 0) {
		struct store_row row = { .statement = statement };
		struct vmat_fact *fact = &recording->facts[recording->facts_count];

		if (recording->facts_count == FACTS_MAX)
			return recording_lies(recording, "it holds too many facts", err);
		fact->name = recording_string(recording, store_text(&row, 0));
		fact->value = recording_string(recording, store_text(&row, 1));
		if (row.is_bad)
			return recording_lies(recording, "a fact is no text", err);
		if (!fact->name || !fact->value)
			return vmat_error_set(err, -ENOMEM, "out of memory");
		if (!strcmp(fact->name, "state"))
			recording->is_whole = !strcmp(fact->value, "ended");
		recording->facts_count++;
	}
	return r;
}

static int read_process(struct vmat_recording *recording, sqlite3_stmt *statement,
			struct vmat_error *err)
{
	struct store_row row = { .statement = statement };
	struct vmat_recorded *process = &recording->processes[recording->processes_count];
	struct recording_span *span = &recording->spans[recording->processes_count];

	*process = (struct vmat_recorded){ .wait_status = VMAT_UNKNOWN(VMAT_NOT_FOUND) };
	*span = (struct recording_span){ .number = store_number(&row, 0) };
	process->who.pid = store_number(&row, 1);
	process->who.start_ns = store_number_or_null(&row, 2);
	store_text_copy(&row, 3, process->who.name, sizeof(process->who.name));
	store_text_copy(&row, 4, process->who.command, sizeof(process->who.command));
	process->who.interval_ns = store_number(&row, 5);
	if (row.is_bad || process->who.pid > INT32_MAX)
		return recording_lies(recording, "a process is not described as one", err);
	recording->processes_count++;
	return 0;
}

static int read_processes(struct vmat_recording *recording, struct vmat_error *err)
{
	recording_autofinalize sqlite3_stmt *statement =
		recording_query(recording,
				"SELECT id, pid, start_ns, name, command, interval_ns "
				"FROM process ORDER BY id",
				err);
	size_t capacity = 0;
	int r;

	if (!statement)
		return err->code;
	while ((r = recording_step(recording, statement, err)) > 0) {
		if (recording->processes_count == PROCESSES_MAX)
			return vmat_error_set(err, -EFBIG, "%.200s holds more than %d processes",
					      recording->path, PROCESSES_MAX);
		if (recording->processes_count == capacity) {
			void *processes, *spans;

			capacity = capacity ? 2 * capacity : 16;
			processes = realloc(recording->processes,
					    capacity * sizeof(*recording->processes));
			if (processes)
				recording->processes = processes;
			spans = realloc(recording->spans, capacity * sizeof(*recording->spans));
			if (spans)
				recording->spans = spans;
			if (!processes || !spans)
				return vmat_error_set(err, -ENOMEM, "out of memory");
		}
		r = read_process(recording, statement, err);
		if (r < 0)
			return r;
	}
	return r;
}

/* The place of the process with this number; processes_count when there is none. */
static size_t find_process(const struct vmat_recording *recording, uint64_t number)
{
	size_t low = 0, high = recording->processes_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (recording->spans[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < recording->processes_count && recording->spans[low].number == number
		       ? low
		       : recording->processes_count;
}

static int read_spans(struct vmat_recording *recording, struct vmat_error *err)
{
	recording_autofinalize sqlite3_stmt *statement =
		recording_query(recording,
				"SELECT process, count(*), min(tick), max(tick) FROM sample "
				"GROUP BY process",
				err);
	int r;

	if (!statement)
		return err->code;
	while ((r = recording_step(recording, statement, err)) > 0) {
		struct store_row row = { .statement = statement };
		size_t at = find_process(recording, store_number(&row, 0));

		if (row.is_bad || at == recording->processes_count)
			return recording_lies(recording, "it holds samples of nobody", err);
		recording->processes[at].samples_count = store_number(&row, 1);
		recording->spans[at].first_tick = (int64_t)store_number(&row, 2);
		recording->spans[at].last_tick = (int64_t)store_number(&row, 3);
		if (row.is_bad)
			return recording_lies(recording, "a tick has no number", err);
	}
	return r;
}

static int read_ends(struct vmat_recording *recording, struct vmat_error *err)
{
	recording_autofinalize sqlite3_stmt *statement = recording_query(
		recording, "SELECT process, number FROM event WHERE type = 'exited'", err);
	int r;

	if (!statement)
		return err->code;
	while ((r = recording_step(recording, statement, err)) > 0) {
		struct store_row row = { .statement = statement };
		size_t at = find_process(recording, store_number(&row, 0));

		if (row.is_bad || at == recording->processes_count)
			return recording_lies(recording, "somebody exited who was not there", err);
		recording->processes[at].has_ended = true;
		recording->processes[at].wait_status = store_number_or_null(&row, 1);
		if (row.is_bad)
			return recording_lies(recording, "an exit status is no number", err);
	}
	return r;
}

static int read_all(struct vmat_recording *recording, struct vmat_error *err)
{
	/* One transaction, so that all answers are of one moment, also while a writer goes on. */
	int rc = sqlite3_exec(recording->db,
			      "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; "
			      "PRAGMA query_only=ON; PRAGMA cache_size=-16000; "
			      "PRAGMA temp_store=MEMORY; BEGIN",
			      NULL, NULL, NULL);
	int r = rc == SQLITE_OK ? 0 : explain(recording, rc, err);

	if (!r)
		r = check_schema(recording, err);
	if (!r)
		r = read_facts(recording, err);
	if (!r)
		r = read_processes(recording, err);
	if (!r)
		r = read_spans(recording, err);
	return r ? r : read_ends(recording, err);
}

int vmat_recording_open(struct vmat_recording **ret, const char *path,
			const struct vmat_recording_options *options, struct vmat_error *err)
{
	struct vmat_recording *recording;
	struct vmat_error own = { .code = 0 };
	struct header header;
	int r;

	err = err ? err : &own;
	recording = calloc(1, sizeof(*recording));
	if (!recording)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	recording->work_max = options && options->work_max ? options->work_max : WORK_MAX;
	recording->samples_max =
		options && options->samples_max ? options->samples_max : SAMPLES_MAX;
	if ((size_t)snprintf(recording->path, sizeof(recording->path), "%s", path) >=
	    sizeof(recording->path))
		r = refuse(err, -ENAMETOOLONG, path, "name too long");
	else
		r = look_at_file(recording, &header, err);
	if (!r)
		r = open_database(recording, &header, err);
	if (!r)
		r = read_all(recording, err);
	if (r < 0) {
		vmat_recording_close(recording);
		return r;
	}
	*ret = recording;
	return 0;
}

struct vmat_recording *vmat_recording_close(struct vmat_recording *recording)
{
	if (!recording)
		return NULL;
	sqlite3_close(recording->db);
	vmat_strings_deinit(&recording->strings);
	free(recording->facts);
	free(recording->processes);
	free(recording->spans);
	free(recording);
	return NULL;
}

bool vmat_recording_is_growing(const struct vmat_recording *recording)
{
	return recording->is_growing;
}

bool vmat_recording_is_whole(const struct vmat_recording *recording)
{
	return recording->is_whole;
}

size_t vmat_recording_facts(const struct vmat_recording *recording, const struct vmat_fact **ret)
{
	*ret = recording->facts;
	return recording->facts_count;
}

size_t vmat_recording_processes(const struct vmat_recording *recording,
				const struct vmat_recorded **ret)
{
	*ret = recording->processes;
	return recording->processes_count;
}
