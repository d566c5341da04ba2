/* SPDX-License-Identifier: MIT */
/*
 * prim_goodsize.c: which allocator runs here, and what it makes of a size: vmatlas/prim/goodsize.h.
 *
 * An allocator is known by functions that only it exports, when they lie in the same object as malloc: a program may have
 * jemalloc's functions under its own names beside glibc's malloc. The answer is found once and never changes.
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <vmatlas/prim/goodsize.h>

#include "base/cleanup.h"
#include "base/malloc_sizes.h"
#include "sys/sys_process.h"
#if defined(__GLIBC__)
#include "prim/prim_glibc.h"
#endif

enum {
	CHILD_TIMEOUT_MS = 2000,
	MIMALLOC_VERIFIED = 209,
	MIMALLOC_SMALL = 128 << 10,
	TCMALLOC_OWNED = 1
};

enum kind { UNKNOWN, GLIBC, JEMALLOC, MIMALLOC, TCMALLOC, MUSL };

struct allocator {
	enum kind kind;
	bool is_final;                             /* glibc may not be ready to be looked at */
	size_t (*nallocx)(size_t size, int flags); /* jemalloc, tcmalloc */
	size_t (*good)(size_t size);               /* mimalloc */
	bool (*is_in_heap)(const void *pointer);   /* mimalloc */
	int (*ownership)(const void *pointer);     /* tcmalloc */
	int (*mallctl)(const char *name, void *old, size_t *old_size, void *new, size_t new_size);
	size_t (*usable)(void *pointer);
	bool has_rule; /* mimalloc: this version's rule for large blocks was compared with it */
#if defined(__GLIBC__)
	struct vmat_glibc glibc;
#endif
};

#if defined(__GLIBC__)

/* dlsym returns an object pointer for a function: POSIX says that the bits are the same. */
#define LOOK_UP(function, name)                                 \
	do {                                                    \
		void *symbol_ = dlsym(RTLD_DEFAULT, (name));    \
                                                                \
		memcpy(&(function), &symbol_, sizeof(symbol_)); \
	} while (0)

/* Does a symbol lie in the object that holds `beside`? */
static bool is_beside(const char *name, const void *beside)
{
	const void *symbol = dlsym(RTLD_DEFAULT, name);
	Dl_info one, other;

	return symbol && dladdr(symbol, &one) && dladdr(beside, &other) &&
	       one.dli_fbase == other.dli_fbase;
}

static void recognise(struct allocator *ret)
{
	const void *address = dlsym(RTLD_DEFAULT, "malloc");
	int (*version)(void);

	ret->is_final = true;
	LOOK_UP(ret->usable, "malloc_usable_size");
	if (!address || !ret->usable || !is_beside("malloc_usable_size", address))
		return;
	/* tcmalloc has a nallocx, too. */
	if (is_beside("tc_nallocx", address)) {
		LOOK_UP(ret->nallocx, "tc_nallocx");
		LOOK_UP(ret->ownership, "MallocExtension_GetOwnership");
		ret->kind = TCMALLOC;
	} else if (is_beside("nallocx", address) && is_beside("mallctl", address)) {
		LOOK_UP(ret->nallocx, "nallocx");
		LOOK_UP(ret->mallctl, "mallctl");
		ret->kind = JEMALLOC;
	} else if (is_beside("mi_good_size", address)) {
		LOOK_UP(ret->good, "mi_good_size");
		LOOK_UP(ret->is_in_heap, "mi_is_in_heap_region");
		LOOK_UP(version, "mi_version");
		ret->has_rule = version && version() == MIMALLOC_VERIFIED;
		ret->kind = MIMALLOC;
	} else if (is_beside("gnu_get_libc_version", address)) {
		ret->kind = GLIBC;
		ret->is_final = vmat_glibc_find(&ret->glibc, address) != -EAGAIN;
	}
}
#else
/* musl's mallocng (1.2.1) tells the size that was asked for as the usable one; what was before did not. */
static void recognise(struct allocator *ret)
{
	void *probe = malloc(5);

	ret->is_final = true;
	ret->usable = malloc_usable_size;
	ret->kind = probe && malloc_usable_size(probe) == 5 ? MUSL : UNKNOWN;
	free(probe);
}
#endif

/* The answer, once it is known. Threads that ask at the same time find the same, and one of them writes it. */
static const struct allocator *allocator(struct allocator *room)
{
	static struct allocator known;
	static _Atomic int state; /* 0: nobody has asked, 1: being written, 2: `known` is true */
	int expected = 0;

	/* Acquire: pairs with the release below. */
	if (atomic_load_explicit(&state, memory_order_acquire) == 2)
		return &known;
	*room = (struct allocator){ .kind = UNKNOWN };
	recognise(room);
	if (!room->is_final || !atomic_compare_exchange_strong(&state, &expected, 1))
		return room;
	known = *room;
	atomic_store_explicit(&state, 2, memory_order_release);
	return &known;
}

const char *vmat_allocator(void)
{
	vmat_keep_errno;
	static const char *const names[] = {
		[GLIBC] = "glibc",       [JEMALLOC] = "jemalloc", [MIMALLOC] = "mimalloc",
		[TCMALLOC] = "tcmalloc", [MUSL] = "musl",
	};
	struct allocator room;

	return names[allocator(&room)->kind];
}

ssize_t vmat_good_size(size_t size)
{
	vmat_keep_errno;
	struct allocator room;
	const struct allocator *one = allocator(&room);
	size_t good;

	if (size > PTRDIFF_MAX)
		return -ENOMEM;
	switch (one->kind) {
#if defined(__GLIBC__)
	case GLIBC:
		return one->glibc.mp ? vmat_glibc_good_size(&one->glibc, size) : -ENOTSUP;
#endif
	case JEMALLOC:
	case TCMALLOC:
		/* 0 is not allowed there, and is no answer but for a size that no block has. */
		good = one->nallocx(size ? size : 1, 0);
		return good && good <= PTRDIFF_MAX ? (ssize_t)good : -ENOMEM;
	case MIMALLOC:
		if (size <= MIMALLOC_SMALL)
			return (ssize_t)one->good(size);
		return one->has_rule ? (ssize_t)vmat_mimalloc_usable(size) : -ENOTSUP;
	case MUSL:
		return (ssize_t)size;
	default:
		return -ENOTSUP;
	}
}

struct question {
	const struct allocator *one;
	void *pointer;
	size_t answer;
};

/*
 * Is there an extent at the pointer? jemalloc's malloc_usable_size() says 8 of an address without one that lies near its
 * own. Without this call (before 5.3) that cannot be told from a block of 8 bytes, and counts as none.
 */
static bool jemalloc_knows(const struct allocator *one, void *pointer)
{
	struct {
		size_t nfree, nregs, size;
	} found = { 0, 0, 0 };

	size_t found_size = sizeof(found);

	if (one->mallctl("experimental.utilization.batch_query", &found, &found_size, &pointer,
			 sizeof(pointer)))
		return one->usable(pointer) != 8;
	return found.size != 0;
}

static void ask(void *context)
{
	static const int traps[] = { SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE };
	const struct rlimit none = { 0, 0 };
	struct question *question = context;

	/* A crash is an answer; no handler of the program and no core file is to be had of it. */
	for (size_t i = 0; i < sizeof(traps) / sizeof(traps[0]); i++)
		sigaction(traps[i], &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	setrlimit(RLIMIT_CORE, &none);
	if (!question->one->mallctl || jemalloc_knows(question->one, question->pointer))
		question->answer = question->one->usable(question->pointer);
}

/* In a child: a pointer that the allocator does not know may crash it. */
static ssize_t ask_child(const struct allocator *one, const void *pointer)
{
	struct question *question = vmat_sys_shared_alloc(sizeof(*question));
	ssize_t answer;
	int r;

	if (!question)
		return -ENOMEM;
	question->one = one;
	question->pointer = (void *)(uintptr_t)pointer;
	question->answer = 0;
	r = vmat_sys_run_child(ask, question, CHILD_TIMEOUT_MS);
	answer = question->answer ? (ssize_t)question->answer : -EFAULT;
	vmat_sys_shared_free(question, sizeof(*question));
	/* -ECHILD: it crashed, so that it is no block. One that gave no answer in time says nothing of the pointer. */
	if (r == 0 || r == -ECHILD)
		return answer;
	return r == -ETIMEDOUT ? -EAGAIN : r;
}

ssize_t vmat_usable_size(const void *pointer)
{
	vmat_keep_errno;
	struct allocator room;
	const struct allocator *one = allocator(&room);
	size_t size;

	if (!pointer)
		return -EINVAL;
	switch (one->kind) {
#if defined(__GLIBC__)
	case GLIBC:
		return one->glibc.mp ? vmat_glibc_usable_size(&one->glibc, (uintptr_t)pointer)
				     : -ENOTSUP;
#endif
	case MIMALLOC:
		if (!one->is_in_heap)
			return -ENOTSUP;
		if ((uintptr_t)pointer % 8 || !one->is_in_heap(pointer))
			return -EFAULT;
		break;
	case TCMALLOC:
		if (!one->ownership)
			return -ENOTSUP;
		if ((uintptr_t)pointer % 8 || one->ownership(pointer) != TCMALLOC_OWNED)
			return -EFAULT;
		break;
	case JEMALLOC:
	case MUSL:
		return ask_child(one, pointer);
	default:
		return -ENOTSUP;
	}
	size = one->usable((void *)(uintptr_t)pointer);
	return size && size <= PTRDIFF_MAX ? (ssize_t)size : -EFAULT;
}
