// SPDX-License-Identifier: GPL-2.0
/*
 * kmod_mmap.c: a buffer in the address space of any process that has its descriptor.
 *
 * Mappings are VM_PFNMAP: frames without struct page. The other way, vm_insert_pages(), must never see hugetlb pages: 6.1
 * takes them, and at munmap decrements a counter of a tail page that overlaps the next huge page's list head ("list_del
 * corruption" in dequeue_huge_page_nodemask); later kernels refuse them. Frames carry no reference, so what keeps the pages is
 * the file that the VMA holds; it is put after the page tables are empty.
 *
 * From 6.12 on pages come by faults, a huge page at a time where it fits. Before, huge_fault is not called for such mappings:
 * there each extent is mapped at once in mmap(2), and no fault is taken at all.
 */
#include "compat.h"
#include "kmod.h"

#define PMD_PAGES (PMD_SIZE >> PAGE_SHIFT)

/* The page of the buffer at an address of a VMA. */
static unsigned long page_at(const struct vm_area_struct *vma, unsigned long addr)
{
	return vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
}

/*
 * Maps the page that is missing, and those around it that lie in the same huge page, extent and VMA. The page is compared with
 * the buffer once more though mmap did so: VMAs are split, moved and copied, and one wrong frame is the whole machine.
 */
static vm_fault_t buf_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	const struct vmatlas_buf *buf = vma->vm_private_data;
	unsigned long addr = max(vmf->address & PMD_MASK, vma->vm_start);
	unsigned long end = min((vmf->address & PMD_MASK) + PMD_SIZE, vma->vm_end);
	unsigned long wanted = page_at(vma, vmf->address), first = page_at(vma, addr);
	const struct vmatlas_run *run;
	unsigned long run_end;
	vm_fault_t ret;

	if (wanted >= buf->pages)
		return VM_FAULT_SIGBUS;
	run = buf->runs + vmatlas_buf_find(buf, wanted);
	run_end = run->page + vmatlas_buf_run_pages(buf, run - buf->runs);
	ret = vmf_insert_pfn(vma, vmf->address & PAGE_MASK, run->pfn + (wanted - run->page));
	for (unsigned long page = first; addr < end && page < run_end && ret == VM_FAULT_NOPAGE;
	     addr += PAGE_SIZE, page++)
		if (page >= run->page && page != wanted)
			ret = vmf_insert_pfn(vma, addr, run->pfn + (page - run->page));
	return ret;
}

#if VMATLAS_HUGE_PFNMAP
/* A whole entry of the PMD, if the VMA, the buffer and one aligned run of frames fill it. */
static vm_fault_t buf_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	const struct vmatlas_buf *buf = vma->vm_private_data;
	unsigned long addr = vmf->address & PMD_MASK, page, pfn;
	size_t run;

	if (order != PMD_SHIFT - PAGE_SHIFT || addr < vma->vm_start ||
	    vma->vm_end - addr < PMD_SIZE)
		return VM_FAULT_FALLBACK;
	page = page_at(vma, addr);
	if (page >= buf->pages || buf->pages - page < PMD_PAGES)
		return VM_FAULT_FALLBACK;
	run = vmatlas_buf_find(buf, page);
	page -= buf->runs[run].page;
	pfn = buf->runs[run].pfn + page;
	if (pfn % PMD_PAGES || vmatlas_buf_run_pages(buf, run) - page < PMD_PAGES)
		return VM_FAULT_FALLBACK;
	return vmatlas_insert_pmd(vmf, pfn, vmf->flags & FAULT_FLAG_WRITE);
}
#endif

static const struct vm_operations_struct buf_vm_ops = {
	.fault = buf_fault,
#if VMATLAS_HUGE_PFNMAP
	.huge_fault = buf_huge_fault,
#endif
};

/* All of it now, one call per extent. What was mapped before an error, mmap(2) takes back. */
static int map_now(const struct vmatlas_buf *buf, struct vm_area_struct *vma)
{
	unsigned long addr = vma->vm_start;

	for (size_t run = vmatlas_buf_find(buf, vma->vm_pgoff); addr < vma->vm_end; run++) {
		unsigned long skip = page_at(vma, addr) - buf->runs[run].page;
		unsigned long bytes = (vmatlas_buf_run_pages(buf, run) - skip) << PAGE_SHIFT;
		int err;

		bytes = min(bytes, vma->vm_end - addr);
		err = remap_pfn_range(vma, addr, buf->runs[run].pfn + skip, bytes,
				      vma->vm_page_prot);
		if (err)
			return err;
		addr += bytes;
	}
	return 0;
}

/**
 * vmatlas_buf_mmap() - map a buffer, or a part of it
 * @buf: the buffer, which the file of @vma holds
 * @vma: where to
 *
 * Return: 0; -EINVAL a private mapping (its copies would be of nobody's pages), or one that leaves the buffer; -EPERM an
 * executable one.
 */
int vmatlas_buf_mmap(struct vmatlas_buf *buf, struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	/* Written so that no sum can wrap: offset + length > size does. */
	if (vma->vm_pgoff >= buf->pages || vma_pages(vma) > buf->pages - vma->vm_pgoff)
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	vm_flags_mod(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYEXEC);
	vma->vm_private_data = buf;
	vma->vm_ops = &buf_vm_ops;
	return VMATLAS_HUGE_PFNMAP ? 0 : map_now(buf, vma);
}
