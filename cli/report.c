/* SPDX-License-Identifier: MIT */
/* Errors as texts and exit codes: see report.h. Texts may quote the target's names: they are escaped. */
#include "report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <vmatlas/export.h>

enum cli_exit cli_exit_of(int code)
{
	switch (-code) {
	case 0:
		return CLI_OK;
	case EINVAL:
	case EEXIST: /* a name that fits several processes */
		return CLI_USAGE;
	case ESRCH:
	case ESTALE:
		return CLI_GONE;
	case EACCES:
	case EPERM:
	case EBUSY:     /* traced by another program */
	case ETIMEDOUT: /* not within the time that the target may stand */
	case EAGAIN:    /* its threads or its memory grow faster than it can be stopped or read */
		return CLI_NOT_PERMITTED;
	case EOPNOTSUPP:
	case ENOSYS:
	case ENOTTY:
		return CLI_KERNEL_LACKS;
	case ENOENT:
	case ENOTDIR:
	case EBADMSG:
	case ENODATA: /* memory of firmware that has no tasks yet */
	case ENOEXEC:
	case EFBIG:
	case EPROTO:
		return CLI_BAD_FILE;
	default:
		return CLI_INTERNAL;
	}
}

/* The first line behind "vmatlas: ", the further ones indented. */
static void print_text(const char *before, const char *text)
{
	char escaped[4096];
	const char *line = escaped;

	vmat_text_escape(escaped, sizeof(escaped), text, true, true);
	fprintf(stderr, "vmatlas: %s", before);
	for (;;) {
		size_t length = strcspn(line, "\n");

		fprintf(stderr, "%.*s\n", (int)length, line);
		if (!line[length] || !line[length + 1])
			break;
		line += length + 1;
		line += strspn(line, " ");
		fputs("  ", stderr);
	}
}

int cli_fail(const struct vmat_error *err)
{
	print_text("", err->text[0] ? err->text : strerror(-err->code));
	return (int)cli_exit_of(err->code);
}

int cli_usage_error(const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	print_text("", text);
	return CLI_USAGE;
}

void cli_warn(const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	print_text("warning: ", text);
}

int cli_written(int r, int code)
{
	if (r >= 0 || r == -EPIPE)
		return code;
	fprintf(stderr, "vmatlas: cannot write the output: %s\n", strerror(-r));
	return CLI_INTERNAL;
}
