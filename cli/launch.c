/* SPDX-License-Identifier: MIT */
/* See launch.h. The descriptors that tell of success are closed by exec (O_CLOEXEC), which is how it is known. */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const int endings[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

static volatile sig_atomic_t caught;
static volatile pid_t forward_to;
static int caught_pipe[2] = { -1, -1 };

static void catch (int number, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)context;
	caught = number;
	if (forward_to > 0 && info->si_code <= 0)
		kill(forward_to, number);
	/* Full: it is readable then. */
	if (write(caught_pipe[1], "", 1) < 0)
		errno = saved;
	errno = saved;
}

int cli_signals_catch(pid_t pid, int *ret_fd)
{
	struct sigaction action = { .sa_sigaction = catch, .sa_flags = SA_SIGINFO }, former;

	if (pipe2(caught_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	forward_to = pid;
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		/* nohup(1) and the shell's background jobs ignore some: they stay so. */
		if (sigaction(endings[i], NULL, &former) == 0 && former.sa_handler != SIG_IGN)
			sigaction(endings[i], &action, NULL);
	}
	/* A file that may not grow is an error of a write, not our end. */
	action = (struct sigaction){ .sa_handler = SIG_IGN };
	sigaction(SIGXFSZ, &action, NULL);
	*ret_fd = caught_pipe[0];
	return 0;
}

int cli_signals_caught(void)
{
	return caught;
}

static _Noreturn void run(char *const *argv, int go, int began)
{
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	char byte;
	int code;

	/* Its parent ended, or gave it up. */
	if (read(go, &byte, 1) != 1)
		_exit(127);
	sigaction(SIGPIPE, &usual, NULL);
	execvp(argv[0], argv);
	code = errno;
	if (write(began, &code, sizeof(code)) < 0)
		_exit(126);
	_exit(127);
}

int cli_launch_prepare(struct cli_launch *ret, char *const *argv)
{
	int go[2], began[2];
	pid_t pid;

	if (pipe2(go, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(began, O_CLOEXEC) < 0) {
		close(go[0]);
		close(go[1]);
		return -errno;
	}
	pid = fork();
	if (!pid) {
		close(go[1]);
		close(began[0]);
		run(argv, go[0], began[1]);
	}
	close(go[0]);
	close(began[1]);
	*ret = (struct cli_launch){ .pid = pid, .go = go[1], .began = began[0] };
	return pid < 0 ? -errno : 0;
}

static void forget(struct cli_launch *launch)
{
	while (waitpid(launch->pid, NULL, 0) < 0 && errno == EINTR)
		;
	launch->pid = 0;
}

int cli_launch_go(struct cli_launch *launch)
{
	int code = 0;
	ssize_t got;

	if (write(launch->go, "", 1) != 1)
		code = EPIPE;
	close(launch->go);
	do
		got = read(launch->began, &code, sizeof(code));
	while (got < 0 && errno == EINTR);
	close(launch->began);
	if (code)
		forget(launch);
	return -code;
}

void cli_launch_drop(struct cli_launch *launch)
{
	if (launch->pid <= 0)
		return;
	close(launch->go);
	close(launch->began);
	forget(launch);
}

bool cli_launch_ended(struct cli_launch *launch, int *ret)
{
	if (launch->pid <= 0 || waitpid(launch->pid, ret, WNOHANG) != launch->pid)
		return false;
	forward_to = 0;
	launch->pid = 0;
	return true;
}

int cli_launch_wait(struct cli_launch *launch)
{
	int status = 0;

	while (waitpid(launch->pid, &status, 0) < 0 && errno == EINTR)
		;
	launch->pid = 0;
	return status;
}

int cli_launch_code(int wait_status)
{
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}
