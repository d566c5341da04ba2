/* SPDX-License-Identifier: MIT */
/*
 * vmatlas dump: an ELF core of a living process, which lives on.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include <vmatlas/dump.h>

#include "limit.h"
#include "progress.h"
#include "report.h"
#include "subject.h"

#define SCHEMA "vmatlas/dump/1"

static volatile sig_atomic_t is_interrupted;

static void interrupt(int number)
{
	(void)number;
	is_interrupted = 1;
}

static bool show_progress(void *context, uint64_t done, uint64_t total)
{
	cli_progress_show(context, done, total);
	return !is_interrupted;
}

static void write_text(const struct cli_subject *subject, const struct cli_output *output,
		       const char *path, const struct vmat_dump *dump)
{
	cli_head_target(subject, output);
	cli_line("the process stood still for %.1f ms", (double)dump->stopped_ns / 1e6);
	cli_line("%s: %s on disk (%s with its holes); %s regions, %s thread%s",
		 cli_escape(output, path), cli_size(output, dump->stored),
		 cli_size(output, dump->file_size), cli_count(dump->regions),
		 cli_count(dump->threads), dump->threads == 1 ? "" : "s");
	cli_line("copied %s; left out: %s of files, %s in swap", cli_size(output, dump->copied),
		 cli_size(output, dump->left_out_file), cli_size(output, dump->left_out_swap));
}

static int write_json(const struct cli_subject *subject, const char *path,
		      const struct vmat_dump *dump)
{
	struct vmat_json *json = cli_document_begin(subject, SCHEMA);

	if (!json)
		return -ENOMEM;
	vmat_json_string(json, "file", path);
	vmat_json_number(json, "file_size", dump->file_size);
	vmat_json_number(json, "stored", dump->stored);
	vmat_json_number(json, "regions", dump->regions);
	vmat_json_number(json, "threads", dump->threads);
	vmat_json_number(json, "copied", dump->copied);
	vmat_json_number(json, "left_out_file", dump->left_out_file);
	vmat_json_number(json, "left_out_swap", dump->left_out_swap);
	vmat_json_number(json, "stopped_ns", dump->stopped_ns);
	return cli_document_end(json);
}

static int dump_and_write(struct cli_subject *subject, const struct cli_args *args,
			  struct vmat_dump_options *options)
{
	const struct sigaction action = { .sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND };
	struct cli_progress progress = { .what = "dumping" };
	struct cli_output output = { .args = args };
	struct vmat_error err = { 0 };
	struct vmat_dump dump;
	const char *path = args->file;
	char name[32];
	int r;

	if (!path) {
		snprintf(name, sizeof(name), "core.%d", (int)subject->process->pid);
		path = name;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	options->progress = show_progress;
	options->progress_context = &progress;
	r = vmat_dump_write(&dump, subject->target, path, options, &err);
	cli_progress_end(&progress);
	if (r < 0) {
		err.code = r;
		return cli_fail(&err);
	}
	if (dump.is_partial)
		cli_subject_note(subject, dump.partial_why);
	cli_subject_check(subject);
	r = 0;
	if (args->json)
		r = write_json(subject, path, &dump);
	else
		write_text(subject, &output, path, &dump);
	cli_subject_warn(subject);
	return cli_written(r, CLI_OK);
}

static int dump_run(const struct cli_args *args)
{
	struct vmat_dump_options options = { .size = sizeof(options), .may_replace = args->force };
	struct cli_subject subject;
	int code = cli_parse_max_stop(args->max_stop, &options.max_stop_ns);

	if (!code)
		code = cli_subject_open(&subject, args);
	if (code)
		return code;
	code = dump_and_write(&subject, args, &options);
	cli_subject_close(&subject);
	return code;
}

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option options[] = {
	{ 'o', "output", "FILE", CLI_FILE, AT(file), "write to FILE (core.PID)" },
	{ 'f', "force", NULL, CLI_NO_VALUE, AT(force), "replace the file if it is there" },
	{ 'J', "json", NULL, CLI_NO_VALUE, AT(json), "say in JSON what was written" },
	{ 0, "max-stop", "MS", CLI_NUMBER, AT(max_stop),
	  "give up, and let the process go, after this many milliseconds (2000)" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "1234", "a core of process 1234, as core.1234" },
	{ "-o /var/tmp/server.core @server", "of the process named server, to a file" },
	{ 0 },
};

static const char *const text[] = {
	"Writes an ELF core of a process, which lives on. gdb reads it, and so do all commands of "
	"vmatlas that take a TARGET.",
	"It is small: a sparse file with those pages only that are in memory and in no file. Pages "
	"in swap stay there and are left out. What each page is, and all that /proc says of the "
	"process, is kept in notes that other programs skip.",
	"All threads of the process stand still meanwhile, and how long is printed. The file may be "
	"read by its owner alone, and has its name only when it is whole.",
	NULL,
};

const struct cli_command cli_dump_command = {
	.name = "dump",
	.operands = "TARGET",
	.operands_min = 1,
	.operands_max = 1,
	.summary = "a core of a living process, small, without killing it",
	.text = text,
	.options = options,
	.has_target = true,
	.examples = examples,
	.run = dump_run,
};
