/* SPDX-License-Identifier: MIT */
/*
 * error.c: texts of errors and of unknown facts (see vmatlas/base.h). Nothing here allocates.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <vmatlas/base.h>

int vmat_error_set(struct vmat_error *err, int code, const char *format, ...)
{
	va_list args;

	if (!err)
		return code;
	err->code = code;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return code;
}

int vmat_error_prefix(struct vmat_error *err, const char *format, ...)
{
	char before[sizeof(err->text)];
	va_list args;
	size_t used, kept;

	if (!err)
		return 0;
	va_start(args, format);
	vsnprintf(before, sizeof(before) - 2, format, args);
	va_end(args);
	used = strlen(before);
	memcpy(before + used, ": ", 2);
	used += 2;
	kept = strnlen(err->text, sizeof(err->text) - 1);
	if (kept > sizeof(err->text) - 1 - used)
		kept = sizeof(err->text) - 1 - used;
	memmove(err->text + used, err->text, kept);
	memcpy(err->text, before, used);
	err->text[used + kept] = '\0';
	return err->code;
}

const char *vmat_reason_text(enum vmat_reason reason)
{
	static const char *const texts[] = {
		[VMAT_NOT_ASKED] = "not asked for",
		[VMAT_NOT_PERMITTED] = "not permitted",
		[VMAT_KERNEL_LACKS] = "this kernel cannot tell",
		[VMAT_CHANGED] = "the target changed while it was read",
		[VMAT_INVISIBLE] = "device memory: the kernel shows none of its pages",
		[VMAT_RUNNING] = "the thread is running",
		[VMAT_NOT_RECORDED] = "not in the record or the core file",
		[VMAT_NOT_APPLICABLE] = "does not apply here",
		[VMAT_NOT_FOUND] = "not found",
	};

	if ((size_t)reason < sizeof(texts) / sizeof(texts[0]) && texts[reason])
		return texts[reason];
	return "";
}

const char *vmat_version(void)
{
	return VMAT_VERSION;
}
