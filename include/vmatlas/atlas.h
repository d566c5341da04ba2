/* SPDX-License-Identifier: MIT */
/*
 * atlas.h: the composed model: what each region is, who owns it, and why we say so.
 *
 * An atlas holds a map and its stacks and puts a kind, an owner and the evidence on each region. A
 * region that holds several things (two merged stacks; an arena merged with a mapped block) has
 * parts, in address order; its own kind and owner are then those of the largest part.
 */
#ifndef VMATLAS_ATLAS_H
#define VMATLAS_ATLAS_H

#include <vmatlas/map.h>
#include <vmatlas/stack.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_kind {
	VMAT_KIND_TEXT,        /* code of a file */
	VMAT_KIND_RODATA,      /* read-only data of an ELF file */
	VMAT_KIND_RELRO,       /* made read-only after relocation */
	VMAT_KIND_DATA,        /* initialised writable data of an ELF file */
	VMAT_KIND_BSS,         /* zeroed data that follows it */
	VMAT_KIND_HEAP,        /* the brk heap */
	VMAT_KIND_ARENA,       /* a heap of a glibc malloc thread arena */
	VMAT_KIND_MALLOC_MMAP, /* a block that malloc took from mmap */
	VMAT_KIND_STACK,
	VMAT_KIND_GUARD, /* no rights, below a stack */
	VMAT_KIND_TLS,   /* thread-local storage of the main thread */
	VMAT_KIND_FILE,  /* a mapped file that is no program or library */
	VMAT_KIND_SHM,
	VMAT_KIND_MEMFD,
	VMAT_KIND_HUGETLB,
	VMAT_KIND_JIT, /* anonymous and executable */
	VMAT_KIND_VDSO,
	VMAT_KIND_KERNEL,   /* [vvar], [vsyscall], [uprobes] */
	VMAT_KIND_RESERVED, /* no rights: address space that is kept, not used */
	VMAT_KIND_ANON,     /* anonymous, and nothing tells whose */
	VMAT_KIND_COUNT,
};

/* "text", "malloc_mmap", ...: as in JSON. Lifetime: static. */
const char *vmat_kind_name(enum vmat_kind kind);
/* One sentence about the kind. Lifetime: static. */
const char *vmat_kind_meaning(enum vmat_kind kind);

struct vmat_part {
	uint64_t start;
	uint64_t end;
	enum vmat_kind kind;
	const char *owner; /* "thread 77 worker", "libc.so.6"; "" when none is known */
	const char *why;   /* the evidence, one short clause */
	uint64_t tid;      /* of the owning thread, else unknown */
};

/* What is said of a region. Same index as in map->regions. */
struct vmat_owner {
	enum vmat_kind kind;
	const char *owner;
	const char *why;
	struct vmat_part *parts; /* NULL when the region is one thing */
	size_t parts_count;
};

struct vmat_total {
	enum vmat_kind kind;
	uint64_t count;
	uint64_t size, rss, pss, uss, swap, copied; /* unknown when it is so for any region */
};

struct vmat_atlas {
	struct vmat_map *map;
	struct vmat_stacks *stacks; /* NULL when they could not be read */
	struct vmat_owner *owners;  /* map->count of them; NULL without VMAT_ATLAS_OWNERS */
	bool is_partial;            /* here or in the map or the stacks */
	char partial_why[508];
	struct vmat_atlas_priv *priv;
};

enum vmat_atlas_want {
	VMAT_ATLAS_OWNERS = 1, /* kinds, owners, evidence: reads stacks, ELF and heap headers */
};

struct vmat_atlas_options {
	size_t size;
	uint32_t want;     /* enum vmat_atlas_want */
	uint32_t map_want; /* enum vmat_want */
	void (*progress)(void *context, uint64_t done, uint64_t total);
	void *progress_context;
};

/* Errors, needs and cost: those of vmat_map_read; owners cost about 1 us per region more. */
int vmat_atlas_read(struct vmat_atlas **ret, struct vmat_target *target,
		    const struct vmat_atlas_options *options, struct vmat_error *err);
struct vmat_atlas *vmat_atlas_free(struct vmat_atlas *atlas);

/*
 * Were the first words of the region read? If not, what is ANON of it may be malloc's all the same: its first page was not
 * there, or not any more.
 */
bool vmat_atlas_was_read(const struct vmat_atlas *atlas, size_t region);

/* Totals per kind, in the order of the kinds, only those that occur. `ret` has VMAT_KIND_COUNT. */
size_t vmat_atlas_totals(const struct vmat_atlas *atlas, struct vmat_total *ret);

#ifdef __cplusplus
}
#endif
#endif
