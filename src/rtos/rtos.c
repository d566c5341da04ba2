/* SPDX-License-Identifier: MIT */
/*
 * rtos.c: FreeRTOS as a whole: names from the file first, then all of memory in one go, then what follows from both.
 *
 * A process runs on while it is read, so a list that does not fit may only have been caught in between: then all of
 * memory is read again, and only what stays wrong is told.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "rtos/rtos_priv.h"
#include "target/target_source.h"

enum { TRIES = 5 /* of a process that runs */ };

const char *vmat_task_state_name(enum vmat_task_state state)
{
	static const char *const texts[VMAT_TASK_STATES] = {
		[VMAT_TASK_UNKNOWN] = "",
		[VMAT_TASK_RUNNING] = "running",
		[VMAT_TASK_READY] = "ready",
		[VMAT_TASK_BLOCKED] = "blocked",
		[VMAT_TASK_BLOCKED_FOREVER] = "forever",
		[VMAT_TASK_SUSPENDED] = "suspended",
		[VMAT_TASK_DELETED] = "deleted",
	};

	return texts[state];
}

const char *vmat_task_source_name(enum vmat_task_source source)
{
	static const char *const texts[VMAT_TASK_SOURCES] = {
		[VMAT_TASK_SOURCE_NONE] = "none",      [VMAT_TASK_SOURCE_ARRAY] = "array",
		[VMAT_TASK_SOURCE_BLOCK] = "block",    [VMAT_TASK_SOURCE_END] = "end",
		[VMAT_TASK_SOURCE_CHUNK] = "malloc",   [VMAT_TASK_SOURCE_NEXT] = "next",
		[VMAT_TASK_SOURCE_SYMBOLS] = "linker",
	};

	return texts[source];
}

const char *vmat_rtos_severity_name(enum vmat_rtos_severity severity)
{
	return severity == VMAT_RTOS_WARNING    ? "warning"
	       : severity == VMAT_RTOS_OVERFLOW ? "overflow"
						: "damage";
}

static void forget(struct vmat_rtos_reading *reading)
{
	struct vmat_rtos *rtos = reading->rtos;

	rtos->count = 0;
	rtos->findings_count = rtos->findings_total = 0;
	rtos->is_damaged = rtos->grows_up = false;
}

int vmat_rtos_memory_read(struct vmat_rtos_reading *reading, struct vmat_error *err)
{
	int code;

	forget(reading);
	code = vmat_rtos_lists_read(reading, err);
	if (code)
		return code;
	vmat_rtos_heap_scheme(reading);
	vmat_rtos_heap_read(reading);
	vmat_rtos_stacks_read(reading);
	if (vmat_rtos_main_stack(reading))
		return vmat_error_set(err, -ENOMEM, "out of memory");
	if (reading->has_failed) {
		if (err)
			*err = reading->error;
		return reading->error.code;
	}
	return 0;
}

static int read_held(struct vmat_rtos_reading *reading, struct vmat_error *err)
{
	const unsigned tries = vmat_source_is_live(reading->target) ? TRIES : 1;
	int code = vmat_target_hold(reading->target, err);

	for (unsigned i = 0; !code && i < tries && (!i || reading->rtos->is_damaged); i++)
		code = vmat_rtos_memory_read(reading, err);
	return code;
}

static int settle(struct vmat_rtos_reading *reading, struct vmat_error *err)
{
	struct vmat_rtos *rtos = reading->rtos;

	if (rtos->is_damaged) {
		rtos->is_partial = true;
		snprintf(rtos->partial_why, sizeof(rtos->partial_why),
			 "FreeRTOS's own records contradict each other, see the findings");
	}
	if (vmat_rtos_stacks_settle(reading))
		return vmat_error_set(err, -ENOMEM, "out of memory");
	return 0;
}

int vmat_rtos_read(struct vmat_rtos **ret, struct vmat_target *target, struct vmat_error *err)
{
	struct vmat_rtos_reading reading = { .target = target, .fd = -1 };
	struct vmat_error ignored;
	int code, released;

	reading.rtos = calloc(1, sizeof(*reading.rtos));
	if (!reading.rtos)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	code = vmat_rtos_names_read(&reading, err);
	if (!code) {
		vmat_rtos_version(&reading);
		code = read_held(&reading, err);
		released = vmat_target_release(target, code ? &ignored : err);
		code = code ? code : released;
		if (!code)
			code = settle(&reading, err);
	}
	vmat_cleanup_close(&reading.fd);
	free(reading.notes);
	if (code)
		vmat_rtos_free(reading.rtos);
	else
		*ret = reading.rtos;
	return code;
}

struct vmat_rtos *vmat_rtos_free(struct vmat_rtos *rtos)
{
	if (rtos)
		free(rtos->tasks);
	free(rtos);
	return NULL;
}
