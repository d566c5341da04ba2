/* SPDX-License-Identifier: MIT */
/*
 * gdb_remote.h: memory of a machine behind a gdb server (QEMU, OpenOCD, J-Link, probe-rs), which stands while we
 * are connected.
 *
 * Who connects must see to it that the machine runs again, even when we are killed: closing the connection alone leaves
 * it standing (QEMU 7.2: measured). So a child of ours, the keeper, holds the connection too, in which no signal
 * but SIGKILL does anything, and detaches when we are gone.
 */
#ifndef VMAT_GDB_REMOTE_H
#define VMAT_GDB_REMOTE_H

#include <sys/types.h>

#include <vmatlas/base.h>

struct vmat_gdb;

/* Is this "HOST:PORT"? -EINVAL if not; a host may stand in brackets, and be left out. */
int vmat_gdb_check_place(const char *place, struct vmat_error *err);

/*
 * Connects, and asks what the server can. Errors: -ESRCH nobody listens, no such host, the connection was closed;
 * -ETIMEDOUT; -EPROTO; -ENOMEM; others of the network. The text says which.
 */
int vmat_gdb_open(struct vmat_gdb **ret, const char *place, struct vmat_error *err);

/*
 * Reads memory: bytes, fewer up to where the server refuses, which may be 0; or an error of vmat_gdb_open. One more:
 * -ETIMEDOUT when the machine has stood for too long.
 */
ssize_t vmat_gdb_read(struct vmat_gdb *gdb, uint64_t addr, void *buffer, size_t size,
		      struct vmat_error *err);

/* It stood already when we came. Only QEMU tells. */
bool vmat_gdb_was_halted(const struct vmat_gdb *gdb);

/*
 * Lets the machine go on, unless it stood before, and disconnects. 0 or an error of vmat_gdb_open: then it may stand. Frees
 * `gdb` anyhow; *halted_ns is how long we were connected.
 */
int vmat_gdb_close(struct vmat_gdb *gdb, uint64_t *halted_ns, struct vmat_error *err);

#endif
