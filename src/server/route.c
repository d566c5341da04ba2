/* SPDX-License-Identifier: MIT */
#include "server/route.h"

#include <string.h>
#include <strings.h>

enum { ALL = 1000 };

static const char *skip_blanks(const char *c)
{
	while (*c == ' ' || *c == '\t')
		c++;
	return c;
}

/* "q=0.75" in what follows a media type, up to a comma; without one it is 1. */
static unsigned quality_of(const char *c)
{
	while (*c && *c != ',') {
		unsigned quality = 0, unit = ALL;

		if (*c++ != ';')
			continue;
		c = skip_blanks(c);
		if ((*c != 'q' && *c != 'Q') || c[1] != '=')
			continue;
		for (c += 2; (*c >= '0' && *c <= '9') || *c == '.'; c++) {
			if (*c == '.')
				continue;
			quality += (unsigned)(*c - '0') * unit;
			unit /= 10;
		}
		return quality < ALL ? quality : ALL;
	}
	return ALL;
}

/* How exactly a media range of the header names the type: 3 itself, 2 type / any, 1 any / any, 0 not at all. */
static unsigned fit(const char *range, size_t length, const char *type)
{
	const char *slash = strchr(type, '/');

	if (length == strlen(type) && strncasecmp(range, type, length) == 0)
		return 3;
	if (length == 3 && strncmp(range, "*/*", 3) == 0)
		return 1;
	if (slash && length == (size_t)(slash - type) + 2 && range[length - 1] == '*' &&
	    strncasecmp(range, type, length - 1) == 0)
		return 2;
	return 0;
}

unsigned vmat_accept_quality(const char *accept, const char *type)
{
	unsigned best_fit = 0, quality = 0;

	if (!accept || !*skip_blanks(accept))
		return ALL;
	for (const char *c = accept; *c;) {
		const char *range = skip_blanks(c);
		size_t length = strcspn(range, ",; \t");
		unsigned fits = fit(range, length, type), wants = quality_of(range + length);

		/* Of two of one kind (two versions of a format) the one that is wanted more counts. */
		if (fits > best_fit || (fits == best_fit && fits && wants > quality))
			quality = wants;
		if (fits > best_fit)
			best_fit = fits;
		c = strchrnul(range, ',');
		c += *c == ',';
	}
	return quality;
}

struct vmat_route vmat_route(const struct vmat_page *pages, size_t pages_count, const char *method,
			     const char *path, const char *accept)
{
	struct vmat_route route = { .status = 404 };
	unsigned best = 0;

	for (size_t i = 0; i < pages_count; i++) {
		unsigned wanted;

		if (strcmp(pages[i].path, path) != 0)
			continue;
		/* The usual form is for who wants nothing else, whatever that says: better than an error. */
		wanted = pages[i].accept[0]
				 ? accept ? vmat_accept_quality(accept, pages[i].accept) * 2 : 0
				 : 1 + vmat_accept_quality(accept, "text/plain") * 2;
		if (route.status == 404 || wanted >= best) {
			route.status = 200;
			route.page = i;
			best = wanted;
		}
	}
	if (route.status == 200 && strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		route.status = 405;
	return route;
}
