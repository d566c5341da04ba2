/* SPDX-License-Identifier: MIT */
/* The texts and tables that say who a process is: stat, and auxv with words of both sizes. */
#include <stdlib.h>
#include <string.h>

#include "target/process.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmat_stat stat = { .pid = -77 };
	unsigned word_size = vmat_auxv_word_size(data, size);
	char *text = malloc(size + 1);

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	if (vmat_stat_parse(&stat, text, size)
		    ? stat.pid != -77
		    : strnlen(stat.comm, sizeof(stat.comm)) == sizeof(stat.comm))
		abort();
	if (word_size) {
		for (uint64_t type = 0; type < 64; type++)
			vmat_auxv_find(data, size, word_size, type);
		vmat_auxv_find(data, size, 12 - word_size, 3);
	}
	if (vmat_limit_parse(text, "Max stack size") && !strstr(text, "Max stack size"))
		abort();
	free(text);
	return 0;
}
