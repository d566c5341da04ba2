/* SPDX-License-Identifier: MIT */
/*
 * interpose.h: how a function of libc is stood before.
 *
 * The original is looked up once, by dlsym(3) with RTLD_NEXT, so that another preloaded library that
 * stands before the same function has its turn. It is looked up in the constructor, and by the first
 * call where somebody's constructor is earlier than ours.
 */
#ifndef VMAT_INTERPOSE_H
#define VMAT_INTERPOSE_H

#include <dlfcn.h>
#include <stdatomic.h>

#define VMAT_INTERPOSED __attribute__((visibility("default")))

/* The original of `name`, as a pointer of its own type. Relaxed: the pointer is the whole message, and a second look finds the same. */
#define vmat_original(name)                                                                    \
	({                                                                                     \
		static __typeof__(&(name)) _Atomic vmat_kept_;                                 \
		__typeof__(&(name)) vmat_found_ =                                              \
			atomic_load_explicit(&vmat_kept_, memory_order_relaxed);               \
		if (!vmat_found_) {                                                            \
			vmat_found_ = (__typeof__(&(name)))dlsym(RTLD_NEXT, #name);            \
			atomic_store_explicit(&vmat_kept_, vmat_found_, memory_order_relaxed); \
		}                                                                              \
		vmat_found_;                                                                   \
	})

#endif
