/* SPDX-License-Identifier: MIT */
#include "target/process.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "sys/sys_file.h"

enum { TEXT_LIMIT = 1 << 20, FIELD_LAST = 28 };

int vmat_stat_parse(struct vmat_stat *ret, const char *text, size_t size)
{
	const char *end = text + size, *open, *close, *c;
	struct vmat_stat stat = { 0 };
	uint64_t fields[FIELD_LAST + 1] = { 0 }; /* fields[n] is field n of proc(5), from 4 on */
	size_t length;

	open = memchr(text, '(', size);
	close = memrchr(text, ')', size);
	if (!open || !close || close < open || end - close < 4 || close[1] != ' ')
		return -EINVAL;
	length = (size_t)(close - open - 1);
	if (length >= sizeof(stat.comm))
		length = sizeof(stat.comm) - 1;
	memcpy(stat.comm, open + 1, length);
	stat.state = close[2];
	c = close + 3;
	/* Each with a blank before and behind it: a number that ends with the text may be cut. */
	for (size_t field = 4; field <= FIELD_LAST; field++) {
		const char *first;

		if (c == end || *c++ != ' ')
			return -EINVAL;
		if (c < end && *c == '-') /* priorities and tty_pgrp: none of ours */
			c++;
		first = c;
		c = vmat_text_decimal(c, end, &fields[field]);
		if (c == first || c == end)
			return -EINVAL;
	}
	vmat_text_decimal(text, open, &fields[0]);
	stat.pid = (pid_t)fields[0];
	stat.ppid = (pid_t)fields[4];
	stat.flags = fields[9];
	stat.faults_minor = fields[10];
	stat.faults_major = fields[12];
	stat.cpu_ticks = fields[14] + fields[15];
	stat.threads = fields[20];
	stat.start_ticks = fields[22];
	stat.start_code = fields[26];
	stat.stack_addr = fields[28];
	*ret = stat;
	return 0;
}

unsigned vmat_auxv_word_size(const void *auxv, size_t size)
{
	uint64_t first;

	if (size < sizeof(first))
		return 0;
	/* Types are small numbers: where the upper half of the first word is set, words have 4 bytes. */
	memcpy(&first, auxv, sizeof(first));
	return first >> 32 ? 4 : 8;
}

uint64_t vmat_auxv_find(const void *auxv, size_t size, unsigned word_size, uint64_t type)
{
	const unsigned char *entry = auxv;

	for (; size >= 2 * (size_t)word_size; entry += 2 * word_size, size -= 2 * word_size) {
		uint64_t words[2] = { 0 };

		if (word_size == 8) {
			memcpy(words, entry, 16);
		} else {
			memcpy(&words[0], entry, 4);
			memcpy(&words[1], entry + 4, 4);
		}
		if (words[0] == type)
			return words[1];
		if (words[0] == AT_NULL)
			break;
	}
	return 0;
}

uint64_t vmat_limit_parse(const char *limits, const char *name)
{
	const char *line = strstr(limits, name);
	uint64_t value = 0;

	if (!line)
		return 0;
	line += strlen(name);
	line += strspn(line, " ");
	if (strncmp(line, "unlimited", 9) == 0)
		return VMAT_STACK_UNLIMITED;
	vmat_text_decimal(line, line + strlen(line), &value);
	return value;
}

static void read_auxv(struct vmat_process *process, int dir, struct vmat_buffer *text)
{
	if (vmat_sys_read_file_at(dir, "auxv", text, TEXT_LIMIT))
		return;
	process->word_size = vmat_auxv_word_size(text->data, text->size);
	if (!process->word_size)
		return;
	process->auxv_base = vmat_auxv_find(text->data, text->size, process->word_size, AT_BASE);
	process->auxv_phdr = vmat_auxv_find(text->data, text->size, process->word_size, AT_PHDR);
	process->auxv_vdso =
		vmat_auxv_find(text->data, text->size, process->word_size, AT_SYSINFO_EHDR);
}

static uint32_t uid_of(const char *status)
{
	const char *line = strstr(status, "\nUid:");
	uint64_t uid = 0;

	if (!line)
		return UINT32_MAX;
	line += 5;
	line += strspn(line, "\t ");
	vmat_text_decimal(line, line + strlen(line), &uid);
	return (uint32_t)uid;
}

int vmat_process_read(struct vmat_process *ret, uint64_t *stat_flags, int dir)
{
	struct vmat_process process = { 0 };
	struct vmat_buffer text = { 0 };
	struct vmat_stat stat;
	int err = vmat_sys_read_file_at(dir, "stat", &text, TEXT_LIMIT);

	if (!err)
		err = vmat_stat_parse(&stat, text.data, text.size);
	if (err)
		goto out;
	process.pid = stat.pid;
	process.ppid = stat.ppid;
	process.state = stat.state;
	process.start_ticks = stat.start_ticks;
	process.threads = stat.threads;
	process.stack_addr = stat.stack_addr;
	memcpy(process.comm, stat.comm, sizeof(process.comm));
	*stat_flags = stat.flags;
	process.uid = UINT32_MAX;
	if (!vmat_sys_read_file_at(dir, "status", &text, TEXT_LIMIT))
		process.uid = uid_of(text.data);
	if (!vmat_sys_read_file_at(dir, "limits", &text, TEXT_LIMIT))
		process.stack_limit = vmat_limit_parse(text.data, "Max stack size");
	read_auxv(&process, dir, &text);
	if (!vmat_sys_readlink_at(dir, "exe", &text)) {
		process.exe = strdup(text.data);
		if (!process.exe)
			err = -ENOMEM;
	}
	if (!err)
		*ret = process;
out:
	vmat_buffer_deinit(&text);
	return err;
}
