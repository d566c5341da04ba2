/* SPDX-License-Identifier: GPL-2.0 */
/*
 * warn.h: makes vmatlas.ko give back each run of pages with a warning, as a wrong count of references would. To see that a test
 * which passes still fails by the kernel's log.
 */
#ifndef VMATLAS_BROKEN_WARN_H
#define VMATLAS_BROKEN_WARN_H

#include <linux/bug.h>
#include <linux/mm.h>

#define unpin_user_page_range_dirty_lock(page, count, dirty) \
	(WARN_ON_ONCE(1), (unpin_user_page_range_dirty_lock)(page, count, dirty))

#endif
