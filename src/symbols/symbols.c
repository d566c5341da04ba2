/* SPDX-License-Identifier: MIT */
/*
 * symbols.c: asking the child without rights, and checking what it answers.
 *
 * What the child leaves in the shared memory is as little trusted as the file: texts are ended, and numbers
 * that contradict the question are dropped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/feature.h>
#include <vmatlas/symbols.h>

#include "base/cleanup.h"
#include "symbols/layout_parser.h"
#include "symbols/symbol_parser.h"
#include "sys/sys_jail.h"
#include "sys/sys_process.h"

enum {
	TIMEOUT_MS = 3000,
	MEMORY_MAX = 512 << 20,
	PLACES_MAX = 1 << 16,
};

static int explain(int code, int verdict, struct vmat_error *err)
{
	if (verdict == VMAT_PARSER_OTHER_FILE)
		return vmat_error_set(err, -ESTALE, "the file has another build id than memory");
	if (code == -ETIMEDOUT)
		return vmat_error_set(err, code, "parsing the file took longer than %d s",
				      TIMEOUT_MS / 1000);
	if (verdict == VMAT_PARSER_MALFORMED || code == -ECHILD || code == 0)
		return vmat_error_set(err, -ENOEXEC, "the file cannot be parsed%s",
				      code ? ": the parser died of it" : "");
	return vmat_error_set(err, code, "no parser could be started");
}

static int run_jailed(void (*work)(void *), void *context, const int *fds, size_t fds_count)
{
	const struct vmat_sys_jail jail = {
		.fds = fds,
		.fds_count = fds_count,
		.memory_bytes = MEMORY_MAX,
		.timeout_ms = TIMEOUT_MS,
	};

	return vmat_sys_run_jailed(work, context, &jail);
}

static int check_jail(struct vmat_error *err)
{
	if (vmat_feature_has(VMAT_FEATURE_SECCOMP))
		return 0;
	return vmat_error_set(
		err, -ENOSYS,
		"files of strangers are parsed only where the kernel has seccomp filters");
}

/* An index into the caller's places, in the order of the addresses. */
struct ranked {
	uint64_t addr;
	size_t index;
};

static int compare_ranked(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return (x->addr > y->addr) - (x->addr < y->addr);
}

static void end_text(char *text, size_t size)
{
	text[size - 1] = '\0';
}

/* One answer of the child, checked. */
static void take_place(struct vmat_place *place, const struct vmat_place *answer, bool has_source)
{
	const uint64_t addr = place->addr;
	const bool wants_source = place->wants_source;
	bool is_covered;

	*place = *answer;
	place->addr = addr;
	place->wants_source = wants_source;
	end_text(place->name, sizeof(place->name));
	end_text(place->source, sizeof(place->source));
	end_text(place->section, sizeof(place->section));
	if (!vmat_is_known(place->begin) || place->begin > addr || !place->name[0]) {
		place->begin = VMAT_UNKNOWN(VMAT_NOT_FOUND);
		place->size = 0;
		place->name[0] = '\0';
		place->source[0] = '\0';
		return;
	}
	is_covered = addr - place->begin < place->size || addr == place->begin;
	place->is_near = !is_covered;
	if (!has_source && wants_source)
		place->source[0] = '\0'; /* the child may have died while it wrote */
}

static void parse(void *context)
{
	vmat_symbols_parse(context);
}

int vmat_symbols_find(const struct vmat_symbol_file *file, struct vmat_place *places, size_t count,
		      struct vmat_error *err)
{
	const size_t size = sizeof(struct vmat_parse) + count * sizeof(*places);
	int fds[2] = { file->fd, file->debug_fd };
	vmat_autofree struct ranked *ranked = NULL;
	struct vmat_parse *shared;
	int code = check_jail(err), verdict;

	if (code || !count)
		return code;
	if (count > PLACES_MAX || file->build_id_size > sizeof(shared->build_id))
		return vmat_error_set(err, -EINVAL, "too many addresses at once");
	ranked = calloc(count, sizeof(*ranked));
	shared = vmat_sys_shared_alloc(size);
	if (!ranked || !shared) {
		vmat_sys_shared_free(shared, size);
		return vmat_error_set(err, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < count; i++)
		ranked[i] = (struct ranked){ places[i].addr, i };
	qsort(ranked, count, sizeof(*ranked), compare_ranked);
	shared->file = *file;
	shared->file.build_id = file->build_id ? shared->build_id : NULL;
	if (file->build_id)
		memcpy(shared->build_id, file->build_id, file->build_id_size);
	shared->count = count;
	for (size_t i = 0; i < count; i++)
		shared->places[i] = (struct vmat_place){
			.addr = ranked[i].addr,
			.wants_source = places[ranked[i].index].wants_source,
			.begin = VMAT_UNKNOWN(VMAT_NOT_FOUND),
		};
	if (file->debug_fd >= 0 && file->debug_fd < file->fd) {
		fds[0] = file->debug_fd;
		fds[1] = file->fd;
	}
	code = run_jailed(parse, shared, fds, file->debug_fd >= 0 ? 2 : 1);
	verdict = shared->verdict;
	if (verdict != VMAT_PARSER_SYMBOLS && verdict != VMAT_PARSER_DONE)
		code = explain(code, verdict, err);
	else
		code = 0;
	for (size_t i = 0; !code && i < count; i++)
		take_place(&places[ranked[i].index], &shared->places[i],
			   verdict == VMAT_PARSER_DONE);
	vmat_sys_shared_free(shared, size);
	return code;
}

/* One answer of the child, checked: nothing but numbers and its own path is taken. */
static void take_datum(struct vmat_datum *datum, const struct vmat_datum *answer)
{
	char path[VMAT_DATUM_PATH];

	memcpy(path, datum->path, sizeof(path));
	*datum = *answer;
	memcpy(datum->path, path, sizeof(path));
	if (datum->kind > VMAT_DATUM_OTHER)
		datum->kind = VMAT_DATUM_UNTYPED;
}

static void parse_layout(void *context)
{
	vmat_layout_parse(context);
}

static int ask_layout(struct vmat_layout_parse *shared, const struct vmat_symbol_file *file,
		      struct vmat_error *err)
{
	int fds[2] = { file->fd, file->debug_fd };
	int code;

	if (file->debug_fd >= 0 && file->debug_fd < file->fd) {
		fds[0] = file->debug_fd;
		fds[1] = file->fd;
	}
	code = run_jailed(parse_layout, shared, fds, file->debug_fd >= 0 ? 2 : 1);
	return code || shared->verdict != VMAT_PARSER_DONE ? explain(code, shared->verdict, err)
							   : 0;
}

int vmat_layout_find(const struct vmat_symbol_file *file, struct vmat_program *ret,
		     struct vmat_datum *data, size_t count, struct vmat_error *err)
{
	const size_t size = sizeof(struct vmat_layout_parse) + count * sizeof(*data);
	const uint64_t unknown = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	struct vmat_layout_parse *shared;
	int code = check_jail(err);

	if (code)
		return code;
	if (count > PLACES_MAX || file->build_id_size > sizeof(shared->build_id))
		return vmat_error_set(err, -EINVAL, "too many names at once");
	shared = vmat_sys_shared_alloc(size);
	if (!shared)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	shared->file = *file;
	shared->file.build_id = file->build_id ? shared->build_id : NULL;
	if (file->build_id)
		memcpy(shared->build_id, file->build_id, file->build_id_size);
	shared->count = count;
	for (size_t i = 0; i < count; i++) {
		end_text(data[i].path, sizeof(data[i].path));
		shared->data[i] = (struct vmat_datum){
			.addr = unknown,
			.symbol_size = unknown,
			.offset = unknown,
			.size = unknown,
			.count = unknown,
			.holder_size = unknown,
			.target_size = unknown,
		};
		memcpy(shared->data[i].path, data[i].path, sizeof(data[i].path));
	}
	code = ask_layout(shared, file, err);
	for (size_t i = 0; !code && i < count; i++)
		take_datum(&data[i], &shared->data[i]);
	if (!code)
		*ret = shared->program;
	vmat_sys_shared_free(shared, size);
	return code;
}

static void demangle(void *context)
{
	vmat_symbols_demangle_all(context);
}

int vmat_symbols_demangle(char (*names)[VMAT_SYMBOL_NAME], size_t count, struct vmat_error *err)
{
	const size_t size = sizeof(struct vmat_demangling) + count * sizeof(*names);
	struct vmat_demangling *shared;
	int code = check_jail(err);

	if (code || !count)
		return code;
	shared = count <= PLACES_MAX ? vmat_sys_shared_alloc(size) : NULL;
	if (!shared)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	shared->count = count;
	memcpy(shared->names, names, count * sizeof(*names));
	code = run_jailed(demangle, shared, NULL, 0);
	if (code)
		code = explain(code, VMAT_PARSER_NOTHING, err);
	for (size_t i = 0; !code && i < count; i++) {
		end_text(shared->names[i], sizeof(*names));
		memcpy(names[i], shared->names[i], sizeof(*names));
	}
	vmat_sys_shared_free(shared, size);
	return code;
}
