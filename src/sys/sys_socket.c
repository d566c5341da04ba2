/* SPDX-License-Identifier: MIT */
#include "sys/sys_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sys/sys_ptrace.h"

/* Waits for an event until a point in time: 0, -ETIMEDOUT or -errno. */
static int wait_until(int fd, short events, uint64_t end_ns)
{
	for (;;) {
		uint64_t now_ns = vmat_sys_now_ns();
		struct pollfd waiting = { .fd = fd, .events = events };
		/* Rounded up, so that it does not turn in circles for the last millisecond. */
		int left_ms = now_ns < end_ns ? (int)((end_ns - now_ns + 999999) / 1000000) : 0;
		int got = poll(&waiting, 1, left_ms);

		if (got > 0)
			return 0;
		if (got < 0 && errno != EINTR)
			return -errno;
		if (now_ns >= end_ns)
			return -ETIMEDOUT;
	}
}

static uint64_t end_of(int timeout_ms)
{
	return vmat_sys_now_ns() + (uint64_t)timeout_ms * 1000000;
}

static int connect_to(int fd, const struct addrinfo *address, uint64_t end_ns)
{
	const int on = 1;
	int err = 0;
	socklen_t size = sizeof(err);

	if (connect(fd, address->ai_addr, address->ai_addrlen) < 0)
		err = errno == EINPROGRESS || errno == EINTR ? 0 : -errno;
	if (!err)
		err = wait_until(fd, POLLOUT, end_ns);
	if (!err && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0)
		err = errno;
	/* Each request waits for its answer: a small packet must not be held back. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return err > 0 ? -err : err;
}

int vmat_sys_socket_connect(const char *host, const char *port, int timeout_ms,
			    int (*before)(void *context, int fd), void *context)
{
	const struct addrinfo wanted = { .ai_socktype = SOCK_STREAM };
	uint64_t end_ns;
	struct addrinfo *found = NULL;
	int saved = errno, fd = -1, err = -ENXIO, refused = 0;

	if (getaddrinfo(host, port, &wanted, &found) == 0) {
		end_ns = end_of(timeout_ms);
		for (const struct addrinfo *a = found; a && err && !refused; a = a->ai_next) {
			fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				    a->ai_protocol);
			err = fd < 0 ? -errno : 0;
			if (!err)
				err = refused = before(context, fd);
			if (!err)
				err = connect_to(fd, a, end_ns);
			if (err && fd >= 0)
				close(fd);
		}
		freeaddrinfo(found);
	}
	errno = saved;
	return err ? err : fd;
}

int vmat_sys_socket_send(int fd, const void *bytes, size_t size, int timeout_ms)
{
	uint64_t end_ns = end_of(timeout_ms);
	const char *at = bytes;
	int saved = errno, err = 0;

	while (size && !err) {
		ssize_t sent = send(fd, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent >= 0) {
			at += sent;
			size -= (size_t)sent;
		} else if (errno == EAGAIN) {
			err = wait_until(fd, POLLOUT, end_ns);
		} else if (errno != EINTR) {
			err = -errno;
		}
	}
	errno = saved;
	return err;
}

ssize_t vmat_sys_socket_receive(int fd, void *bytes, size_t size, int timeout_ms)
{
	const int on = 1;
	int saved = errno;
	ssize_t got;

	/* A server that sends an answer in two parts waits for our word on the first, up to 40 ms each time. */
	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
	got = wait_until(fd, POLLIN, end_of(timeout_ms));
	if (!got) {
		do
			got = recv(fd, bytes, size, MSG_DONTWAIT);
		while (got < 0 && errno == EINTR);
		if (got < 0)
			got = -errno;
	}
	errno = saved;
	return got;
}

int vmat_sys_socket_pair(int ret[2])
{
	int saved = errno;
	int err = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret) < 0 ? -errno : 0;

	errno = saved;
	return err;
}

/* "127.0.0.1:9742" or "[::1]:9742". */
static int parse_address(const char *text, struct sockaddr_storage *ret)
{
	struct sockaddr_in *four = (void *)ret;
	struct sockaddr_in6 *six = (void *)ret;
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2], *end;
	size_t length = colon ? (size_t)(colon - text) : 0;
	unsigned long port;

	*ret = (struct sockaddr_storage){ 0 };
	if (!colon || !length || length >= sizeof(host) || colon[1] < '0' || colon[1] > '9')
		return -EINVAL;
	port = strtoul(colon + 1, &end, 10);
	if (*end || port > 65535)
		return -EINVAL;
	snprintf(host, sizeof(host), "%.*s", (int)length, text);
	if (host[0] == '[' && host[length - 1] == ']') {
		host[length - 1] = '\0';
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)port);
		return inet_pton(AF_INET6, host + 1, &six->sin6_addr) == 1 ? 0 : -EINVAL;
	}
	four->sin_family = AF_INET;
	four->sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &four->sin_addr) == 1 ? 0 : -EINVAL;
}

/* The port has the same place in addresses of both families, and the larger of them has room for both. */
_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
	       "ports of both families");

static int port_of(int fd, unsigned *ret)
{
	struct sockaddr_in6 bound = { 0 };
	socklen_t size = sizeof(bound);

	if (getsockname(fd, (void *)&bound, &size))
		return -errno;
	*ret = ntohs(bound.sin6_port);
	return 0;
}

int vmat_sys_listen(const char *address, int waiting, unsigned *ret_port)
{
	struct sockaddr_storage where;
	const int on = 1;
	int fd, err = parse_address(address, &where);
	socklen_t size = where.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
						     : sizeof(struct sockaddr_in);

	if (err)
		return err;
	fd = socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* So that a restart does not wait for connections that have ended. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const void *)&where, size) || listen(fd, waiting))
		err = -errno;
	if (!err)
		err = port_of(fd, ret_port);
	if (!err)
		return fd;
	close(fd);
	return err;
}
