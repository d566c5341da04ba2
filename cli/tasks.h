/* SPDX-License-Identifier: MIT */
/*
 * tasks.h: FreeRTOS in `stacks` and `heap`: tables of its tasks and of its heap, and the plan of tasks that do not exist yet.
 */
#ifndef CLI_TASKS_H
#define CLI_TASKS_H

#include "subject.h"

/* Is FreeRTOS asked for: by --rtos, or by a target that has nothing else? */
bool cli_tasks_wanted(const struct cli_args *args);

/* `stacks` and `heap` where it is: returns an exit code. */
int cli_tasks_run(const struct cli_args *args);
int cli_rtos_heap_run(const struct cli_args *args);

/* `stacks --plan`: returns an exit code. */
int cli_plan_run(const struct cli_args *args);

/*
 * The tasks of a process that has some, below its threads; NULL when it has none. A failure to read them is a note of the
 * subject's. The caller frees them.
 */
struct vmat_rtos *cli_tasks_beside(struct cli_subject *subject);
int cli_tasks_write_beside(const struct cli_output *output, const struct vmat_rtos *rtos,
			   const struct vmat_stacks *stacks);
void cli_tasks_json_beside(struct vmat_json *json, const struct vmat_rtos *rtos,
			   const struct vmat_stacks *stacks);

#endif
