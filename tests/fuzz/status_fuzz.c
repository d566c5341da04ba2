/* SPDX-License-Identifier: MIT */
/* Counters out of any status: a number is one that stands there, and what does not is unknown. */
#include <vmatlas/map.h>

#include "fuzz_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmat_target *target = fuzz_record("status", data, size);
	struct vmat_counters counters;

	if (!target) /* "Tgid" of another process: this one is a thread */
		return 0;
	if (vmat_counters_read(&counters, target, NULL))
		abort();
	if (counters.faults_minor != 1 || counters.faults_major != 2 ||
	    vmat_is_known(counters.regions_max))
		abort();
	if (vmat_is_known(counters.rss) && !memmem(data, size, "VmRSS:", 6))
		abort();
	vmat_target_close(target);
	return 0;
}
