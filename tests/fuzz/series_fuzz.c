/* SPDX-License-Identifier: MIT */
/* Any series: unknown and huge numbers, equal and backward times, events in any order. A judgement must be well-formed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/analyze.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmat_judgement *judgement = malloc(sizeof(*judgement));
	struct vmat_event events[4];
	struct vmat_series series = { .interval_ns = 1000000000, .events = events };
	size_t count = size / 16 < 600 ? size / 16 : 600;

	series.samples = calloc(count + 1, sizeof(*series.samples));
	if (!series.samples || !judgement)
		abort();
	memset(events, 0, sizeof(events));
	for (size_t i = 0; i < count; i++) {
		uint64_t words[2];

		memcpy(words, data + 16 * i, sizeof(words));
		series.samples[i].mono_ns = words[0];
		for (unsigned m = 0; m < VMAT_METRIC_COUNT; m++)
			series.samples[i].values[m] = words[1] >> (m % 4 * 8);
		for (unsigned k = 0; k < VMAT_KIND_COUNT; k++)
			series.samples[i].kinds[k] =
				(struct vmat_kind_sample){ words[1] % (k + 1), words[1], words[1] };
		if (i < 4) {
			events[i].type = words[1] % VMAT_EVENT_TYPE_COUNT;
			events[i].mono_ns = words[0];
			series.events_count++;
		}
	}
	series.samples_count = count;
	vmat_judge(judgement, &series);
	if ((unsigned)judgement->verdict >= VMAT_VERDICT_COUNT || !judgement->findings_count ||
	    !(judgement->confidence >= 0 && judgement->confidence <= 1) || !judgement->sentence[0])
		abort();
	for (size_t i = 0; i < judgement->findings_count; i++)
		if (!judgement->findings[i].id || isnan(judgement->findings[i].weight))
			abort();
	free(series.samples);
	free(judgement);
	return 0;
}
