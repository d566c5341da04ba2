/* SPDX-License-Identifier: MIT */
/*
 * stack.h: the threads of a target, their stacks and guards, and what lies between them.
 *
 * A stack is not a VMA: two stacks without guards merge into one, and a stack that the program
 * supplied lies inside other memory. So the truth is taken from glibc's own lists of stacks in the
 * target (_rtld_global: _dl_stack_used, _dl_stack_user, _dl_stack_cache), whose offsets are found
 * and validated at run time. Where there are no such lists (musl, Go, static programs) the stack
 * pointer and the VMA that it lies in are used, and `why` says so. The target is never stopped.
 */
#ifndef VMATLAS_STACK_H
#define VMATLAS_STACK_H

#include <vmatlas/map.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_stack_kind {
	VMAT_STACK_MAIN,    /* the kernel's [stack] */
	VMAT_STACK_THREAD,  /* mapped by glibc */
	VMAT_STACK_USER,    /* supplied by the program (pthread_attr_setstack) */
	VMAT_STACK_CACHED,  /* of a thread that has exited; glibc keeps it for the next one */
	VMAT_STACK_EXITED,  /* of a thread that has exited and that nobody has joined yet */
	VMAT_STACK_GUESSED, /* no list: the region around the stack pointer */
};

enum vmat_guard_kind {
	VMAT_GUARD_NONE,
	VMAT_GUARD_VMA,    /* pages without rights, seen in maps */
	VMAT_GUARD_MARKER, /* MADV_GUARD_INSTALL, glibc 2.42 and later: in no maps */
	VMAT_GUARD_KERNEL, /* below [stack]: the kernel keeps stack_guard_gap free */
	VMAT_GUARD_UNKNOWN,
};

struct vmat_stack {
	uint64_t tid;  /* VMAT_UNKNOWN(VMAT_NOT_APPLICABLE) for a cached or exited one */
	char name[64]; /* task comm; "" for a cached or exited one */
	char state;    /* 'R', 'S', 'D', ...; 0 for a cached or exited one */
	enum vmat_stack_kind kind;
	enum vmat_guard_kind guard_kind;
	uint64_t guard; /* bytes of guard at `begin`; glibc struct pthread: guardsize */
	uint64_t
		begin; /* lowest address of the reservation, guard included; unknown: no place found,
			   and all that follows from it is unknown for the same reason */
	uint64_t end;
	uint64_t size; /* end - begin */
	/* begin of the next stack (by address) minus this end; unknown for the last, and for one that
	   lies inside another or holds one */
	uint64_t gap;
	uint64_t gap_holes;   /* bytes of the gap that are not mapped */
	const char *gap_what; /* what lies in the gap, for people: "libc.so.6 +3, 2.1M" or "" */
	uint64_t sp;          /* stack pointer, when the thread is blocked */
	uint64_t used;        /* end - sp */
	uint64_t resident;    /* present pages between begin + guard and end */
	/* end - lowest page in use, present or swapped: the deepest it has ever been, in pages */
	uint64_t high_water;
	/* of a core: 1 it ran over the end of its stack, 0 it did not; else unknown */
	uint64_t overflowed;
	uint64_t thread_addr; /* struct pthread (the thread's own descriptor) */
	size_t region;        /* region of the map that holds end - 1; map->count if none */
	const char *why;
};

struct vmat_stacks {
	struct vmat_stack *stacks; /* ascending by begin; those without a known place last */
	size_t count;
	size_t threads; /* how many of them belong to a thread that lives */
	bool is_partial;
	char partial_why[508];
	const char *verdict;     /* of a core: who overflowed, or that a fault was none; "" else */
	const char *method;      /* how they were found, for people */
	uint64_t rtld_data_addr; /* _rtld_global in the target; 0 when there are no lists */
	struct vmat_stacks_priv *priv;
};

/*
 * Reads the stacks of the target, whose map is `map` (VMAT_WANT_REGIONS is enough).
 * Errors: -EACCES/-EPERM; -ESRCH; -ENOMEM.
 * Needs: the right to ptrace-read the target. Cost: about 8 us per thread, of which the kernel takes 5
 * for two texts of /proc (task/TID/stat and syscall) and 2 for its descriptor; never stops it.
 */
int vmat_stacks_read(struct vmat_stacks **ret, struct vmat_target *target,
		     const struct vmat_map *map, struct vmat_error *err);
struct vmat_stacks *vmat_stacks_free(struct vmat_stacks *stacks);

const char *vmat_stack_kind_name(enum vmat_stack_kind kind);
const char *vmat_guard_kind_name(enum vmat_guard_kind kind);

#ifdef __cplusplus
}
#endif
#endif
