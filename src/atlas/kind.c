/* SPDX-License-Identifier: MIT */
/*
 * kind.c: the kinds of regions, by name and in a sentence.
 */
#include <vmatlas/atlas.h>

static const struct {
	const char *name;
	const char *meaning;
} kinds[VMAT_KIND_COUNT] = {
	[VMAT_KIND_TEXT] = { "text", "code of a program or library" },
	[VMAT_KIND_RODATA] = { "rodata", "read-only data of a program or library" },
	[VMAT_KIND_RELRO] = { "relro",
			      "data of a program or library, made read-only after relocation" },
	[VMAT_KIND_DATA] = { "data", "writable data of a program or library" },
	[VMAT_KIND_BSS] = { "bss",
			    "zeroed data of a program or library, beyond what its file holds" },
	[VMAT_KIND_HEAP] = { "heap", "the heap that brk(2) grows" },
	[VMAT_KIND_ARENA] = { "arena", "a heap of a thread arena of glibc's malloc" },
	[VMAT_KIND_MALLOC_MMAP] = { "malloc_mmap", "a large block that malloc took from mmap" },
	[VMAT_KIND_STACK] = { "stack", "the stack of a thread" },
	[VMAT_KIND_GUARD] = { "guard", "pages without rights at the end of a stack" },
	[VMAT_KIND_TLS] = { "tls", "thread-local storage and descriptor of the main thread" },
	[VMAT_KIND_FILE] = { "file", "a mapped file that is no program or library" },
	[VMAT_KIND_SHM] = { "shm", "memory shared between processes" },
	[VMAT_KIND_MEMFD] = { "memfd", "memory behind a descriptor (memfd_create)" },
	[VMAT_KIND_HUGETLB] = { "hugetlb", "huge pages of hugetlbfs, which RSS does not count" },
	[VMAT_KIND_JIT] = { "jit", "anonymous memory that holds code" },
	[VMAT_KIND_VDSO] = { "vdso", "code that the kernel gives to each process" },
	[VMAT_KIND_KERNEL] = { "kernel", "data that the kernel shows to each process" },
	[VMAT_KIND_RESERVED] = { "reserved", "address space that is kept and not used: no rights" },
	[VMAT_KIND_ANON] = { "anon", "anonymous memory, and nothing tells whose" },
};

const char *vmat_kind_name(enum vmat_kind kind)
{
	return (unsigned)kind < VMAT_KIND_COUNT ? kinds[kind].name : "";
}

const char *vmat_kind_meaning(enum vmat_kind kind)
{
	return (unsigned)kind < VMAT_KIND_COUNT ? kinds[kind].meaning : "";
}
