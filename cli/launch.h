/* SPDX-License-Identifier: MIT */
/*
 * launch.h: a command that is started to be watched: its terminal, its streams and its group are ours, and signals that
 * somebody sends to us go on to it.
 */
#ifndef CLI_LAUNCH_H
#define CLI_LAUNCH_H

#include <sys/types.h>

#include <vmatlas/base.h>

struct cli_launch {
	pid_t pid; /* 0: there is none */
	int go;    /* it begins when something is written here */
	int began; /* at its end when the command runs; else it tells why not */
};

/* Makes the process, which waits. argv ends with NULL. 0 or a negative errno. */
int cli_launch_prepare(struct cli_launch *ret, char *const *argv);

/* Lets it begin. 0 when the command runs, else the negative errno of execvp(3); then there is no process any more. */
int cli_launch_go(struct cli_launch *launch);

/* Ends a process that has not begun. */
void cli_launch_drop(struct cli_launch *launch);

/* Has it ended? Then *ret is its wait status, and the kernel forgets it. */
bool cli_launch_ended(struct cli_launch *launch, int *ret);

/* Waits for its end: its wait status. */
int cli_launch_wait(struct cli_launch *launch);

/* The exit status that a shell would tell. */
int cli_launch_code(int wait_status);

/*
 * Signals that end programs are caught from now on: *ret_fd is readable once one has come. With a process, they
 * are sent on to it, unless they came from the terminal, which has sent them to it as well. 0 or a negative errno.
 */
int cli_signals_catch(pid_t pid, int *ret_fd);
/* Which one came; 0: none. */
int cli_signals_caught(void);

#endif
