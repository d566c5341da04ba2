/* SPDX-License-Identifier: MIT */
/*
 * stack_lists.h: glibc's lists of thread stacks, walked in the memory of a running process.
 *
 * glibc keeps three circular, doubly linked lists of struct pthread: threads on stacks that it mapped
 * itself (used), threads on stacks that the program supplied and the main thread (user), and stacks
 * of threads that have ended and wait for the next one (cache). The process runs on while they are
 * read, so nothing of them is believed unless it agrees with itself: each node must point back to the
 * one before it, and where in struct pthread the fields stackblock, stackblock_size and guardsize lie
 * is not known from a version but searched for: it is the one offset at which they make sense for all
 * threads at once.
 *
 * Pure: memory comes through a function. Hostile memory costs time in proportion to `limit`, no more.
 */
#ifndef VMAT_STACK_LISTS_H
#define VMAT_STACK_LISTS_H

#include <sys/types.h>

#include <vmatlas/map.h>

/* Reads up to `size` bytes of the process: how many up to the first that cannot be, or -errno. */
typedef ssize_t vmat_stack_memory_fn(void *context, uint64_t addr, void *buffer, size_t size);

enum vmat_stack_list {
	VMAT_STACK_LIST_USED,
	VMAT_STACK_LIST_USER,
	VMAT_STACK_LIST_CACHE,
	VMAT_STACK_LISTS,
};

/* Largest struct pthread that is believed. It has 2304 bytes in glibc 2.36 on x86-64. */
#define VMAT_STACK_PTHREAD_MAX 8192

/* What is known about this glibc, from the symbols that it exports for debuggers. */
struct vmat_stack_layout {
	unsigned word_size;    /* 4 or 8 */
	uint32_t pthread_size; /* _thread_db_sizeof_pthread */
	uint32_t list_offset;  /* _thread_db_pthread_list */
	uint32_t tid_offset;   /* _thread_db_pthread_tid */
	/* Addresses of the list heads. 0: not known; the cache's is then searched for. */
	uint64_t heads[VMAT_STACK_LISTS];
};

struct vmat_stack_entry {
	uint64_t thread_addr; /* of struct pthread */
	enum vmat_stack_list list;
	int32_t tid;    /* in the pid namespace of the process; <= 0: the thread has ended */
	bool has_block; /* else this is the main thread, or the offsets could not be found */
	uint64_t block; /* stackblock: lowest address, guard included */
	uint64_t size;  /* stackblock_size, guard included */
	uint64_t guard; /* guardsize */
};

struct vmat_stack_lists {
	struct vmat_stack_entry *entries; /* ascending by thread_addr, each once */
	size_t count;
	bool is_partial;
	const char *partial_why; /* static; NULL when it is whole */
	uint32_t block_offset;   /* of stackblock in struct pthread; 0 when not found */
};

/*
 * Walks the lists, at most `limit` nodes altogether. What could be read is kept: is_partial says that
 * something is missing.
 * Errors: -EINVAL no glibc has such a layout; -ENOMEM; -ENOENT the heads cannot be read (they are not present); those of `read`.
 */
int vmat_stack_lists_read(struct vmat_stack_lists *ret, const struct vmat_stack_layout *layout,
			  const struct vmat_map *map, vmat_stack_memory_fn *read, void *context,
			  size_t limit);
void vmat_stack_lists_deinit(struct vmat_stack_lists *lists);

#endif
