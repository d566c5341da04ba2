/* SPDX-License-Identifier: MIT */
/*
 * cleanup.h: scope-bound cleanup, by the compiler's cleanup attribute.
 *
 * `vmat_autofree char *p = malloc(n);` frees p at the end of its scope; vmat_take_ptr(&p) moves it
 * out. `vmat_autoclose int fd = -1;` closes a descriptor that is not negative.
 */
#ifndef VMAT_CLEANUP_H
#define VMAT_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define vmat_cleanup(function) __attribute__((cleanup(function)))
#define vmat_autofree          vmat_cleanup(vmat_cleanup_free)
#define vmat_autoclose         vmat_cleanup(vmat_cleanup_close)

static inline void vmat_cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}

static inline void vmat_cleanup_close(const int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		errno = saved;
	}
}

static inline int vmat_errno_now(void)
{
	return errno;
}

static inline void vmat_cleanup_errno(const int *saved)
{
	errno = *saved;
}

/* At the end of the scope errno is what it was here: for what runs inside of anybody's code. */
#define vmat_keep_errno \
	__attribute__((cleanup(vmat_cleanup_errno), unused)) int vmat_errno_kept_ = vmat_errno_now()

/* Moves a value out of a variable with cleanup. */
#define vmat_take_ptr(pointer)                                   \
	({                                                       \
		__typeof__(*(pointer)) vmat_taken_ = *(pointer); \
		*(pointer) = NULL;                               \
		vmat_taken_;                                     \
	})
#define vmat_take_fd(fd)                 \
	({                               \
		int vmat_taken_ = *(fd); \
		*(fd) = -1;              \
		vmat_taken_;             \
	})

#endif
