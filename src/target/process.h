/* SPDX-License-Identifier: MIT */
/*
 * process.h: who a process is, read from the texts of its /proc folder.
 */
#ifndef VMAT_PROCESS_H
#define VMAT_PROCESS_H

#include <vmatlas/target.h>

enum { VMAT_PF_KTHREAD = 0x00200000 }; /* include/linux/sched.h: stat's flags of a kernel thread */

/* The fields of /proc/PID/stat that are used. */
struct vmat_stat {
	pid_t pid;
	pid_t ppid;
	char comm[64];
	char state;
	uint64_t flags;
	uint64_t faults_minor;
	uint64_t faults_major;
	uint64_t cpu_ticks; /* utime + stime */
	uint64_t threads;
	uint64_t start_ticks;
	uint64_t start_code;
	uint64_t stack_addr;
};

/* Parses a stat text; comm may hold spaces, parentheses and newlines. 0 or -EINVAL. Pure. */
int vmat_stat_parse(struct vmat_stat *ret, const char *text, size_t size);

/* The value of an auxv entry, for words of 4 or 8 bytes; 0 when it is not there. Pure. */
uint64_t vmat_auxv_find(const void *auxv, size_t size, unsigned word_size, uint64_t type);

/* 4 or 8 by the shape of an auxv; 0 when it is empty. Pure. */
unsigned vmat_auxv_word_size(const void *auxv, size_t size);

/* The soft limit of a line of /proc/PID/limits in bytes; VMAT_STACK_UNLIMITED. 0 when not found. Pure. */
uint64_t vmat_limit_parse(const char *limits, const char *name);

/* Fills the process from the folder `dir`. -ESRCH when it has gone. */
int vmat_process_read(struct vmat_process *ret, uint64_t *stat_flags, int dir);

#endif
