/* SPDX-License-Identifier: MIT */
/* Pages of a record out of any text: the same pages for arrays of every size. */
#include "fuzz_record.h"
#include "target/target_source.h"

/* The sum of all pages, each run with its own weight; UINT64_MAX when it is no text of pages. */
static uint64_t scan(struct vmat_target *target, size_t count, uint32_t want)
{
	struct vmat_page_run runs[8];
	uint64_t at = 0, last = 0, sum = 0;

	while (at < UINT64_MAX) {
		uint64_t from = at;
		uint32_t known;
		int got = vmat_source_scan(target, &at, UINT64_MAX, want, runs, count, &known);

		if (got < 0)
			return UINT64_MAX;
		if ((size_t)got > count || at <= from)
			abort();
		for (int i = 0; i < got; i++) {
			if (runs[i].start < last || runs[i].end <= runs[i].start ||
			    (runs[i].start | runs[i].end) & 4095 || !(runs[i].flags & want))
				abort();
			last = runs[i].end;
			sum += (runs[i].end - runs[i].start) * runs[i].flags;
		}
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmat_target *target = fuzz_record("pages", data, size);

	if (!target)
		abort();
	for (uint32_t want = 1; want < 256; want = want * 2 + 1) {
		if (scan(target, 8, want) != scan(target, 1, want))
			abort();
	}
	vmat_target_close(target);
	return 0;
}
