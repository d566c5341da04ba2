/* SPDX-License-Identifier: MIT */
/*
 * sys_socket.h: connections over TCP, as calls that return -errno and end in time.
 */
#ifndef VMAT_SYS_SOCKET_H
#define VMAT_SYS_SOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Connects to one of the addresses of a host, with a new socket for each; before(context, fd) is called before it is
 * connected, and what it returns but 0 ends all. A descriptor (O_CLOEXEC, O_NONBLOCK) or -errno: -ECONNREFUSED, -ETIMEDOUT,
 * ...; -ENXIO when the host has no address, which may take as long as the resolver needs.
 */
int vmat_sys_socket_connect(const char *host, const char *port, int timeout_ms,
			    int (*before)(void *context, int fd), void *context);

/* Sends all of it: 0, or -errno; -ETIMEDOUT. */
int vmat_sys_socket_send(int fd, const void *bytes, size_t size, int timeout_ms);

/* The next bytes that come: how many, 0 when the other side has closed, or -errno; -ETIMEDOUT. */
ssize_t vmat_sys_socket_receive(int fd, void *bytes, size_t size, int timeout_ms);

/*
 * Listens at "127.0.0.1:9742" or "[::1]:9742", port 0: any that is free, for at most `waiting` who have not been taken yet. A
 * descriptor (O_CLOEXEC, O_NONBLOCK) or -errno: -EINVAL no such address, -EADDRINUSE, -EACCES, ...
 */
int vmat_sys_listen(const char *address, int waiting, unsigned *ret_port);

/* Two ends that are connected (O_CLOEXEC). 0 or -errno. */
int vmat_sys_socket_pair(int ret[2]);

#endif
