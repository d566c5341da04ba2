/* SPDX-License-Identifier: MIT */
/* Opening and reading the target of a command: see subject.h. */
#include "subject.h"

#include <string.h>

#include <vmatlas/store.h>

#include "progress.h"
#include "report.h"

/* What a core file should hold and does not is missing in every answer. */
static void note_core(struct cli_subject *subject)
{
	const struct vmat_core_info *core = subject->process->core;

	if (core && core->lacks[0])
		cli_subject_note(subject, core->lacks);
}

int cli_needs_process(const struct cli_args *args, const char *name)
{
	return cli_usage_error("%s: %.200s is a recording, and a process is needed here\nTry: "
			       "vmatlas check %.200s",
			       args->command->name, name, name);
}

int cli_subject_open(struct cli_subject *ret, const struct cli_args *args)
{
	struct vmat_target_options options = {
		.size = sizeof(options),
		.root = args->root,
		.gdb = args->gdb,
		.ram = args->ram.values,
		.ram_count = args->ram.count,
	};
	struct vmat_error err = { 0 };

	*ret = (struct cli_subject){ .target = NULL };
	if ((args->gdb || args->ram.count) && !args->command->takes_firmware)
		return cli_usage_error(
			"%s: firmware has no regions, pages or threads of a kernel\nTry: vmatlas "
			"stacks, or vmatlas heap: they know the tasks and the heap of FreeRTOS",
			args->command->name);
	if (vmat_recording_is(args->operands[0]))
		return cli_needs_process(args, args->operands[0]);
	if (vmat_target_open(&ret->target, args->operands[0], &options, &err) < 0)
		return cli_fail(&err);
	ret->process = vmat_target_process(ret->target);
	note_core(ret);
	return CLI_OK;
}

void cli_subject_close(struct cli_subject *subject)
{
	subject->atlas = vmat_atlas_free(subject->atlas);
	subject->target = vmat_target_close(subject->target);
}

static uint32_t map_want(uint32_t needs)
{
	uint32_t want = VMAT_WANT_COUNTERS;

	if (needs & VMAT_NEED_PAGES)
		want |= VMAT_WANT_PAGES;
	if (needs & VMAT_NEED_COPIED)
		want |= VMAT_WANT_COPIED;
	if (needs & VMAT_NEED_SMAPS)
		want |= VMAT_WANT_SMAPS;
	return want;
}

static void forget_counters(struct vmat_counters *counters)
{
	const uint64_t unknown = VMAT_UNKNOWN(VMAT_NOT_FOUND);

	for (size_t i = 0; i < sizeof(*counters) / sizeof(unknown); i++)
		memcpy((char *)counters + i * sizeof(unknown), &unknown, sizeof(unknown));
}

int cli_subject_read(struct cli_subject *subject, uint32_t needs)
{
	struct cli_progress progress = { .what = "reading" };
	struct vmat_atlas_options options = {
		.size = sizeof(options),
		.want = needs & VMAT_NEED_OWNERS ? VMAT_ATLAS_OWNERS : 0,
		.map_want = map_want(needs),
		.progress = cli_progress_show,
		.progress_context = &progress,
	};
	int r;

	r = vmat_atlas_read(&subject->atlas, subject->target, &options, &subject->error);
	cli_progress_end(&progress);
	if (r < 0) {
		subject->error.code = r;
		if (vmat_counters_read(&subject->counters, subject->target, NULL) < 0)
			forget_counters(&subject->counters);
		return (int)cli_exit_of(r);
	}
	subject->read = needs;
	subject->counters = subject->atlas->map->counters;
	if (subject->atlas->map->is_partial)
		cli_subject_note(subject, subject->atlas->map->partial_why);
	if (subject->atlas->is_partial)
		cli_subject_note(subject, subject->atlas->partial_why);
	return CLI_OK;
}

void cli_subject_note(struct cli_subject *subject, const char *partial_why)
{
	size_t used = strlen(subject->partial_why);

	subject->is_partial = true;
	if (!partial_why[0] || strstr(subject->partial_why, partial_why))
		return;
	snprintf(subject->partial_why + used, sizeof(subject->partial_why) - used, "%s%s",
		 used ? "; " : "", partial_why);
}

void cli_subject_check(struct cli_subject *subject)
{
	struct vmat_error err = { 0 };

	if (vmat_target_check(subject->target, &err) < 0)
		cli_subject_note(subject, err.text);
}

void cli_subject_restart(struct cli_subject *subject)
{
	subject->is_partial = false;
	subject->partial_why[0] = '\0';
	note_core(subject);
}

void cli_subject_warn(const struct cli_subject *subject)
{
	if (subject->is_partial)
		cli_warn("the answer is partial: %s", subject->partial_why);
}

struct vmat_json *cli_document_begin(const struct cli_subject *subject, const char *schema)
{
	struct vmat_rows target = { .list = &vmat_list_process,
				    .model = subject->process,
				    .count = 1 };
	struct vmat_json *json;

	if (vmat_json_new(&json, stdout) < 0)
		return NULL;
	vmat_json_begin(json, NULL);
	vmat_json_string(json, "schema", schema);
	cli_json_single(json, &target);
	vmat_json_bool(json, "partial", subject->is_partial || subject->error.code);
	if (subject->error.code)
		vmat_json_string(json, "partial_why", subject->error.text);
	else
		vmat_json_string(json, "partial_why",
				 subject->is_partial ? subject->partial_why : NULL);
	return json;
}

int cli_document_end(struct vmat_json *json)
{
	vmat_json_end(json);
	return vmat_json_finish(json);
}

void cli_json_counters(struct vmat_json *json, const struct cli_subject *subject)
{
	struct vmat_counters_view view = {
		.counters = &subject->counters,
		.regions = subject->atlas ? subject->atlas->map->count
					  : VMAT_UNKNOWN(VMAT_NOT_PERMITTED),
	};
	struct vmat_rows rows = { .list = &vmat_list_counters, .model = &view, .count = 1 };

	cli_json_single(json, &rows);
}

int cli_subject_refused(const struct cli_subject *subject, const struct cli_output *output,
			const char *schema)
{
	int r = 0;

	/* A mistake on the command line says nothing of the process. */
	if (cli_exit_of(subject->error.code) == CLI_USAGE)
		return cli_fail(&subject->error);
	if (output->format == CLI_JSON) {
		struct vmat_json *json = cli_document_begin(subject, schema);

		if (json) {
			cli_json_counters(json, subject);
			vmat_json_string(json, output->list->key, NULL);
			r = cli_document_end(json);
		}
	} else if (cli_output_has_heads(output)) {
		cli_head_target(subject, output);
		cli_head_counters(subject, output);
		fflush(stdout);
	}
	return cli_written(r, cli_fail(&subject->error));
}

/* "the core that the kernel wrote; SIGSEGV at 0x7f.. in thread 77" */
static void head_core(const struct cli_subject *subject, const struct cli_output *output)
{
	const struct vmat_core_info *core = subject->process->core;
	const char *name = core->signal ? sigabbrev_np(core->signal) : NULL;
	char signal[160] = "";

	if (core->signal)
		snprintf(signal, sizeof(signal), "; signal %d (%s%s) in thread %d", core->signal,
			 name ? "SIG" : "", name ? name : "?", (int)core->signal_tid);
	if (core->signal && vmat_is_known(core->fault_addr))
		snprintf(signal + strlen(signal), sizeof(signal) - strlen(signal), " at 0x%llx",
			 (unsigned long long)core->fault_addr);
	cli_line("core file %s, written by %s%s", cli_escape(output, core->path), core->writer,
		 signal);
}

/* "demo.elf, big-endian, memory from gdb server localhost:1234; it stood for 12.3 ms" */
static void head_firmware(const struct vmat_firmware_info *firmware,
			  const struct cli_output *output)
{
	char stood[64] = "";

	if (vmat_is_known(firmware->halted_ns))
		snprintf(stood, sizeof(stood), "; it stood for %.1f ms",
			 (double)firmware->halted_ns / 1e6);
	cli_line("firmware %s%s, memory from %s%s%s", cli_escape(output, firmware->path),
		 firmware->is_big_endian ? ", big-endian" : "",
		 cli_escape(output, firmware->memory), stood,
		 firmware->was_halted ? "; it stood before, and was left so" : "");
}

void cli_head_target(const struct cli_subject *subject, const struct cli_output *output)
{
	const struct vmat_process *process = subject->process;

	const uint64_t uid =
		process->uid == UINT32_MAX ? VMAT_UNKNOWN(VMAT_NOT_FOUND) : process->uid;

	if (process->firmware) {
		head_firmware(process->firmware, output);
		return;
	}
	if (process->core) {
		cli_line("%d %s  %s  uid %s, %s thread%s%s", (int)process->pid,
			 cli_escape(output, process->comm),
			 process->exe ? cli_escape(output, process->exe) : "-", cli_count(uid),
			 cli_count(process->threads), process->threads == 1 ? "" : "s",
			 process->word_size == 4 ? ", 32-bit" : "");
		head_core(subject, output);
		return;
	}
	cli_line("%d %s  %s  uid %s, %s thread%s, state %c%s", (int)process->pid,
		 cli_escape(output, process->comm),
		 process->exe ? cli_escape(output, process->exe) : "-", cli_count(uid),
		 cli_count(process->threads), process->threads == 1 ? "" : "s", process->state,
		 process->word_size == 4 ? ", 32-bit" : "");
}

void cli_head_counters(const struct cli_subject *subject, const struct cli_output *output)
{
	const struct vmat_counters *c = &subject->counters;

	if (subject->process->core && !vmat_is_known(c->size)) {
		cli_line("regions %s; a core holds none of the process's counters",
			 subject->atlas ? cli_count(subject->atlas->map->count) : "-");
		return;
	}
	cli_line("size %s, at most %s; resident %s, at most %s; swap %s, hugetlb %s",
		 cli_size(output, c->size), cli_size(output, c->peak), cli_size(output, c->rss),
		 cli_size(output, c->rss_peak), cli_size(output, c->swap),
		 cli_size(output, c->hugetlb));
	cli_line("anonymous %s, files %s, shared %s; page tables %s, locked %s, pinned %s",
		 cli_size(output, c->rss_anon), cli_size(output, c->rss_file),
		 cli_size(output, c->rss_shmem), cli_size(output, c->page_tables),
		 cli_size(output, c->locked), cli_size(output, c->pinned));
	cli_line("faults %s minor, %s major; regions %s of at most %s", cli_count(c->faults_minor),
		 cli_count(c->faults_major),
		 subject->atlas ? cli_count(subject->atlas->map->count) : "-",
		 cli_count(c->regions_max));
}
