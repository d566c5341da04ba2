/* SPDX-License-Identifier: MIT */
/* Any list of mounts: a device has one kind, and only a huge page file system a page size. */
#include "fuzz_record.h"
#include "target/device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmat_target *target = fuzz_record("mountinfo", data, size);

	if (!target)
		abort();
	for (uint32_t minor = 0; minor < 32; minor++) {
		uint64_t page_size = 77, again = 78;
		enum vmat_device_kind kind =
			vmat_source_device(target, minor & 1, minor, &page_size);

		if (kind != vmat_source_device(target, minor & 1, minor, &again) ||
		    again != page_size || (page_size && kind != VMAT_DEVICE_HUGETLB))
			abort();
	}
	if (vmat_source_open_file(target, "/a/b", 0, 1, 1) >= 0)
		abort();
	vmat_target_close(target);
	return 0;
}
