// SPDX-License-Identifier: GPL-2.0
/*
 * kmod_file.c: the descriptor of a buffer: read, write, seek, map, and what it can be asked.
 */
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/file.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <uapi/vmatlas.h>

#include "compat.h"
#include "kmod.h"

/* Copied at once between two looks at signals and the scheduler. */
#define STRIDE ((size_t)1 << 20)

static long buf_info(const struct vmatlas_buf *buf, void __user *arg)
{
	struct vmatlas_info info;
	u32 size;
	int err = vmatlas_copy_in(&info, sizeof(info), arg,
				  offsetofend(struct vmatlas_info, reserved), &size);

	if (err)
		return err;
	if (info.reserved[0] || info.reserved[1])
		return -EINVAL;
	info.flags = (smp_load_acquire(&buf->vaddr) ? VMATLAS_INFO_KERNEL_MAPPED : 0) |
		     (VMATLAS_HUGE_PFNMAP ? VMATLAS_INFO_HUGE_FAULT : 0);
	info.bytes = vmatlas_buf_bytes(buf);
	info.extents = buf->runs_count;
	info.number = buf->number;
	info.pin_ns = buf->pin_ns;
	info.map_ns = info.flags & VMATLAS_INFO_KERNEL_MAPPED ? buf->map_ns : 0;
	return copy_to_user(arg, &info, min_t(size_t, size, sizeof(info))) ? -EFAULT : 0;
}

static int put_extent(const struct vmatlas_buf *buf, size_t run, bool may_know, u64 to)
{
	struct vmatlas_extent extent = {
		.offset = (u64)buf->runs[run].page << PAGE_SHIFT,
		.bytes = (u64)vmatlas_buf_run_pages(buf, run) << PAGE_SHIFT,
		.physical = may_know ? PFN_PHYS(buf->runs[run].pfn) : VMATLAS_PHYSICAL_HIDDEN,
	};

	return copy_to_user(u64_to_user_ptr(to), &extent, sizeof(extent)) ? -EFAULT : 0;
}

/*
 * The right is the caller's and not the opener's: a descriptor is handed to others on purpose. Physical addresses help attacks
 * on memory (rowhammer), so whoever may not read them in pagemap does not read them here.
 */
static long buf_extents(const struct vmatlas_buf *buf, void __user *arg)
{
	bool may_know = capable(CAP_SYS_ADMIN);
	struct vmatlas_extents list;
	u64 count;
	u32 size;
	int err = vmatlas_copy_in(&list, sizeof(list), arg,
				  offsetofend(struct vmatlas_extents, reserved), &size);

	if (err)
		return err;
	if (list.flags || list.reserved)
		return -EINVAL;
	list.total = buf->runs_count;
	count = list.first < list.total ? min(list.count, list.total - list.first) : 0;
	for (u64 i = 0; i < count && !err; i++) {
		err = put_extent(buf, list.first + i, may_know,
				 list.extents + i * sizeof(struct vmatlas_extent));
		if (!err && fatal_signal_pending(current))
			err = -EINTR;
		cond_resched();
	}
	if (err)
		return err;
	list.count = count;
	return copy_to_user(arg, &list, min_t(size_t, size, sizeof(list))) ? -EFAULT : 0;
}

static long buf_dmabuf(struct file *file, void __user *arg)
{
	struct vmatlas_dmabuf ask;
	u32 size;
	int err = vmatlas_copy_in(&ask, sizeof(ask), arg,
				  offsetofend(struct vmatlas_dmabuf, reserved), &size);

	if (err)
		return err;
	if (ask.flags || ask.reserved)
		return -EINVAL;
	return vmatlas_dmabuf_new(file);
}

static long buf_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	const struct vmatlas_buf *buf = file->private_data;
	void __user *user = (void __user *)arg;

	switch (command) {
	case VMATLAS_INFO:
		return buf_info(buf, user);
	case VMATLAS_EXTENTS:
		return buf_extents(buf, user);
	case VMATLAS_DMABUF:
		return buf_dmabuf(file, user);
	default:
		return -ENOTTY;
	}
}

/*
 * Copies between the kernel's view and the caller. The caller's memory may be a mapping of this very buffer, so no lock is held:
 * a fault in there takes none of ours either.
 */
static ssize_t transfer(struct kiocb *iocb, struct iov_iter *iter, bool is_write)
{
	struct vmatlas_buf *buf = iocb->ki_filp->private_data;
	u64 bytes = vmatlas_buf_bytes(buf), at = iocb->ki_pos;
	size_t done = 0, got = 0, want = 0;
	void *vaddr;

	if (!iov_iter_count(iter))
		return 0;
	if (at >= bytes)
		return is_write ? -ENOSPC : 0;
	vaddr = vmatlas_buf_map(buf);
	if (!vaddr)
		return -ENOMEM;
	while (at < bytes && iov_iter_count(iter) && got == want) {
		want = min3((u64)iov_iter_count(iter), bytes - at, (u64)STRIDE);
		got = is_write ? copy_from_iter(vaddr + at, want, iter)
			       : copy_to_iter(vaddr + at, want, iter);
		at += got;
		done += got;
		if (fatal_signal_pending(current))
			break;
		cond_resched();
	}
	iocb->ki_pos = at;
	return done ? done : -EFAULT;
}

static ssize_t buf_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	return transfer(iocb, to, false);
}

static ssize_t buf_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	return transfer(iocb, from, true);
}

static loff_t buf_llseek(struct file *file, loff_t offset, int whence)
{
	return fixed_size_llseek(file, offset, whence, vmatlas_buf_bytes(file->private_data));
}

static int buf_file_mmap(struct file *file, struct vm_area_struct *vma)
{
	return vmatlas_buf_mmap(file->private_data, vma);
}

static void buf_show_fdinfo(struct seq_file *out, struct file *file)
{
	const struct vmatlas_buf *buf = file->private_data;

	seq_printf(out, "vmatlas-bytes:\t%llu\nvmatlas-extents:\t%zu\n", vmatlas_buf_bytes(buf),
		   buf->runs_count);
}

static int buf_release(struct inode *inode, struct file *file)
{
	vmatlas_buf_free(file->private_data);
	return 0;
}

/* The owner is what holds the module: anon_inode_getfile() takes it, the last put of the file drops it after release. */
static const struct file_operations buf_fops = {
	.owner = THIS_MODULE,
	.release = buf_release,
	.unlocked_ioctl = buf_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = buf_file_mmap,
	.get_unmapped_area = thp_get_unmapped_area, /* aligned, so that huge entries fit */
	.read_iter = buf_read_iter,
	.write_iter = buf_write_iter,
	.llseek = buf_llseek,
	.show_fdinfo = buf_show_fdinfo,
};

/**
 * vmatlas_file_new() - a descriptor that owns a buffer
 * @buf: given away, also on failure
 *
 * Return: the descriptor, or a negative errno.
 */
int vmatlas_file_new(struct vmatlas_buf *buf)
{
	static atomic64_t numbers;
	int fd = get_unused_fd_flags(O_CLOEXEC);
	struct file *file;
	char name[32];

	if (fd < 0) {
		vmatlas_buf_free(buf);
		return fd;
	}
	buf->number = atomic64_inc_return(&numbers);
	snprintf(name, sizeof(name), VMATLAS_NAME, buf->number);
	file = anon_inode_getfile(name, &buf_fops, buf, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		vmatlas_buf_free(buf);
		return PTR_ERR(file);
	}
	/* open(2) sets these for files with a path; without them pread, pwrite and lseek are refused. */
	file->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;
	/* From here on another thread may close it: the buffer must not be looked at any more. */
	fd_install(fd, file);
	return fd;
}
