/* SPDX-License-Identifier: GPL-2.0 */
/*
 * leak.h: makes vmatlas.ko keep its pages for ever, to see that the tests notice. Included before every file of it.
 */
#ifndef VMATLAS_BROKEN_LEAK_H
#define VMATLAS_BROKEN_LEAK_H

#include <linux/mm.h>

#define unpin_user_page_range_dirty_lock(page, count, dirty) ((void)(page), (void)(count))

#endif
