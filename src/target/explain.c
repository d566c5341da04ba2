/* SPDX-License-Identifier: MIT */
/*
 * explain.c: why the kernel refused, and the smallest thing that would help.
 *
 * Ptrace access is decided by uid, dumpability, CAP_SYS_PTRACE in the target's user namespace and
 * Yama (ptrace(2), "Ptrace access mode checking"); pagemap and mem are closed by file mode as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/text.h"
#include "sys/sys_file.h"
#include "sys/sys_process.h"
#include "target/process.h"
#include "target/target_ops.h"

enum { CAP_BIT_SYS_PTRACE = 19, CAP_BIT_DAC_READ_SEARCH = 2 };

static uint64_t own_capabilities(void)
{
	struct vmat_buffer text = { 0 };
	uint64_t capabilities = 0;
	const char *line;

	if (!vmat_sys_read_file_at(AT_FDCWD, "/proc/self/status", &text, 1 << 20)) {
		line = strstr(text.data, "\nCapEff:\t");
		if (line)
			vmat_text_hex(line + 9, text.data + text.size, &capabilities);
	}
	vmat_buffer_deinit(&text);
	return capabilities;
}

/* The value of Yama's switch, or -1 where there is no Yama. */
static int yama_scope(void)
{
	struct vmat_buffer text = { 0 };
	uint64_t scope = 0;
	int err = vmat_sys_read_file_at(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", &text, 64);

	if (!err)
		vmat_text_decimal(text.data, text.data + text.size, &scope);
	vmat_buffer_deinit(&text);
	return err ? -1 : (int)scope;
}

/*
 * What is left of a process that has ended belongs to root and may not be read: a refusal that has nothing
 * to do with rights. A first thread that has ended is a zombie, too, while others live.
 */
static bool has_ended(const struct vmat_target *target)
{
	struct vmat_buffer text = { 0 };
	struct vmat_stat stat = { 0 };
	int err;

	if (!target->ops->is_live)
		return false;
	if (target->pidfd >= 0)
		return vmat_sys_pidfd_wait(target->pidfd, 0) == 1;
	err = vmat_sys_read_file_at(target->dir, "stat", &text, 1 << 20);
	if (!err)
		vmat_stat_parse(&stat, text.data, text.size);
	vmat_buffer_deinit(&text);
	return err == -ESRCH || err == -ENOENT ||
	       ((stat.state == 'Z' || stat.state == 'X') && stat.threads < 2);
}

int vmat_target_explain(const struct vmat_target *target, const char *what, int code,
			struct vmat_error *err)
{
	static const char fix[] = "Try:  the same command with sudo";
	uint64_t capabilities = own_capabilities();
	bool has_ptrace = capabilities >> CAP_BIT_SYS_PTRACE & 1;
	bool has_read = capabilities >> CAP_BIT_DAC_READ_SEARCH & 1;
	uint32_t uid = target->process.uid;
	int pid = (int)target->process.pid, scope = yama_scope();
	char failed[96];

	if (has_ended(target))
		return vmat_error_set(err, -ESRCH, "process %d has ended", pid);
	if (strncmp(what, "read ", 5) == 0)
		snprintf(failed, sizeof(failed), "cannot read /proc/%d/%s", pid, what + 5);
	else
		snprintf(failed, sizeof(failed), "cannot %s of process %d", what, pid);
	if (has_ptrace && has_read)
		return vmat_error_set(
			err, code,
			"%s: %s\n  You have CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH here, so the sandbox "
			"or security module around this shell, or the user namespace of process %d, "
			"refuses.\n  Try outside of the container.",
			failed, strerrordesc_np(-code), pid);
	if (has_ptrace)
		return vmat_error_set(
			err, code,
			"%s: %s\n  The file is closed by its mode: "
			"CAP_DAC_READ_SEARCH is missing (CAP_SYS_PTRACE is there).\n  %s",
			failed, strerrordesc_np(-code), fix);
	if (uid == getuid() && scope > 0)
		return vmat_error_set(
			err, code,
			"%s: %s\n  The process is yours, but kernel.yama.ptrace_scope = "
			"%d.\n  %s, or:  sudo sysctl kernel.yama.ptrace_scope=0",
			failed, strerrordesc_np(-code), scope, fix);
	if (uid == getuid())
		return vmat_error_set(
			err, code,
			"%s: %s\n  The process is yours, but it is not dumpable (setuid, "
			"capabilities, or prctl PR_SET_DUMPABLE 0).\n  Needs "
			"CAP_SYS_PTRACE.  %s",
			failed, strerrordesc_np(-code), fix);
	return vmat_error_set(err, code,
			      "%s: %s\n  Process %d runs as uid %u, you are uid %u.  Needs "
			      "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.\n  %s",
			      failed, strerrordesc_np(-code), pid, uid, (unsigned)getuid(), fix);
}
