/* SPDX-License-Identifier: MIT */
#include "target/fork_place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "target/text_lines.h"

enum {
	PAGE_SIZE = 4096,
	READ_AT_ONCE = 64 << 10,
	SEARCHED_MAX =
		8
		<< 20, /* of one mapping: libc's text has 1.5 MiB, a static program may have hundreds */
	GUARD_MAX = 16 << 20, /* a larger hole without rights is a reservation and no guard */
	CODE_LENGTH = 16,
};

struct line {
	uint64_t start, end;
	char perms[4];
	const char *name;
	size_t name_size;
};

/* "start-end perms offset dev inode name" of proc(5). */
static bool parse(struct line *ret, const char *at, const char *end)
{
	const char *dash = vmat_text_hex(at, end, &ret->start), *space;

	if (dash == at || dash == end || *dash != '-')
		return false;
	space = vmat_text_hex(dash + 1, end, &ret->end);
	if (space == dash + 1 || end - space < 6 || *space != ' ')
		return false;
	memcpy(ret->perms, space + 1, sizeof(ret->perms));
	at = space;
	for (int field = 0; field < 4; field++) {
		at = memchr(at + 1, ' ', (size_t)(end - at - 1));
		if (!at)
			break;
	}
	if (!at)
		at = end;
	while (at < end && *at != ' ')
		at++;
	while (at < end && *at == ' ')
		at++;
	ret->name = at;
	ret->name_size = (size_t)(end - at);
	return true;
}

struct finding {
	struct vmat_stopper *s;
	struct vmat_target *target;
	unsigned char *buffer;
	size_t capacity;
	uint64_t guard_end; /* of the line before, when it may be a guard */
	bool only_libc;
};

static bool contains(const struct line *line, const char *what)
{
	return memmem(line->name, line->name_size, what, strlen(what)) != NULL;
}

/* Looks for both pieces of code in what is present of an executable mapping. */
static void search(struct finding *finding, uint64_t start, uint64_t end)
{
	struct vmat_inject_code *code = &finding->s->code_addrs;
	uint64_t at = start;

	if (end - start > SEARCHED_MAX)
		end = start + SEARCHED_MAX;
	while (at < end && !(code->syscall_addr && code->restore_addr)) {
		size_t size = end - at < READ_AT_ONCE ? (size_t)(end - at) : READ_AT_ONCE;
		ssize_t got = vmat_source_read(finding->target, at, finding->buffer, size), place;

		if (got < 0)
			return;
		if (got < CODE_LENGTH) {
			at = (at & ~(uint64_t)(PAGE_SIZE - 1)) + PAGE_SIZE;
			continue;
		}
		place = vmat_inject_find_syscall(finding->buffer, (size_t)got);
		if (!code->syscall_addr && place >= 0)
			code->syscall_addr = at + (uint64_t)place;
		place = vmat_inject_find_restore(finding->buffer, (size_t)got);
		if (!code->restore_addr && place >= 0)
			code->restore_addr = at + (uint64_t)place;
		at += (uint64_t)got;
		/* One that lies across two reads. */
		if ((size_t)got == size && at < end)
			at -= CODE_LENGTH;
	}
}

static void note_stack(struct finding *finding, const struct line *line)
{
	struct vmat_stopper *s = finding->s;
	bool is_kernels = line->name_size == 7 && memcmp(line->name, "[stack]", 7) == 0;

	if (memcmp(line->perms, "rw-p", 4) != 0 ||
	    !(is_kernels || (!line->name_size && finding->guard_end == line->start)))
		return;
	if (s->stacks_count == finding->capacity) {
		/* The kernel's own is the last one in the list, and the best. */
		if (!is_kernels)
			return;
		s->stacks_count--;
	}
	s->stacks[s->stacks_count++] = (struct vmat_stack_room){ line->start, line->end };
}

static bool look_at_line(const char *text, size_t size, void *context)
{
	struct finding *finding = context;
	struct line line;

	if (!parse(&line, text, text + size))
		return true;
	if (line.perms[2] == 'x' && line.perms[0] == 'r' && line.name_size && *line.name == '/' &&
	    (contains(&line, "libc") || contains(&line, "/ld-")) == finding->only_libc)
		search(finding, line.start, line.end);
	if (finding->only_libc)
		note_stack(finding, &line);
	finding->guard_end =
		memcmp(line.perms, "---p", 4) == 0 && line.end - line.start <= GUARD_MAX ? line.end
											 : 0;
	return true;
}

void vmat_fork_place_find(struct vmat_stopper *s, size_t capacity, struct vmat_target *target)
{
	vmat_autofree unsigned char *buffer = malloc(READ_AT_ONCE);
	struct finding finding = { .s = s, .target = target, .buffer = buffer };

	finding.capacity = capacity;
	s->can_fork = false;
	s->stacks_count = 0;
	if (!buffer) {
		s->fork_why = "there is no memory";
		return;
	}
	for (int pass = 0; pass < 2 && !(s->code_addrs.syscall_addr && s->code_addrs.restore_addr);
	     pass++) {
		finding.only_libc = pass == 0;
		vmat_text_lines(target, "maps", look_at_line, &finding);
	}
	if (vmat_target_process(target)->word_size != 8)
		s->fork_why = "it is a 32-bit program";
	else if (!s->code_addrs.syscall_addr || !s->code_addrs.restore_addr)
		s->fork_why = "the code for it was not found in its libc";
	else if (!s->stacks_count)
		s->fork_why = "none of its stacks is known to have room";
	else if (s->memory < 0)
		s->fork_why = "its memory may not be written";
	else
		s->can_fork = true;
}
