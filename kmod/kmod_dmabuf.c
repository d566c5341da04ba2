// SPDX-License-Identifier: GPL-2.0
/*
 * kmod_dmabuf.c: a buffer as a dma-buf, for drivers of devices.
 *
 * The dma-buf holds the file of the buffer. Each device that attaches gets a table of the physical extents, cut only where the
 * device cannot take so large a segment.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/iosys-map.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "compat.h"
#include "kmod.h"

/**
 * struct attached - a device on a dma-buf
 * @node: in the list of its dma-buf
 * @device: the device
 * @table: the extents
 * @direction: of the mapping
 * @is_mapped: the device may access the memory now
 */
struct attached {
	struct list_head node;
	struct device *device;
	struct sg_table table;
	enum dma_data_direction direction;
	bool is_mapped;
};

/**
 * struct exported - what a dma-buf is of
 * @file: the buffer, held
 * @lock: of the list
 * @devices: struct attached
 */
struct exported {
	struct file *file;
	struct mutex lock;
	struct list_head devices;
};

static struct vmatlas_buf *buf_of(const struct dma_buf *dmabuf)
{
	const struct exported *exported = dmabuf->priv;

	return exported->file->private_data;
}

/*
 * A segment's length is an unsigned int, and devices say how much they take: 64 KiB unless they said more, which would cut each
 * huge page into 32.
 */
static int fill_table(struct sg_table *table, const struct vmatlas_buf *buf, struct device *device)
{
	unsigned long most = min_t(size_t, dma_get_max_seg_size(device), UINT_MAX) >> PAGE_SHIFT;
	unsigned long segments = 0;
	struct scatterlist *sg;
	size_t run;
	int err;

	most = max(most, 1UL);
	for (run = 0; run < buf->runs_count; run++)
		segments += DIV_ROUND_UP(vmatlas_buf_run_pages(buf, run), most);
	if (segments > UINT_MAX)
		return -EINVAL;
	err = sg_alloc_table(table, segments, GFP_KERNEL);
	if (err)
		return err;
	sg = table->sgl;
	for (run = 0; run < buf->runs_count; run++) {
		unsigned long pages = vmatlas_buf_run_pages(buf, run), pfn = buf->runs[run].pfn;

		for (unsigned long now; pages; pages -= now, pfn += now, sg = sg_next(sg)) {
			now = min(pages, most);
			sg_set_page(sg, pfn_to_page(pfn), now << PAGE_SHIFT, 0);
		}
	}
	return 0;
}

static int attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attachment)
{
	struct exported *exported = dmabuf->priv;
	struct attached *attached = kzalloc(sizeof(*attached), GFP_KERNEL);
	int err;

	if (!attached)
		return -ENOMEM;
	attached->device = attachment->dev;
	err = fill_table(&attached->table, buf_of(dmabuf), attachment->dev);
	if (err) {
		kfree(attached);
		return err;
	}
	attachment->priv = attached;
	mutex_lock(&exported->lock);
	list_add(&attached->node, &exported->devices);
	mutex_unlock(&exported->lock);
	return 0;
}

static void detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attachment)
{
	struct exported *exported = dmabuf->priv;
	struct attached *attached = attachment->priv;

	mutex_lock(&exported->lock);
	list_del(&attached->node);
	mutex_unlock(&exported->lock);
	sg_free_table(&attached->table);
	kfree(attached);
}

static struct sg_table *map(struct dma_buf_attachment *attachment,
			    enum dma_data_direction direction)
{
	struct exported *exported = attachment->dmabuf->priv;
	struct attached *attached = attachment->priv;
	int err;

	/* One table has room for one mapping. The core of dma-buf maps a second time only if it must not be cached. */
	mutex_lock(&exported->lock);
	err = attached->is_mapped ? -EBUSY : 0;
	if (!err)
		err = dma_map_sgtable(attachment->dev, &attached->table, direction, 0);
	if (!err) {
		attached->direction = direction;
		attached->is_mapped = true;
	}
	mutex_unlock(&exported->lock);
	return err ? ERR_PTR(err) : &attached->table;
}

static void unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
		  enum dma_data_direction direction)
{
	struct exported *exported = attachment->dmabuf->priv;
	struct attached *attached = attachment->priv;

	mutex_lock(&exported->lock);
	attached->is_mapped = false;
	dma_unmap_sgtable(attachment->dev, table, direction, 0);
	mutex_unlock(&exported->lock);
}

/*
 * Where the device does not see the CPU's caches, or bounces, the two are made equal around each access of the CPU. In the
 * direction of the mapping, as the DMA API wants it, not in that of the access: what a device only reads has nothing to copy
 * back, and copying it would bring back bytes that the CPU has written over.
 */
static int begin_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction direction)
{
	struct exported *exported = dmabuf->priv;
	struct attached *attached;

	mutex_lock(&exported->lock);
	list_for_each_entry(attached, &exported->devices, node) if (attached->is_mapped)
		dma_sync_sgtable_for_cpu(attached->device, &attached->table, attached->direction);
	mutex_unlock(&exported->lock);
	return 0;
}

static int end_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction direction)
{
	struct exported *exported = dmabuf->priv;
	struct attached *attached;

	mutex_lock(&exported->lock);
	list_for_each_entry(attached, &exported->devices, node) if (attached->is_mapped)
		dma_sync_sgtable_for_device(attached->device, &attached->table,
					    attached->direction);
	mutex_unlock(&exported->lock);
	return 0;
}

static int dmabuf_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	return vmatlas_buf_mmap(buf_of(dmabuf), vma);
}

static int dmabuf_vmap(struct dma_buf *dmabuf, struct iosys_map *ret)
{
	void *vaddr = vmatlas_buf_map(buf_of(dmabuf));

	if (!vaddr)
		return -ENOMEM;
	iosys_map_set_vaddr(ret, vaddr);
	return 0;
}

static void dmabuf_release(struct dma_buf *dmabuf)
{
	struct exported *exported = dmabuf->priv;

	fput(exported->file);
	kfree(exported);
}

static const struct dma_buf_ops dmabuf_ops = {
	.attach = attach,
	.detach = detach,
	.map_dma_buf = map,
	.unmap_dma_buf = unmap,
	.begin_cpu_access = begin_cpu_access,
	.end_cpu_access = end_cpu_access,
	.mmap = dmabuf_mmap,
	.vmap = dmabuf_vmap,
	.release = dmabuf_release,
};

/**
 * vmatlas_dmabuf_new() - a descriptor of a new dma-buf of a buffer
 * @file: the buffer
 *
 * Return: the descriptor, or a negative errno.
 */
int vmatlas_dmabuf_new(struct file *file)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct exported *exported = kzalloc(sizeof(*exported), GFP_KERNEL_ACCOUNT);
	struct dma_buf *dmabuf;
	int fd;

	if (!exported)
		return -ENOMEM;
	mutex_init(&exported->lock);
	INIT_LIST_HEAD(&exported->devices);
	exported->file = get_file(file);
	info.ops = &dmabuf_ops;
	info.size = vmatlas_buf_bytes(file->private_data);
	info.flags = O_RDWR;
	info.priv = exported;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		fput(file);
		kfree(exported);
		return PTR_ERR(dmabuf);
	}
	fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}

VMATLAS_IMPORT_NS(DMA_BUF);
