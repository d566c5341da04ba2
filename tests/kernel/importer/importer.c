// SPDX-License-Identifier: GPL-2.0
/*
 * importer.c: the other side of a dma-buf, for tests: a device that attaches, maps, and shows what it was given.
 *
 * Write the number of a descriptor to /dev/vmatlas-importer: the dma-buf is held and mapped until the file is closed. Read: one
 * line "BUS-ADDRESS BYTES" for each segment, then the sum of all bytes as the kernel sees them by vmap.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/iosys-map.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"

#define TEXT_SIZE ((size_t)64 << 10)

/* What one open file holds. */
struct import {
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
	char *text;
	size_t length;
};

static struct platform_device *platform;

static int sum_bytes(struct import *import)
{
	struct iosys_map map;
	u64 sum = 0;
	int err;

	err = dma_buf_begin_cpu_access(import->dmabuf, DMA_FROM_DEVICE);
	if (err)
		return err;
	err = dma_buf_vmap_unlocked(import->dmabuf, &map);
	if (!err) {
		for (size_t i = 0; i < import->dmabuf->size; i++)
			sum += ((const u8 *)map.vaddr)[i];
		dma_buf_vunmap_unlocked(import->dmabuf, &map);
		import->length += scnprintf(import->text + import->length,
					    TEXT_SIZE - import->length, "sum %llu\n", sum);
	}
	dma_buf_end_cpu_access(import->dmabuf, DMA_FROM_DEVICE);
	return err;
}

static int hold(struct import *import, int fd)
{
	struct scatterlist *sg;
	int i;

	import->dmabuf = dma_buf_get(fd);
	if (IS_ERR(import->dmabuf))
		return PTR_ERR_OR_ZERO(import->dmabuf);
	import->attachment = dma_buf_attach(import->dmabuf, &platform->dev);
	if (IS_ERR(import->attachment))
		return PTR_ERR(import->attachment);
	import->table = dma_buf_map_attachment_unlocked(import->attachment, DMA_BIDIRECTIONAL);
	if (IS_ERR(import->table))
		return PTR_ERR(import->table);
	for_each_sgtable_dma_sg(import->table, sg, i) import->length +=
		scnprintf(import->text + import->length, TEXT_SIZE - import->length, "%llx %u\n",
			  (u64)sg_dma_address(sg), sg_dma_len(sg));
	return sum_bytes(import);
}

static void let_go(struct import *import)
{
	if (!IS_ERR_OR_NULL(import->table))
		dma_buf_unmap_attachment_unlocked(import->attachment, import->table,
						  DMA_BIDIRECTIONAL);
	if (!IS_ERR_OR_NULL(import->attachment))
		dma_buf_detach(import->dmabuf, import->attachment);
	if (!IS_ERR_OR_NULL(import->dmabuf))
		dma_buf_put(import->dmabuf);
	import->table = NULL;
	import->attachment = NULL;
	import->dmabuf = NULL;
}

static int importer_open(struct inode *inode, struct file *file)
{
	struct import *import = kzalloc(sizeof(*import), GFP_KERNEL);

	if (!import)
		return -ENOMEM;
	import->text = kvzalloc(TEXT_SIZE, GFP_KERNEL);
	if (!import->text) {
		kfree(import);
		return -ENOMEM;
	}
	file->private_data = import;
	return 0;
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct import *import = file->private_data;

	let_go(import);
	kvfree(import->text);
	kfree(import);
	return 0;
}

static ssize_t importer_write(struct file *file, const char __user *user, size_t size, loff_t *pos)
{
	struct import *import = file->private_data;
	int fd, err = kstrtoint_from_user(user, size, 10, &fd);

	if (err)
		return err;
	if (import->dmabuf)
		return -EBUSY;
	err = hold(import, fd);
	if (err)
		let_go(import);
	return err ? err : size;
}

static ssize_t importer_read(struct file *file, char __user *user, size_t size, loff_t *pos)
{
	struct import *import = file->private_data;

	return simple_read_from_buffer(user, size, pos, import->text, import->length);
}

static const struct file_operations importer_fops = {
	.owner = THIS_MODULE,
	.open = importer_open,
	.release = importer_release,
	.write = importer_write,
	.read = importer_read,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vmatlas-importer",
	.fops = &importer_fops,
	.mode = 0600,
};

static int __init importer_init(void)
{
	int err;

	platform = platform_device_register_simple("vmatlas-importer", -1, NULL, 0);
	if (IS_ERR(platform))
		return PTR_ERR(platform);
	err = dma_set_mask_and_coherent(&platform->dev, DMA_BIT_MASK(64));
	if (!err) {
		/* The default, 64 KiB, would cut each huge page into 32 segments. */
		dma_set_max_seg_size(&platform->dev, UINT_MAX);
		err = misc_register(&device);
	}
	if (err)
		platform_device_unregister(platform);
	return err;
}

static void __exit importer_exit(void)
{
	misc_deregister(&device);
	platform_device_unregister(platform);
}

module_init(importer_init);
module_exit(importer_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Test of vmatlas: a device that imports a dma-buf");
VMATLAS_IMPORT_NS(DMA_BUF);
