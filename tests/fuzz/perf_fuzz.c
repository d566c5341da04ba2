/* SPDX-License-Identifier: MIT */
/* The ring of perf events: two bytes say where it is read from and to, the rest is the ring. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sys/perf_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RING = 512 };

static void count(const struct vmat_perf_record *record, void *context)
{
	if (record->type > VMAT_PERF_EXEC)
		abort();
	++*(long *)context;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *ring = calloc(1, RING);
	uint64_t tail, head;
	long told = 0, all;

	if (!ring)
		abort();
	if (size >= 2) {
		tail = UINT64_MAX - 255 + data[0];
		head = tail + (uint64_t)data[1] * 4;
		memcpy(ring, data + 2, size - 2 < RING ? size - 2 : RING);
		all = vmat_perf_records_parse(ring, RING, tail, head, count, &told);
		if (all < 0 ? all != -EBADMSG : told > all)
			abort();
	}
	free(ring);
	return 0;
}
