/* SPDX-License-Identifier: MIT */
#include "sample/fleet_name.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "sys/sys_file.h"

enum { TEXT_LIMIT = 1 << 16, AT_FOLDER = -100 /* AT_FDCWD: the path is absolute */ };

struct vmat_namer {
	enum vmat_group_by by;
	const struct vmat_group_rule *rules;
	regex_t *patterns; /* of the rules */
	size_t count;
	struct vmat_buffer text;
};

int vmat_namer_new(struct vmat_namer **ret, const struct vmat_fleet_options *options,
		   struct vmat_error *err)
{
	struct vmat_namer *namer = calloc(1, sizeof(*namer));

	if (!namer)
		return -ENOMEM;
	namer->by = options->by;
	namer->rules = options->rules;
	namer->patterns = calloc(options->rules_count + 1, sizeof(*namer->patterns));
	for (size_t i = 0; namer->patterns && i < options->rules_count; i++) {
		char why[128];
		int code = regcomp(&namer->patterns[i], options->rules[i].pattern,
				   REG_EXTENDED | REG_NOSUB);

		if (!code) {
			namer->count++;
			continue;
		}
		regerror(code, &namer->patterns[i], why, sizeof(why));
		vmat_error_set(err, -EINVAL, "'%.200s' is no regular expression: %s",
			       options->rules[i].pattern, why);
		vmat_namer_free(namer);
		return -EINVAL;
	}
	if (!namer->patterns) {
		vmat_namer_free(namer);
		return -ENOMEM;
	}
	*ret = namer;
	return 0;
}

void vmat_namer_free(struct vmat_namer *namer)
{
	if (!namer)
		return;
	for (size_t i = 0; i < namer->count; i++)
		regfree(&namer->patterns[i]);
	free(namer->patterns);
	vmat_buffer_deinit(&namer->text);
	free(namer);
}

/* The length of the valid UTF-8 sequence of printable characters that begins here; 0: there is none. */
static size_t printable(const unsigned char *c)
{
	size_t more = c[0] < 0x80                   ? 0
		      : c[0] >= 0xc2 && c[0] < 0xe0 ? 1
		      : (c[0] & 0xf0) == 0xe0       ? 2
						    : 3;

	if (more == 0)
		return c[0] >= 0x20 && c[0] != 0x7f;
	/* C1 controls, overlong forms, surrogates, and what lies beyond Unicode. */
	if (c[0] > 0xf4 || (c[0] >= 0x80 && c[0] < 0xc2) || (c[0] == 0xc2 && c[1] < 0xa0) ||
	    (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
	    (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
		return 0;
	for (size_t i = 1; i <= more; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	}
	return more + 1;
}

void vmat_group_name_clean(char *name)
{
	for (unsigned char *c = (unsigned char *)name; *c;) {
		size_t length = printable(c);

		if (!length)
			*c = '?';
		c += length ? length : 1;
	}
	if (!name[0])
		snprintf(name, VMAT_GROUP_NAME, "?");
	if (strcmp(name, "_other") == 0)
		snprintf(name, VMAT_GROUP_NAME, "_other?");
}

bool vmat_unit_of_cgroup(const char *text, char *ret, size_t size)
{
	static const char *const ends[] = { ".service", ".scope" };
	bool is_found = false;

	for (const char *line = text; *line;) {
		const char *end = strchrnul(line, '\n');

		for (const char *part = line; part < end;) {
			const char *next = part;
			size_t length;

			while (next < end && *next != '/' && *next != ':')
				next++;
			length = (size_t)(next - part);
			for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
				size_t tail = strlen(ends[i]);

				if (length <= tail ||
				    strncmp(part + length - tail, ends[i], tail) != 0)
					continue;
				snprintf(ret, size, "%.*s",
					 (int)(length < size ? length : size - 1), part);
				is_found = true;
			}
			part = next + 1;
		}
		line = *end ? end + 1 : end;
	}
	return is_found;
}

/* A text of /proc/PID, its NULs as blanks. False when it cannot be read or is empty. */
static bool read_text(struct vmat_namer *namer, pid_t pid, const char *name)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	if (vmat_sys_read_file_at(AT_FOLDER, path, &namer->text, TEXT_LIMIT) || !namer->text.size)
		return false;
	while (namer->text.size && !namer->text.data[namer->text.size - 1])
		namer->text.size--;
	for (size_t i = 0; i < namer->text.size; i++) {
		if (!namer->text.data[i])
			namer->text.data[i] = ' ';
	}
	return namer->text.size > 0;
}

static bool name_of_exe(struct vmat_namer *namer, pid_t pid, char *ret)
{
	static const char deleted[] = " (deleted)";
	char path[48], *part;
	size_t tail = sizeof(deleted) - 1;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	if (vmat_sys_readlink_at(AT_FOLDER, path, &namer->text) || !namer->text.size)
		return false;
	if (namer->text.size > tail &&
	    strcmp(namer->text.data + namer->text.size - tail, deleted) == 0)
		namer->text.data[namer->text.size - tail] = '\0';
	part = strrchr(namer->text.data, '/');
	snprintf(ret, VMAT_GROUP_NAME, "%.*s", VMAT_GROUP_NAME - 1,
		 part ? part + 1 : namer->text.data);
	return ret[0] != '\0';
}

void vmat_namer_name(struct vmat_namer *namer, const struct vmat_glance *who, char *ret)
{
	bool is_named = false;

	if (namer->count && read_text(namer, who->pid, "cmdline")) {
		for (size_t i = 0; i < namer->count && !is_named; i++) {
			if (regexec(&namer->patterns[i], namer->text.data, 0, NULL, 0))
				continue;
			snprintf(ret, VMAT_GROUP_NAME, "%s", namer->rules[i].name);
			is_named = true;
		}
	}
	if (!is_named && namer->by == VMAT_GROUP_BY_EXE)
		is_named = name_of_exe(namer, who->pid, ret);
	if (!is_named && namer->by == VMAT_GROUP_BY_UNIT)
		is_named = read_text(namer, who->pid, "cgroup") &&
			   vmat_unit_of_cgroup(namer->text.data, ret, VMAT_GROUP_NAME);
	if (!is_named)
		snprintf(ret, VMAT_GROUP_NAME, "%s", who->name);
	vmat_group_name_clean(ret);
}
