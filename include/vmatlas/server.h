/* SPDX-License-Identifier: MIT */
/*
 * server.h: pages over HTTP that somebody else makes.
 *
 * A page is published under a path and served as it is until it is published again: a request never causes work. Clients that
 * are slow, silent or endless are cut off; there are few at a time.
 */
#ifndef VMATLAS_SERVER_H
#define VMATLAS_SERVER_H

#include <vmatlas/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_server;

/*
 * Listens on "127.0.0.1:9742", "[::1]:9742" or "0.0.0.0:9742"; port 0: any that is free. Serves from a thread of its own.
 * Errors: -EINVAL no such address; -EADDRINUSE, -EACCES, ... as bind(2) says.
 */
int vmat_server_start(struct vmat_server **ret, const char *address, struct vmat_error *err);
struct vmat_server *vmat_server_stop(struct vmat_server *server);

/* The port that it listens on. */
unsigned vmat_server_port(const struct vmat_server *server);

/*
 * The page of a path, in one form that `accept` asks for ("application/openmetrics-text"), or else ("") in the usual one. Copies
 * the text. Must have been published once before the first request of that path is answered with 200. 0 or -ENOMEM.
 */
int vmat_server_publish(struct vmat_server *server, const char *path, const char *accept,
			const char *content_type, const void *text, size_t size);

/* Cuts off who has kept a connection for long without a request; to be called every few seconds. */
void vmat_server_expire(struct vmat_server *server);

#ifdef __cplusplus
}
#endif
#endif
