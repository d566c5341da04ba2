/* SPDX-License-Identifier: MIT */
/* What a device number stands for: mountinfo with all its optional fields, and the kernel's own. */
#include "target/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "recording.h"

static const char mountinfo[] =
	"22 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
	"28 1 254:1 / / rw,relatime shared:1 master:2 propagate_from:3 unbindable - ext4 /dev/vda1 "
	"rw,errors=remount-ro\n"
	"30 28 0:25 / /dev/shm rw - tmpfs tmpfs rw,size=1024k\n"
	"31 28 0:26 / /dev/hugepages rw shared:9 - hugetlbfs hugetlbfs rw,relatime,pagesize=2M\n"
	"32 28 0:27 / /mnt/small\\0400:99 rw - hugetlbfs none rw,pagesize=1024K\n"
	"33 28 0:28 / /mnt/plain rw - hugetlbfs none rw\n"
	"34 28 0:29 / /mnt/1G rw - hugetlbfs pagesize=9M rw,pagesize=1G,size=2G\n"
	"35 28 0:40 / /mnt/sshfs rw - fuse.sshfs host: rw,user_id=0\n"
	"36 28 0:41 / /mnt/nfs rw - nfs4 host:/ rw\n"
	"37 28 0:42 / /mnt/9p rw - 9p host rw,trans=virtio\n"
	"38 28 0:43 / /mnt/last rw - tmpfs x rw";

static void check_find(uint32_t major, uint32_t minor, const char *want)
{
	const char *options = NULL;
	char type[16] = "kept";
	bool is_found = vmat_mountinfo_find(mountinfo, major, minor, type, sizeof(type), &options);

	assert_int_equal(is_found, want != NULL);
	assert_string_equal(type, want ? want : "kept");
	assert_int_equal(options != NULL, is_found);
}

static void test_find(void **state)
{
	const char *options;
	char type[4];

	(void)state;
	check_find(0, 20, "sysfs");
	check_find(254, 1, "ext4");
	check_find(0, 25, "tmpfs");
	check_find(0, 40, "fuse.sshfs");
	check_find(0, 43, "tmpfs");
	check_find(0, 2, NULL);  /* "0:20" begins with it */
	check_find(4, 1, NULL);  /* "254:1" ends with it */
	check_find(0, 99, NULL); /* only in the name of a folder */
	check_find(0, 100, NULL);
	assert_true(vmat_mountinfo_find(mountinfo, 0, 25, type, sizeof(type), &options));
	assert_string_equal(type, "tmp");
	assert_memory_equal(options, " tmpfs rw", 9);
}

static void test_find_malformed(void **state)
{
	static const char *const texts[] = { "",
					     "\n\n\n",
					     " 0:7 ",
					     " 0:7 - ",
					     "1 2 0:7 - ",
					     "1 2 0:7 / / rw -",
					     "1 2 0:7 / / rw - ",
					     " - x 0:7 y",
					     "1 2 0:7" };
	const char *options;
	char type[8];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (vmat_mountinfo_find(texts[i], 0, 7, type, sizeof(type), &options))
			assert_string_equal(type, "");
	}
}

static void check_device(struct vmat_target *target, uint32_t major, uint32_t minor,
			 enum vmat_device_kind kind, uint64_t page_size)
{
	for (int twice = 0; twice < 2; twice++) { /* the second one is remembered */
		uint64_t got = 77;

		assert_int_equal(vmat_source_device(target, major, minor, &got), kind);
		assert_int_equal(got, page_size);
	}
}

static void test_recorded_devices(void **state)
{
	struct recording recording;
	struct vmat_target *target;

	(void)state;
	recording_init(&recording);
	recording_add_process(&recording);
	recording_add(&recording, "77/mountinfo", mountinfo);
	target = recording_open(&recording);
	check_device(target, 0, 25, VMAT_DEVICE_TMPFS, 0);
	check_device(target, 0, 26, VMAT_DEVICE_HUGETLB, 2 << 20);
	check_device(target, 0, 27, VMAT_DEVICE_HUGETLB, 1 << 20);
	check_device(target, 0, 28, VMAT_DEVICE_HUGETLB, 0);
	check_device(target, 0, 29, VMAT_DEVICE_HUGETLB, 1 << 30);
	check_device(target, 254, 1, VMAT_DEVICE_OTHER, 0);
	check_device(target, 9, 9, VMAT_DEVICE_OTHER, 0);
	assert_true(vmat_device_may_hang(target, "/x", 0, 40));
	assert_true(vmat_device_may_hang(target, "/x", 0, 41));
	assert_true(vmat_device_may_hang(target, "/x", 0, 42));
	assert_true(vmat_device_may_hang(target, "/mnt/sshfs/x", 254, 1)); /* led through one */
	assert_true(vmat_device_may_hang(target, "/mnt/9p", 254, 1));
	assert_false(vmat_device_may_hang(target, "/mnt/9path", 254, 1));
	assert_false(vmat_device_may_hang(target, "/usr/x", 254, 1));
	assert_false(vmat_device_may_hang(target, "/usr/x", 9, 9));
	vmat_target_close(target);
	recording_deinit(&recording);
}

/* Without a list of mounts nothing says that a file system answers. */
static void test_no_mountinfo(void **state)
{
	struct recording recording;
	struct vmat_target *target;

	(void)state;
	recording_init(&recording);
	recording_add_process(&recording);
	target = recording_open(&recording);
	check_device(target, 0, 25, VMAT_DEVICE_OTHER, 0);
	assert_true(vmat_device_may_hang(target, "/x", 254, 1));
	vmat_target_close(target);
	recording_deinit(&recording);
}

/* The kernel's own file systems are in no list of mounts. */
static void test_own_devices(void **state)
{
	struct vmat_target *target = NULL;
	int fd = memfd_create("device_test", MFD_CLOEXEC);
	struct stat stat;
	char pid[16];

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &stat), 0);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	assert_int_equal(vmat_target_open(&target, pid, NULL, NULL), 0);
	check_device(target, major(stat.st_dev), minor(stat.st_dev), VMAT_DEVICE_SHMEM, 0);
	close(fd);
	fd = memfd_create("device_test", MFD_CLOEXEC | MFD_HUGETLB);
	if (fd >= 0) {
		assert_int_equal(fstat(fd, &stat), 0);
		check_device(target, major(stat.st_dev), minor(stat.st_dev), VMAT_DEVICE_HUGETLB,
			     (uint64_t)stat.st_blksize);
		close(fd);
	}
	assert_true(vmat_source_is_char_device(target, "/dev/null"));
	assert_false(vmat_source_is_char_device(target, "/proc/self/exe"));
	assert_false(vmat_source_is_char_device(target, "dev/null"));
	vmat_target_close(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_find_malformed),
		cmocka_unit_test(test_recorded_devices),
		cmocka_unit_test(test_no_mountinfo),
		cmocka_unit_test(test_own_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
