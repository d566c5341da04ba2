/* SPDX-License-Identifier: MIT */
/* glibc's malloc from inside: see prim_glibc.h. Layouts: glibc 2.26 to 2.42, malloc/malloc.c and malloc/arena.c. */
#include "prim/prim_glibc.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <stdlib.h>
#include <unistd.h>

#include <vmatlas/feature.h>

#include "base/malloc_sizes.h"
#include "sys/sys_process.h"

enum {
	DATA_MAX = 4 << 20, /* libc's data is some ten KiB */
	ARENAS_MAX = 65536,
	BINS = 127,
	LARGE_FROM = 64, /* the first bin of chunks of several sizes */
	UNSORTED_MAX = 64,
	TCACHE_CHUNK_MAX = 1040,
	TLS_WORDS = 512,
};

#define PREV_IN_USE    1ULL
#define IS_MMAPPED     2ULL
#define IN_OTHER_ARENA 4ULL
#define SIZE_OF(word)  ((word) & ~7ULL)
#define ADDRESS_MAX    (1ULL << 47)
#define UNKNOWN_ARENA  1UL

struct range {
	uintptr_t start, end;
};

/* Copies words from an address that may be anything. 0; -EFAULT where nothing is; else it was refused. */
static int copy_words(uintptr_t address, uint64_t *words, size_t count)
{
	struct iovec local = { words, 8 * count }, remote = { (void *)address, 8 * count };
	ssize_t got = vmat_sys_process_read(getpid(), &local, &remote, 1);

	if (got < 0)
		return (int)got;
	return got == (ssize_t)(8 * count) ? 0 : -EFAULT;
}

static bool read_words(uintptr_t address, uint64_t *words, size_t count)
{
	return copy_words(address, words, count) == 0;
}

/* A word of the library's data or of an arena; others write to it meanwhile. */
static uint64_t word_at(uintptr_t address)
{
	return __atomic_load_n((const uint64_t *)address, __ATOMIC_RELAXED);
}

static uint32_t half_at(uintptr_t address)
{
	return __atomic_load_n((const uint32_t *)address, __ATOMIC_RELAXED);
}

static uintptr_t next_of(const struct vmat_glibc *glibc, uintptr_t arena)
{
	return word_at(arena + glibc->bins + 2048);
}

static uintptr_t bin_of(const struct vmat_glibc *glibc, uintptr_t arena, unsigned bin)
{
	return arena + glibc->bins + 16UL * bin - 32;
}

static bool is_inside(const struct range *range, uintptr_t address, size_t size)
{
	return address >= range->start && address <= range->end && size <= range->end - address;
}

/* Does the list of free chunks go out and come back? */
static bool bin_is_closed(uintptr_t bin)
{
	uint64_t first = word_at(bin + 16), last = word_at(bin + 24), back;

	if (first == bin && last == bin)
		return true;
	return read_words(first + 24, &back, 1) && back == bin && read_words(last + 16, &back, 1) &&
	       back == bin;
}

static bool is_main_arena(struct vmat_glibc *glibc, const struct range *data, uintptr_t arena)
{
	uint64_t next;

	if (!is_inside(data, arena, glibc->bins + 2048 + 40))
		return false;
	next = next_of(glibc, arena);
	/* A thread arena stands behind the heap_info of its first heap. */
	if (next != arena && (next & 0xfffff) != 0x20 && (next & 0xfffff) != 0x30)
		return false;
	for (int n = 0; next != arena; n++)
		if (n == ARENAS_MAX || !next || !read_words(next + glibc->bins + 2048, &next, 1))
			return false;
	for (unsigned bin = 1; bin <= BINS; bin++)
		if (!bin_is_closed(bin_of(glibc, arena, bin)))
			return false;
	glibc->main_arena = arena;
	return true;
}

static bool is_zero_or_power(uint64_t value)
{
	return (value & (value - 1)) == 0;
}

/* glibc's order: trim_threshold top_pad mmap_threshold arena_test arena_max ... */
static bool is_mp(const struct vmat_glibc *glibc, uintptr_t mp)
{
	const uint64_t top = word_at(glibc->main_arena + glibc->bins - 16);
	const uint64_t base = word_at(mp + glibc->sbrk_base),
		       bytes = word_at(mp + glibc->mmapped_mem);
	uint32_t now = half_at(mp + glibc->n_mmaps), most = half_at(mp + glibc->n_mmaps + 8);
	uint64_t tests = word_at(mp + 24), bins = word_at(mp + glibc->sbrk_base + 8);

	if (!base || base & 15 || base > top || top - base > 1ULL << 40)
		return false;
	if (now > most || half_at(mp + glibc->n_mmaps + 12) > 1 || bytes & 4095)
		return false;
	if (word_at(mp + 8) > ADDRESS_MAX || word_at(mp + 16) > ADDRESS_MAX)
		return false;
	if (!tests || tests > 1 << 20 || word_at(mp + 32) > 1 << 20 || bins > 76)
		return false;
	return !glibc->hp_pagesize || is_zero_or_power(word_at(mp + glibc->hp_pagesize));
}

static void set_layout(struct vmat_glibc *glibc)
{
	const char *version = gnu_get_libc_version(); /* "2.36" */
	bool is_new;

	glibc->minor = version[0] == '2' && version[1] == '.'
			       ? (unsigned)strtoul(version + 2, NULL, 10)
			       : 0;
	is_new = glibc->minor >= 35;
	glibc->bins = glibc->minor == 26 ? 104 : 112;
	glibc->n_mmaps = is_new ? 60 : 40;
	glibc->mmapped_mem = is_new ? 80 : 56;
	glibc->sbrk_base = is_new ? 96 : 72;
	glibc->hp_pagesize = is_new ? 48 : 0;
}

struct search {
	uintptr_t inside; /* an address of the object that is looked for */
	struct range data[4];
	size_t data_count;
};

static int collect_data(struct dl_phdr_info *info, size_t size, void *context)
{
	struct search *search = context;
	bool is_it = false;

	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		struct range range = { info->dlpi_addr + header->p_vaddr,
				       info->dlpi_addr + header->p_vaddr + header->p_memsz };

		if (header->p_type == PT_LOAD && is_inside(&range, search->inside, 1))
			is_it = true;
		if (header->p_type != PT_LOAD || !(header->p_flags & PF_W) ||
		    search->data_count == 4)
			continue;
		range.start = (range.start + 7) & ~7UL;
		if (range.end - range.start > DATA_MAX)
			range.end = range.start + DATA_MAX;
		search->data[search->data_count++] = range;
	}
	if (!is_it)
		search->data_count = 0;
	return is_it;
}

int vmat_glibc_find(struct vmat_glibc *ret, const void *malloc_address)
{
	struct search search = { .inside = (uintptr_t)malloc_address };
	struct vmat_glibc found = { 0 };
	size_t count = 0;

#if !defined(__x86_64__)
	return -ENOTSUP; /* nobody has tried it elsewhere */
#endif
	set_layout(&found);
	if (found.minor < 26 || found.minor > 42 ||
	    !vmat_feature_has(VMAT_FEATURE_PROCESS_VM_READV) ||
	    !dl_iterate_phdr(collect_data, &search))
		return -ENOTSUP;
	for (size_t i = 0; i < search.data_count && !found.main_arena; i++)
		for (uintptr_t at = search.data[i].start; at < search.data[i].end; at += 8)
			if (is_main_arena(&found, &search.data[i], at))
				break;
	for (size_t i = 0; i < search.data_count && found.main_arena; i++) {
		for (uintptr_t at = search.data[i].start; is_inside(&search.data[i], at, 136);
		     at += 8) {
			if (!is_mp(&found, at))
				continue;
			found.mp = at;
			count++;
		}
	}
	if (count != 1)
		return -EAGAIN;
	*ret = found;
	return 0;
}

/* The arena of this thread: the only word of its static TLS that points to one. 0: it has none yet. */
static uintptr_t own_arena(const struct vmat_glibc *glibc)
{
	uint64_t words[TLS_WORDS];
	size_t count = TLS_WORDS;
	uintptr_t end = 0;
	int r = 0;

#if defined(__x86_64__)
	__asm__("mov %%fs:0, %0" : "=r"(end));
#endif
	/* The block of TLS may be shorter than that, with nothing mapped before. */
	while (count && (r = copy_words(end - 8 * count, words, count)) == -EFAULT)
		count /= 2;
	if (!count || r)
		return UNKNOWN_ARENA;
	for (size_t i = count; i-- > 0;) {
		uintptr_t arena = glibc->main_arena;

		for (int n = 0; n < ARENAS_MAX; n++) {
			if (words[i] == arena)
				return arena;
			arena = next_of(glibc, arena);
			if (arena == glibc->main_arena)
				break;
		}
	}
	return 0;
}

/* 1, 0, or -ENOTSUP when the chunk cannot be looked at. */
static int chunk_fits(uintptr_t chunk, uint64_t needed)
{
	uint64_t word;

	return read_words(chunk + 8, &word, 1) ? SIZE_OF(word) >= needed : -ENOTSUP;
}

/* malloc/malloc.c: largebin_index_64() */
static unsigned bin_index(uint64_t chunk)
{
	if (chunk < 1024)
		return (unsigned)(chunk >> 4);
	if (chunk >> 6 <= 48)
		return 48 + (unsigned)(chunk >> 6);
	if (chunk >> 9 <= 20)
		return 91 + (unsigned)(chunk >> 9);
	if (chunk >> 12 <= 10)
		return 110 + (unsigned)(chunk >> 12);
	if (chunk >> 15 <= 4)
		return 119 + (unsigned)(chunk >> 15);
	return chunk >> 18 <= 2 ? 124 + (unsigned)(chunk >> 18) : 126;
}

/* Has the arena free memory for such a chunk? Then it is not mapped, whatever the threshold. 1, 0 or -ENOTSUP. */
static int arena_fits(const struct vmat_glibc *glibc, uintptr_t arena, uint64_t chunk)
{
	uintptr_t unsorted = bin_of(glibc, arena, 1);
	uint64_t at = word_at(unsorted + 16);
	unsigned own = bin_index(chunk);
	int fits = chunk_fits(word_at(arena + glibc->bins - 16), chunk + 32);

	for (int n = 0; !fits && at != unsorted; n++) {
		fits = n < UNSORTED_MAX ? chunk_fits(at, chunk) : -ENOTSUP;
		if (!fits && !read_words(at + 16, &at, 1))
			fits = -ENOTSUP;
	}
	for (unsigned bin = own < LARGE_FROM ? LARGE_FROM : own; !fits && bin < BINS; bin++) {
		uintptr_t head = bin_of(glibc, arena, bin), first = word_at(head + 16);

		/* The first one of a bin is its largest. */
		if (first != head)
			fits = bin > own ? 1 : chunk_fits(first, chunk);
	}
	return fits;
}

ssize_t vmat_glibc_good_size(const struct vmat_glibc *glibc, size_t size)
{
	uint64_t chunk, page = (uint64_t)sysconf(_SC_PAGESIZE);
	uintptr_t arena;
	int fits = 0;

	if (size > PTRDIFF_MAX - 2 * page)
		return -ENOMEM;
	chunk = vmat_glibc_chunk(size);
	if (chunk < word_at(glibc->mp + 16) ||
	    half_at(glibc->mp + glibc->n_mmaps) >= half_at(glibc->mp + glibc->n_mmaps + 4))
		return (ssize_t)chunk - 8;
	/* What the caches of small blocks hold is not looked at; so small a threshold is somebody's experiment. */
	if (chunk <= TCACHE_CHUNK_MAX ||
	    (glibc->hp_pagesize && word_at(glibc->mp + glibc->hp_pagesize)))
		return -ENOTSUP;
	arena = own_arena(glibc);
	if (arena == UNKNOWN_ARENA)
		return -ENOTSUP;
	if (arena)
		fits = arena_fits(glibc, arena, chunk);
	if (fits)
		return fits < 0 ? fits : (ssize_t)chunk - 8;
	return (ssize_t)vmat_glibc_mapped(chunk, page);
}

/* A block with a mapping of its own: [prev_size bytes of alignment] header, block, to the end of the page. */
static ssize_t mapped_size(const struct vmat_glibc *glibc, uintptr_t chunk, const uint64_t *header)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), size = SIZE_OF(header[1]), last;

	if (header[1] & (PREV_IN_USE | IN_OTHER_ARENA) || !half_at(glibc->mp + glibc->n_mmaps))
		return -EFAULT;
	if (header[0] > chunk || (chunk - header[0]) % page || (header[0] + size) % page ||
	    size < 32)
		return -EFAULT;
	if (header[0] + size > word_at(glibc->mp + glibc->mmapped_mem))
		return -EFAULT; /* more than all mapped blocks have together */
	return read_words(chunk + size - 8, &last, 1) ? (ssize_t)size - 16 : -EFAULT;
}

/* The part of memory of which an arena makes chunks, around an address. */
static bool heap_around(const struct vmat_glibc *glibc, uintptr_t chunk, bool is_other,
			struct range *ret)
{
	/* HEAP_MAX_SIZE; the largest is that of 1 GiB huge pages. heap_info begins with its arena; then prev, size. */
	static const uint64_t alignments[] = { 64ULL << 20, 8ULL << 20, 4ULL << 30 };
	uintptr_t arena = glibc->main_arena;
	uint64_t heap[3];

	if (!is_other) {
		ret->start = word_at(glibc->mp + glibc->sbrk_base);
		ret->end = word_at(arena + glibc->bins - 16);
		/* A heap of several parts: where they are, nobody has written down. */
		if (half_at(arena + 4) & 2)
			*ret = (struct range){ 4096, ADDRESS_MAX };
		return true;
	}
	for (size_t i = 0; i < sizeof(alignments) / sizeof(alignments[0]); i++) {
		uintptr_t start = chunk & ~(alignments[i] - 1);

		if (!read_words(start, heap, 3))
			continue;
		for (int n = 0; n < ARENAS_MAX; n++) {
			if (heap[0] == arena && arena != glibc->main_arena) {
				*ret = (struct range){ start, start + heap[2] };
				return heap[2] <= alignments[i];
			}
			arena = next_of(glibc, arena);
			if (arena == glibc->main_arena)
				break;
		}
	}
	return false;
}

static ssize_t usable_size(const struct vmat_glibc *glibc, uintptr_t address)
{
	uintptr_t chunk = address - 16;
	uint64_t header[2], next[2], size;
	struct range heap;

	if (address & 15 || address < 4096 || address >= ADDRESS_MAX)
		return -EFAULT;
	/* A read that is refused altogether (seccomp) says nothing of the pointer. */
	if (!read_words(chunk, header, 2))
		return read_words(glibc->main_arena, next, 2) ? -EFAULT : -ENOTSUP;
	if (header[1] & IS_MMAPPED)
		return mapped_size(glibc, chunk, header);
	size = SIZE_OF(header[1]);
	if (size < 32 || size & 15 ||
	    !heap_around(glibc, chunk, header[1] & IN_OTHER_ARENA, &heap) ||
	    !is_inside(&heap, chunk, size) || !read_words(chunk + size, next, 2))
		return -EFAULT;
	/* The next one must say that this one is in use, and look like a chunk; so must a free one before. */
	if (!(next[1] & PREV_IN_USE) || next[1] & IS_MMAPPED || (SIZE_OF(next[1]) & 15) ||
	    (next[1] & IN_OTHER_ARENA) != (header[1] & IN_OTHER_ARENA))
		return -EFAULT;
	if (!(header[1] & PREV_IN_USE)) {
		if (header[0] < 32 || header[0] & 15 || header[0] > chunk - heap.start ||
		    !read_words(chunk - header[0], next, 2) || SIZE_OF(next[1]) != header[0])
			return -EFAULT;
	}
	return (ssize_t)size - 8;
}

ssize_t vmat_glibc_usable_size(const struct vmat_glibc *glibc, uintptr_t address)
{
	ssize_t size = usable_size(glibc, address);

	/* Other threads may have changed the neighbours between two looks. */
	return size == -EFAULT ? usable_size(glibc, address) : size;
}
