/* SPDX-License-Identifier: MIT */
/*
 * pagesize_table.c: vmat_pagesize_at() of libvmatlas-preload.so: from the table, else from the kernel.
 */
#include <stdbool.h>

#include <vmatlas/prim/pagesize.h>

#include "preload/span_change.h"
#include "preload/span_table.h"

/* glibc's program break (GLIBC_2.2.5), which malloc moves without a call that we could see; NULL with other libcs. */
extern char *__curbrk __attribute__((weak));

static ssize_t size_of(uint8_t code)
{
	return (ssize_t)1 << (code & 63);
}

/* Of its own, so that the fast path needs no stack frame. */
__attribute__((noinline)) static ssize_t find(const void *addr)
{
	uint8_t code = vmat_span_find((uintptr_t)addr);

	if (vmat_span_is_sure(code) || (code && &__curbrk && (const char *)addr < __curbrk))
		return size_of(code);
	return vmat_span_learn((uintptr_t)addr);
}

ssize_t vmat_pagesize_at(const void *addr)
{
	const struct vmat_span_leaf *leaf = vmat_span_last;

	if (__builtin_expect(vmat_span_is_in(leaf, (uintptr_t)addr), 1)) {
		uint8_t code = vmat_span_of_leaf(leaf, (uintptr_t)addr);

		if (__builtin_expect(vmat_span_is_sure(code), 1))
			return size_of(code);
	}
	return find(addr);
}
