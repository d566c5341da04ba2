/* SPDX-License-Identifier: MIT */
/* The caller's user, capabilities and the settings of the kernel that bound what it may see. */
#include "rights.h"

#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVERYWHERE (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

static const struct {
	const char *name;
	unsigned bit;
	const char *meaning;
} capabilities[] = {
	{ "CAP_SYS_PTRACE", CAP_SYS_PTRACE, "read the memory of other users' processes" },
	{ "CAP_DAC_READ_SEARCH", CAP_DAC_READ_SEARCH, "open their pagemap and memory files" },
	{ "CAP_SYS_ADMIN", CAP_SYS_ADMIN, "see frame numbers, kpageflags and kpagecount" },
	{ "CAP_PERFMON", CAP_PERFMON, "see their maps and smaps, and nothing else of them" },
};

static const struct {
	const char *name, *path, *meaning;
} settings[] = {
	{ "kernel.yama.ptrace_scope", "/proc/sys/kernel/yama/ptrace_scope",
	  "1 and above: only children may be read without CAP_SYS_PTRACE" },
	{ "vm.max_map_count", "/proc/sys/vm/max_map_count", "regions that a process may have" },
	{ "vm.overcommit_memory", "/proc/sys/vm/overcommit_memory",
	  "2: reserved memory is limited, too" },
	{ "transparent_hugepage", "/sys/kernel/mm/transparent_hugepage/enabled",
	  "whether anonymous memory gets huge pages" },
};

/* The first line of a file; "-" when it cannot be read. */
static void read_line(const char *path, char *ret, size_t size)
{
	FILE *file = fopen(path, "re");

	if (!file || !fgets(ret, (int)size, file))
		snprintf(ret, size, "-");
	ret[strcspn(ret, "\n")] = '\0';
	if (file)
		fclose(file);
}

/* status: CapEff */
static bool read_capabilities(uint64_t *ret)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	bool is_found = false;

	while (file && !is_found && fgets(line, sizeof(line), file)) {
		is_found = !strncmp(line, "CapEff:", 7);
		if (is_found)
			*ret = strtoull(line + 7, NULL, 16);
	}
	if (file)
		fclose(file);
	return is_found;
}

static struct cli_right *add(struct cli_rights *rights, const char *name, const char *meaning)
{
	struct cli_right *right = &rights->rights[rights->count++];

	right->name = name;
	right->meaning = meaning;
	return right;
}

void cli_rights_read(struct cli_rights *ret)
{
	struct cli_right *right;
	uint64_t effective = 0;
	bool is_known = read_capabilities(&effective);

	ret->count = 0;
	right = add(ret, "user", "processes of the same user may be read");
	snprintf(right->value, sizeof(right->value), "%u", (unsigned)geteuid());
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++) {
		right = add(ret, capabilities[i].name, capabilities[i].meaning);
		snprintf(right->value, sizeof(right->value), "%s",
			 !is_known                              ? "-"
			 : effective >> capabilities[i].bit & 1 ? "yes"
								: "no");
	}
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		right = add(ret, settings[i].name, settings[i].meaning);
		read_line(settings[i].path, right->value, sizeof(right->value));
	}
}

enum column {
	NAME,
	VALUE,
	MEANING,
};

static const struct vmat_column columns[] = {
	[NAME] = { "RIGHT", "right", VMAT_TYPE_STRING, EVERYWHERE, 0, "a right or a setting",
		   "vmatlas" },
	[VALUE] = { "VALUE", "value", VMAT_TYPE_STRING, EVERYWHERE, 0,
		    "its value; `-` when unknown", "/proc/self/status: CapEff; /proc/sys; /sys" },
	[MEANING] = { "MEANING", "meaning", VMAT_TYPE_STRING, EVERYWHERE, 0, "what it is for",
		      "vmatlas", .ample = 3 },
};

static void cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct cli_right *right = &((const struct cli_rights *)model)->rights[row];

	ret->text = column == NAME ? right->name : column == VALUE ? right->value : right->meaning;
}

const struct vmat_list cli_list_rights = {
	.name = "doctor.rights",
	.key = "rights",
	.columns = columns,
	.columns_count = sizeof(columns) / sizeof(columns[0]),
	.cell = cell,
	.meaning = "a right that vmatlas has or lacks, or a setting that bounds it",
};
