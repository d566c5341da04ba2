// SPDX-License-Identifier: GPL-2.0
/*
 * kmod_main.c: /dev/vmatlas, whose only ioctl turns a range of the caller's memory into a buffer.
 *
 * The device keeps nothing per open: whoever may open it may pin, within limits. It is 0600 unless the administrator says
 * otherwise (packaging/udev).
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/uaccess.h>
#include <uapi/vmatlas.h>

#include "kmod.h"

static unsigned long max_mib = 65536;
module_param(max_mib, ulong, 0644);
MODULE_PARM_DESC(max_mib, "largest buffer, in MiB");

/* vm_map_ram() takes the number of pages as an unsigned int; some of its sums are ints in some kernels. */
#define MAX_PAGES (1UL << 30)

/**
 * vmatlas_copy_in() - copy a structure that begins with its size
 * @to: where to, zeroed behind what the caller has
 * @known: its size here
 * @from: the caller's
 * @least: the size of its first version
 * @ret_size: the caller's size
 *
 * Return: 0; -EFAULT; -EINVAL shorter than the first version; -E2BIG longer, and not zero in what is not known here.
 */
int vmatlas_copy_in(void *to, size_t known, const void __user *from, size_t least, u32 *ret_size)
{
	u32 size;

	if (get_user(size, (const u32 __user *)from))
		return -EFAULT;
	if (size < least)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	*ret_size = size;
	return copy_struct_from_user(to, known, from, size);
}

static int check_range(const struct vmatlas_pin *pin)
{
	u64 most = min_t(u64, (u64)READ_ONCE(max_mib) << (20 - PAGE_SHIFT), MAX_PAGES);
	unsigned long addr = pin->addr, bytes = pin->bytes, end;

	if (addr != pin->addr || bytes != pin->bytes || check_add_overflow(addr, bytes, &end))
		return -EINVAL;
	if (!bytes || !PAGE_ALIGNED(addr) || !PAGE_ALIGNED(bytes) || bytes >> PAGE_SHIFT > most)
		return -EINVAL;
	return 0;
}

static long pin_range(void __user *arg)
{
	struct vmatlas_buf *buf;
	struct vmatlas_pin pin;
	u32 size;
	int err = vmatlas_copy_in(&pin, sizeof(pin), arg, offsetofend(struct vmatlas_pin, reserved),
				  &size);

	if (err)
		return err;
	if (pin.flags || pin.reserved[0] || pin.reserved[1])
		return -EINVAL;
	err = check_range(&pin);
	if (err)
		return err;
	buf = vmatlas_buf_pin(pin.addr, pin.bytes >> PAGE_SHIFT);
	return IS_ERR(buf) ? PTR_ERR(buf) : vmatlas_file_new(buf);
}

static long device_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	return command == VMATLAS_PIN ? pin_range((void __user *)arg) : -ENOTTY;
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.open = nonseekable_open,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vmatlas",
	.fops = &device_fops,
	.mode = 0600,
};

module_misc_device(device);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"Scattered user pages as one buffer: pinned, sequential in the kernel, shareable");
