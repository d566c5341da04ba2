/* SPDX-License-Identifier: MIT */
/*
 * base.h: what every other public header of libvmatlas-inspect uses: errors and unknown facts.
 *
 * Conventions of all headers in this folder:
 *  - An int result is 0 or a count on success and a negative errno on failure. Results come back
 *    through pointers named `ret`, which a failing call leaves untouched.
 *  - An address of another process is a uint64_t with `addr`, `start` or `end` in its name. Ranges
 *    are [start, end). Sizes are bytes unless the name ends in `_pages`.
 *  - A fact that cannot be known is a value with a reason (vmat_unknown), never 0.
 *  - One thread at a time per handle; different handles are independent.
 */
#ifndef VMATLAS_BASE_H
#define VMATLAS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VMAT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define VMAT_PRINTF(fmt, args)
#endif

/*
 * What went wrong: what, why, and what would help, as whole sentences.
 * The caller owns it; it may be NULL wherever it is asked for; nothing in it is allocated.
 * `code` is the negative errno that the call returned.
 */
struct vmat_error {
	int code;
	char text[508];
};

/* Sets *err (when there is one) and returns `code`, so that a failing function can return it. */
int vmat_error_set(struct vmat_error *err, int code, const char *format, ...) VMAT_PRINTF(3, 4);

/* Puts "<text>: " before what is there: for a caller that knows more. Returns err->code. */
int vmat_error_prefix(struct vmat_error *err, const char *format, ...) VMAT_PRINTF(2, 3);

/*
 * Why a fact is not known. An unknown uint64_t fact is VMAT_UNKNOWN(reason): the highest values of
 * the type, which no address, size or count of a process can have.
 */
enum vmat_reason {
	VMAT_NOT_ASKED = 1,  /* the caller did not ask for it */
	VMAT_NOT_PERMITTED,  /* the kernel refused: see the model's `partial_why` */
	VMAT_KERNEL_LACKS,   /* this kernel, or a forced fallback, cannot tell */
	VMAT_CHANGED,        /* the target changed or went away while it was read */
	VMAT_INVISIBLE,      /* device memory (VM_PFNMAP): the kernel shows none of its pages */
	VMAT_RUNNING,        /* the thread runs: only a blocked thread shows its stack pointer */
	VMAT_NOT_RECORDED,   /* the recorded tree or the core file does not hold it */
	VMAT_NOT_APPLICABLE, /* the fact has no meaning here */
	VMAT_NOT_FOUND,      /* looked for and not there: no evidence either way */
	VMAT_REASON_END,
};

#define VMAT_UNKNOWN(reason) (UINT64_MAX - (uint64_t)(reason))

static inline bool vmat_is_known(uint64_t fact)
{
	return fact < UINT64_MAX - (uint64_t)VMAT_REASON_END;
}

/* The reason of an unknown fact. Of a known fact: 0. */
static inline enum vmat_reason vmat_reason(uint64_t fact)
{
	return vmat_is_known(fact) ? (enum vmat_reason)0 : (enum vmat_reason)(UINT64_MAX - fact);
}

/* A short text for a reason, without a full stop. Lifetime: static. */
const char *vmat_reason_text(enum vmat_reason reason);

/* The version of the library, as in "0.1.0". Lifetime: static. */
const char *vmat_version(void);

#ifdef __cplusplus
}
#endif
#endif
