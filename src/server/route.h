/* SPDX-License-Identifier: MIT */
/*
 * route.h: from a request to what is answered. Pure.
 */
#ifndef VMAT_ROUTE_H
#define VMAT_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

enum { VMAT_PAGES_MAX = 8 };

struct vmat_page {
	char path[32];
	char accept[64]; /* "" for the usual form */
};

struct vmat_route {
	unsigned status; /* 200, 404, 405 */
	size_t page;     /* of 200 */
};

/* `accept` is the header, or NULL. */
struct vmat_route vmat_route(const struct vmat_page *pages, size_t pages_count, const char *method,
			     const char *path, const char *accept);

/* How much a client wants a media type, in thousandths, by the header Accept (RFC 9110, 12.5.1); NULL: all alike. */
unsigned vmat_accept_quality(const char *accept, const char *type);

#endif
