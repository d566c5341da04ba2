/* SPDX-License-Identifier: MIT */
/*
 * prim_pagesize_at.c: vmat_pagesize_at() of libvmatlas, which has no table to look into: without its calls
 * before those of libc nothing could keep one right. libvmatlas-preload.so defines the function again
 * and stands before this one.
 */
#include <vmatlas/prim/pagesize.h>

ssize_t vmat_pagesize_at(const void *addr)
{
	return vmat_pagesize_exact(addr);
}
