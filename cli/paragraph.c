/* SPDX-License-Identifier: MIT */
/* A text broken at its blanks: see paragraph.h. */
#include "paragraph.h"

#include <string.h>

enum { WIDTH_USUAL = 100, WIDTH_LEAST = 40 };

void cli_paragraph(const struct cli_output *output, unsigned indent, const char *first,
		   const char *text)
{
	size_t width = output->text.width ? output->text.width : WIDTH_USUAL;
	size_t used = indent + strlen(first);

	if (width < WIDTH_LEAST)
		width = WIDTH_LEAST;
	printf("%*s%s", (int)indent, "", first);
	while (*text) {
		size_t length = strcspn(text, " ");

		if (used + length > width && used > indent + strlen(first)) {
			printf("\n%*s", (int)indent, "");
			used = indent;
		}
		printf("%.*s", (int)length, text);
		used += length + 1;
		text += length;
		text += strspn(text, " ");
		if (*text && used + strcspn(text, " ") <= width)
			putchar(' ');
	}
	putchar('\n');
}
