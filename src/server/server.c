/* SPDX-License-Identifier: MIT */
/*
 * server.c: HTTP by libmicrohttpd, in a thread of its own (server.h).
 *
 * The library's time-out counts from the last byte, so a client that sends one now and then would stay for ever: each connection
 * has to finish a request every IDLE_S seconds, whatever it sends.
 */
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <vmatlas/server.h>

#include "server/route.h"
#include "sys/sys_socket.h"

enum {
	CONNECTIONS_MAX = 64,
	SILENT_S = 10, /* without a byte */
	IDLE_S = 20,   /* without a finished request: who scrapes more rarely connects again */
	CONNECTION_MEMORY = 16384, /* headers and all */
};

struct connection {
	int fd; /* -1: free */
	time_t since;
};

struct vmat_server {
	struct MHD_Daemon *daemon;
	unsigned port;
	pthread_mutex_t lock; /* of what follows; all of it is short */
	struct vmat_page pages[VMAT_PAGES_MAX];
	struct MHD_Response *responses[VMAT_PAGES_MAX];
	size_t pages_count;
	struct MHD_Response *not_found, *not_allowed;
	struct connection connections[CONNECTIONS_MAX];
};

static time_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **request)
{
	static char begun;
	struct vmat_server *server = context;
	struct MHD_Response *response;
	struct vmat_route route;
	enum MHD_Result result;

	(void)version, (void)upload;
	/* An answer to the first call would end the connection; bodies are read and thrown away. */
	if (!*request) {
		*request = &begun;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	pthread_mutex_lock(&server->lock);
	route = vmat_route(
		server->pages, server->pages_count, method, url,
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
	response = route.status == MHD_HTTP_OK                   ? server->responses[route.page]
		   : route.status == MHD_HTTP_METHOD_NOT_ALLOWED ? server->not_allowed
								 : server->not_found;
	result = MHD_queue_response(connection, route.status, response);
	pthread_mutex_unlock(&server->lock);
	return result;
}

static int fd_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? info->connect_fd : -1;
}

/* A connection begins or ends. */
static void note_connection(void *context, struct MHD_Connection *connection, void **own,
			    enum MHD_ConnectionNotificationCode code)
{
	struct vmat_server *server = context;
	int fd = fd_of(connection), wanted = code == MHD_CONNECTION_NOTIFY_STARTED ? -1 : fd;

	(void)own;
	pthread_mutex_lock(&server->lock);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		if (server->connections[i].fd != wanted)
			continue;
		server->connections[i] = (struct connection){ wanted == -1 ? fd : -1, now_s() };
		break;
	}
	pthread_mutex_unlock(&server->lock);
}

/* A request is answered: its connection may stay for another while. */
static void note_request(void *context, struct MHD_Connection *connection, void **request,
			 enum MHD_RequestTerminationCode code)
{
	struct vmat_server *server = context;
	int fd = fd_of(connection);

	(void)request, (void)code;
	pthread_mutex_lock(&server->lock);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		if (server->connections[i].fd == fd)
			server->connections[i].since = now_s();
	}
	pthread_mutex_unlock(&server->lock);
}

void vmat_server_expire(struct vmat_server *server)
{
	time_t now = now_s();

	/* The descriptor is not closed before the library has told us, for which it needs the lock. */
	pthread_mutex_lock(&server->lock);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		if (server->connections[i].fd >= 0 && now - server->connections[i].since > IDLE_S)
			shutdown(server->connections[i].fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&server->lock);
}

static struct MHD_Response *text_response(const char *text)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);

	if (response)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
					"text/plain; charset=utf-8");
	return response;
}

static int start_daemon(struct vmat_server *server, int fd)
{
	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer, server,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_NOTIFY_CONNECTION, note_connection, server, MHD_OPTION_NOTIFY_COMPLETED,
		note_request, server, MHD_OPTION_END);
	return server->daemon ? 0 : -ENOMEM;
}

int vmat_server_start(struct vmat_server **ret, const char *address, struct vmat_error *err)
{
	struct vmat_server *server;
	unsigned port = 0;
	int code, fd = vmat_sys_listen(address, CONNECTIONS_MAX, &port);

	if (fd == -EINVAL)
		return vmat_error_set(
			err, fd,
			"'%.64s' is no address to listen on.\n  One is 127.0.0.1:9742, or [::1]:9742",
			address);
	if (fd < 0)
		return vmat_error_set(err, fd, "cannot listen on %.64s: %s", address,
				      strerrordesc_np(-fd));
	server = calloc(1, sizeof(*server));
	if (!server) {
		close(fd);
		return vmat_error_set(err, -ENOMEM, "out of memory");
	}
	server->port = port;
	pthread_mutex_init(&server->lock, NULL);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		server->connections[i].fd = -1;
	server->not_found = text_response("There is no such page. /metrics is one.\n");
	server->not_allowed = text_response("Pages here are read: by GET or HEAD.\n");
	if (server->not_allowed)
		MHD_add_response_header(server->not_allowed, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	code = server->not_found && server->not_allowed ? start_daemon(server, fd) : -ENOMEM;
	if (code) {
		close(fd);
		vmat_server_stop(server);
		return vmat_error_set(err, code, "the server could not be started: out of memory");
	}
	*ret = server;
	return 0;
}

struct vmat_server *vmat_server_stop(struct vmat_server *server)
{
	if (!server)
		return NULL;
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	for (size_t i = 0; i < server->pages_count; i++)
		MHD_destroy_response(server->responses[i]);
	if (server->not_found)
		MHD_destroy_response(server->not_found);
	if (server->not_allowed)
		MHD_destroy_response(server->not_allowed);
	pthread_mutex_destroy(&server->lock);
	free(server);
	return NULL;
}

unsigned vmat_server_port(const struct vmat_server *server)
{
	return server->port;
}

int vmat_server_publish(struct vmat_server *server, const char *path, const char *accept,
			const char *content_type, const void *text, size_t size)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		size, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
	struct MHD_Response *before = NULL;
	size_t i = 0;

	if (!response || MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
						 content_type) != MHD_YES) {
		if (response)
			MHD_destroy_response(response);
		return -ENOMEM;
	}
	pthread_mutex_lock(&server->lock);
	while (i < server->pages_count && (strcmp(server->pages[i].path, path) != 0 ||
					   strcmp(server->pages[i].accept, accept) != 0))
		i++;
	if (i == VMAT_PAGES_MAX) {
		before = response;
	} else if (i < server->pages_count) {
		before = server->responses[i];
		server->responses[i] = response;
	} else {
		snprintf(server->pages[i].path, sizeof(server->pages[i].path), "%s", path);
		snprintf(server->pages[i].accept, sizeof(server->pages[i].accept), "%s", accept);
		server->responses[i] = response;
		server->pages_count++;
	}
	pthread_mutex_unlock(&server->lock);
	/* Requests that are being answered hold it as long as they need it. */
	if (before)
		MHD_destroy_response(before);
	return before == response ? -ENOSPC : 0;
}
