/* SPDX-License-Identifier: MIT */
/*
 * target.h: where memory comes from.
 *
 * A target is one process (alive, recorded as a tree of /proc files, or a core file). Everything that is read of
 * it is bound to that process: pids are reused, so a live target holds a pidfd and an open
 * directory of /proc/PID, and asks the pidfd again at the end (vmat_target_check).
 * Or it is firmware: an ELF file, and the memory of the machine that runs it, behind a gdb server or in files.
 *
 * Reading a process never changes or stops it: memory is read only where pages are present. A gdb server
 * stops its machine while somebody is connected; for how long is measured (vmat_target_hold).
 */
#ifndef VMATLAS_TARGET_H
#define VMATLAS_TARGET_H

#include <sys/types.h>

#include <vmatlas/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_target;

/* What a source can say about a page. */
enum vmat_page_flag {
	VMAT_PAGE_PRESENT = 1 << 0,   /* in memory and mapped by the target */
	VMAT_PAGE_SWAPPED = 1 << 1,   /* in swap; guards and markers are never counted here */
	VMAT_PAGE_FILE = 1 << 2,      /* a page of a file or of shared memory */
	VMAT_PAGE_ZERO = 1 << 3,      /* the kernel's zero page: present, but costs no memory */
	VMAT_PAGE_HUGE = 1 << 4,      /* mapped by one entry of a higher page table (PMD or PUD) */
	VMAT_PAGE_GUARD = 1 << 5,     /* a guard page that no VMA shows (MADV_GUARD_INSTALL) */
	VMAT_PAGE_EXCLUSIVE = 1 << 6, /* mapped by this process only (pagemap bit 56) */
	VMAT_PAGE_SOFT_DIRTY = 1 << 7,
	VMAT_PAGE_LEFT_OUT = 1 << 8, /* a core file lacks it: nothing is known of it */
	VMAT_PAGE_DUMPED = 1 << 9,   /* a core file holds it */
};

/* A run of equal pages, [start, end). */
struct vmat_page_run {
	uint64_t start;
	uint64_t end;
	uint32_t flags; /* enum vmat_page_flag */
};

/* What a core file says of how it came about. Lifetime: the target's. */
struct vmat_core_info {
	const char *path;
	const char *writer;  /* "the kernel", "gdb", "vmatlas" */
	int signal;          /* that ended the process; 0: none, or not known */
	int signal_code;     /* si_code */
	pid_t signal_tid;    /* the thread that got it */
	uint64_t fault_addr; /* of SIGSEGV and its like; VMAT_UNKNOWN else */
	char lacks[300];     /* what the file should hold and does not, for people; "": nothing */
};

/*
 * What is known of firmware: a program without a kernel that could be asked. Lifetime: the target's.
 * It has memory and an ELF file, and no regions, pages, threads or texts of proc(5).
 */
struct vmat_firmware_info {
	const char *path; /* its ELF file */
	const char
		*memory; /* where its memory comes from, for people: "gdb server 127.0.0.1:1234" */
	bool is_big_endian;
	bool is_from_server; /* else from files */
	bool was_halted;     /* it stood before we came, and was left standing */
	uint64_t
		halted_ns; /* how long it stood for us; VMAT_UNKNOWN before it was let go, or for files */
	uint64_t
		checked_bytes; /* of its code and constants that were compared with the ELF file; 0: none */
};

/* Who the target is. Strings are as the kernel gives them: hostile, to be escaped before printing. */
struct vmat_process {
	pid_t pid;
	pid_t ppid;
	uint32_t uid;         /* UINT32_MAX when not known */
	char state;           /* 'R', 'S', ... as in proc(5) stat; '?': not known */
	unsigned word_size;   /* 4 or 8; 0 when not known */
	uint64_t start_ticks; /* stat: starttime */
	uint64_t threads;     /* stat: num_threads */
	char comm[64];        /* stat: comm */
	char *exe;            /* readlink of exe; NULL when not permitted */
	uint64_t stack_addr;  /* stat: startstack; 0 when not permitted. Changes at exec */
	uint64_t auxv_base;   /* AT_BASE: where the dynamic loader lies; 0 when not known */
	uint64_t auxv_phdr;   /* AT_PHDR; 0 when not known */
	uint64_t auxv_vdso;   /* AT_SYSINFO_EHDR; 0 when not known */
	const struct vmat_core_info *core;         /* NULL: no core file */
	const struct vmat_firmware_info *firmware; /* NULL: a process */
	uint64_t stack_limit; /* limits: Max stack size (soft); UINT64_MAX-ish when unlimited */
};

#define VMAT_STACK_UNLIMITED (UINT64_MAX >> 1)

struct vmat_target_options {
	size_t size;      /* sizeof(struct vmat_target_options) */
	const char *root; /* a recorded /proc tree; NULL for the living /proc */
	/* With one of these `spec` is the path of an ELF file of firmware. Not both. */
	const char *gdb; /* "HOST:PORT" of a gdb server */
	const char *const
		*ram; /* "FILE@ADDR": the memory from ADDR on; the last that has a byte counts */
	size_t ram_count;
};

/*
 * Opens the target that `spec` names: a pid, "@name" (the exact comm or the base name of exe), or the
 * path of a core file, which is anything else (and none with `root`).
 *
 * Errors: -EINVAL the spec is malformed; -ESRCH no such process, or it has ended, is a zombie or a
 * kernel thread (the text says which); -EEXIST "@name" fits several (the text lists them);
 * -EACCES/-EPERM not permitted to know even its name (hidepid); -ENOENT the recorded tree lacks it;
 * -EBADMSG what is recorded of it is not in the form of proc(5), or the core file is broken; -ENOEXEC
 * the file is no core file (the text says what it is).
 * A process whose memory may not be read is still opened: reading its map then fails.
 * Needs: nothing. Cost: about 20 us; "@name" reads the names of all processes.
 */
int vmat_target_open(struct vmat_target **ret, const char *spec,
		     const struct vmat_target_options *options, struct vmat_error *err);

/*
 * Firmware behind a gdb server: connects, which halts it, and compares its code with the ELF file. Reading does so by
 * itself where this was not called; a failure is then the result of the read, and vmat_target_check has its text.
 * All other targets: 0, nothing is done. What can be done without the target's memory should be done before.
 *
 * Errors: -ESRCH nobody listens there, or the connection was closed; -ETIMEDOUT no answer in time; -EPROTO the
 * server breaks the protocol; -EBADMSG the memory does not hold this firmware; -EACCES; -EINVAL no such host.
 * After the first failure all further calls fail with it, until the target is closed.
 */
int vmat_target_hold(struct vmat_target *target, struct vmat_error *err);

/*
 * The last read is done: lets the firmware run again (or stand, if it stood before), disconnects, and sets
 * halted_ns. vmat_target_close does it, too, and so does a child of ours when we are killed. 0 or the error of
 * vmat_target_hold; reading again holds it again.
 */
int vmat_target_release(struct vmat_target *target, struct vmat_error *err);

/* Accepts NULL; returns NULL. */
struct vmat_target *vmat_target_close(struct vmat_target *target);

/* Lifetime: that of the target. */
const struct vmat_process *vmat_target_process(const struct vmat_target *target);

/*
 * Is it still the same process, running the same program?
 * Errors: -ESRCH it has ended; -ESTALE it has executed another program since it was opened.
 */
int vmat_target_check(struct vmat_target *target, struct vmat_error *err);

/*
 * Names what the caller lacks to do `what` to the target, and the smallest fix: "read maps" speaks of
 * /proc/PID/maps, anything else is a verb ("stop the threads"). Fills *err with whole sentences and
 * returns `code` (-EACCES or -EPERM), or -ESRCH: the kernel refuses what is left of a dead process, too.
 */
int vmat_target_explain(const struct vmat_target *target, const char *what, int code,
			struct vmat_error *err);

#ifdef __cplusplus
}
#endif
#endif
