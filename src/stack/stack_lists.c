/* SPDX-License-Identifier: MIT */
/*
 * stack_lists.c: see stack_lists.h. A walk collects each node's struct pthread whole, in one read a
 * thread; where the fields lie in it is searched for when all are there, so that an offset must hold
 * for all of them. A node costs one read, a list that changes up to four walks.
 */
#include "stack/stack_lists.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	ATTEMPTS = 4,           /* walks of a list that changes meanwhile, before it is partial */
	STACK_SIZE_MIN = 16384, /* PTHREAD_STACK_MIN of the smallest architecture */
	FRAMES_MIN = 1024,      /* bytes of a stack below struct pthread, at least */
	REGIONS_MAX = 1024,     /* of one stack: mprotect may have cut it */
	CACHE_REACH = 4,        /* list heads next to the known ones that may be the cache */
};

/* How a walk ended. */
enum end {
	WHOLE,    /* back at the head */
	CHANGED,  /* two nodes disagree: the process was changing the list */
	ABSENT,   /* a node cannot be read: swapped out, or no node at all */
	TOO_LONG, /* more nodes than there can be */
	NO_MEMORY,
};

struct walk {
	const struct vmat_stack_layout *layout;
	const struct vmat_map *map;
	vmat_stack_memory_fn *read;
	void *context;
	size_t limit;

	struct vmat_stack_entry *entries;
	unsigned char *structs; /* pthread_size bytes for each entry */
	bool *is_new; /* for each entry: it lies in no region, so it is newer than the map */
	size_t count;
	size_t capacity;
	const char *partial_why;
};

static uint64_t word_at(const struct walk *walk, const unsigned char *bytes)
{
	uint64_t wide;
	uint32_t narrow;

	if (walk->layout->word_size == 8) {
		memcpy(&wide, bytes, sizeof(wide));
		return wide;
	}
	memcpy(&narrow, bytes, sizeof(narrow));
	return narrow;
}

static const unsigned char *struct_of(const struct walk *walk, size_t i)
{
	return walk->structs + i * walk->layout->pthread_size;
}

static void blame(struct walk *walk, const char *why)
{
	if (!walk->partial_why)
		walk->partial_why = why;
}

/* Makes room for one entry more, and its struct pthread. */
static bool grow(struct walk *walk)
{
	size_t capacity = walk->capacity ? walk->capacity * 2 : 32;
	void *entries, *structs, *is_new;

	if (walk->count < walk->capacity)
		return true;
	entries = realloc(walk->entries, capacity * sizeof(*walk->entries));
	if (!entries)
		return false;
	walk->entries = entries;
	structs = realloc(walk->structs, capacity * walk->layout->pthread_size);
	if (!structs)
		return false;
	walk->structs = structs;
	is_new = realloc(walk->is_new, capacity * sizeof(*walk->is_new));
	if (!is_new)
		return false;
	walk->is_new = is_new;
	walk->capacity = capacity;
	return true;
}

/* The two words of a list head or node: 0, or -errno; -ENOENT when they are not present. */
static int read_links(const struct walk *walk, uint64_t addr, uint64_t *next, uint64_t *prev)
{
	unsigned char links[16];
	size_t size = 2 * walk->layout->word_size;
	ssize_t got = walk->read(walk->context, addr, links, size);

	if (got < 0)
		return (int)got;
	if ((size_t)got < size)
		return -ENOENT;
	*next = word_at(walk, links);
	*prev = word_at(walk, links + walk->layout->word_size);
	return 0;
}

/*
 * Can a node lie here? A place that the map does not show may be newer than the map: it is walked
 * through, because its links are checked and only present pages are read, but it is not reported.
 */
static bool is_plausible(const struct walk *walk, uint64_t node)
{
	const struct vmat_region *region;

	if (node % walk->layout->word_size || node < walk->layout->list_offset)
		return false;
	region = vmat_map_at(walk->map, node);
	return !region || (region->prot & VMAT_PROT_WRITE);
}

/* Reads the struct pthread of a node into the next free entry, which it does not take yet. */
static enum end read_node(struct walk *walk, enum vmat_stack_list list, uint64_t node)
{
	const struct vmat_stack_layout *layout = walk->layout;
	size_t needed = layout->list_offset + 2 * layout->word_size;
	struct vmat_stack_entry *entry;
	unsigned char *bytes;
	ssize_t got;

	if (walk->count >= walk->limit)
		return TOO_LONG;
	if (!is_plausible(walk, node))
		return CHANGED;
	if (!grow(walk))
		return NO_MEMORY;
	if (needed < layout->tid_offset + sizeof(entry->tid))
		needed = layout->tid_offset + sizeof(entry->tid);
	entry = &walk->entries[walk->count];
	bytes = walk->structs + walk->count * layout->pthread_size;
	memset(bytes, 0, layout->pthread_size);
	*entry = (struct vmat_stack_entry){ .list = list,
					    .thread_addr = node - layout->list_offset };
	walk->is_new[walk->count] = !vmat_map_at(walk->map, node);
	got = walk->read(walk->context, entry->thread_addr, bytes, layout->pthread_size);
	if (got < 0 || (size_t)got < needed)
		return ABSENT;
	memcpy(&entry->tid, bytes + layout->tid_offset, sizeof(entry->tid));
	return WHOLE;
}

/*
 * Walks from the head until it is reached again, or a node cannot be believed. Forward along next,
 * or backward along prev; each node must point back to the one before it, so a walk that strays into
 * another list because its node was moved there ends at once.
 */
static enum end walk_way(struct walk *walk, enum vmat_stack_list list, uint64_t first,
			 bool is_forward)
{
	const struct vmat_stack_layout *layout = walk->layout;
	size_t ahead = layout->list_offset + (is_forward ? 0 : layout->word_size);
	size_t behind = layout->list_offset + (is_forward ? layout->word_size : 0);
	uint64_t before = layout->heads[list], at = first;

	while (at != layout->heads[list]) {
		enum end end = read_node(walk, list, at);
		const unsigned char *bytes;

		if (end != WHOLE)
			return end;
		bytes = struct_of(walk, walk->count);
		if (word_at(walk, bytes + behind) != before)
			return CHANGED;
		before = at;
		at = word_at(walk, bytes + ahead);
		walk->count++;
	}
	return WHOLE;
}

static const char *reason_of(enum end end)
{
	switch (end) {
	case CHANGED:
		return "threads came and went while glibc's lists were read";
	case ABSENT:
		return "a part of glibc's lists is not in memory (swapped out)";
	case TOO_LONG:
		return "glibc's lists are longer than there can be threads";
	case WHOLE:
	case NO_MEMORY:
		break;
	}
	return NULL;
}

/* Walks one list. A list that changes is walked again; past a node that is absent, from its other end. */
static int walk_list(struct walk *walk, enum vmat_stack_list list)
{
	size_t first_entry = walk->count;
	enum end end = CHANGED;

	for (unsigned attempt = 0; attempt < ATTEMPTS && end == CHANGED; attempt++) {
		uint64_t next, prev;
		int err = read_links(walk, walk->layout->heads[list], &next, &prev);

		if (err)
			return err;
		walk->count = first_entry;
		end = walk_way(walk, list, next, true);
		if (end == ABSENT || (end == CHANGED && attempt == ATTEMPTS - 1)) {
			/* What the second walk finds twice is sorted out at the end. */
			if (walk_way(walk, list, prev, false) == NO_MEMORY)
				end = NO_MEMORY;
		}
	}
	if (end == NO_MEMORY)
		return -ENOMEM;
	if (end != WHOLE)
		blame(walk, reason_of(end));
	return 0;
}

/* Is there a circular list at this address? */
static bool is_list_head(const struct walk *walk, uint64_t head)
{
	uint64_t next, prev, there, back;

	if (read_links(walk, head, &next, &prev) < 0)
		return false;
	if (next == head || prev == head)
		return next == prev;
	return is_plausible(walk, next) && is_plausible(walk, prev) &&
	       read_links(walk, next, &there, &back) == 0 && back == head &&
	       read_links(walk, prev, &there, &back) == 0 && there == head;
}

/*
 * The head of the cache, which no symbol names since glibc 2.33: it stands next to the other two
 * (sysdeps/generic/ldsodefs.h: _dl_stack_used, _dl_stack_user, _dl_stack_cache). 0: not found.
 */
static uint64_t find_cache(const struct walk *walk)
{
	uint64_t used = walk->layout->heads[VMAT_STACK_LIST_USED];
	uint64_t user = walk->layout->heads[VMAT_STACK_LIST_USER];
	uint64_t step = 2 * walk->layout->word_size;
	uint64_t low = used < user ? used : user, high = used < user ? user : used;

	if (high - low != step)
		return 0;
	for (uint64_t i = 1; i <= CACHE_REACH; i++) {
		if (is_list_head(walk, high + i * step))
			return high + i * step;
		if (is_list_head(walk, low - i * step))
			return low - i * step;
	}
	return 0;
}

/* Is all of [start, end) mapped? A stack in more regions than any real one is refused. */
static bool is_mapped(const struct vmat_map *map, uint64_t start, uint64_t end)
{
	size_t i = vmat_map_find(map, start), stop = i + REGIONS_MAX;

	for (; i < map->count && i < stop && map->regions[i].start <= start; i++) {
		if (map->regions[i].end >= end)
			return true;
		start = map->regions[i].end;
	}
	return false;
}

static bool is_page_multiple(const struct walk *walk, uint64_t value)
{
	return value % walk->map->base_page_size == 0;
}

/* The three fields, if they were at `offset` of entry i. */
static void fields_at(const struct walk *walk, size_t i, uint32_t offset,
		      struct vmat_stack_entry *ret)
{
	const unsigned char *bytes = struct_of(walk, i) + offset;
	unsigned word_size = walk->layout->word_size;

	*ret = walk->entries[i];
	ret->block = word_at(walk, bytes);
	ret->size = word_at(walk, bytes + word_size);
	ret->guard = word_at(walk, bytes + 2 * word_size);
}

/* Can this be the stack of the thread whose struct pthread lies at thread_addr? */
static bool is_stack(const struct walk *walk, const struct vmat_stack_entry *entry)
{
	uint64_t end = entry->block + entry->size;

	if (entry->size < STACK_SIZE_MIN || end <= entry->block || entry->guard >= entry->size)
		return false;
	if (entry->thread_addr < entry->block || entry->thread_addr - entry->block < FRAMES_MIN ||
	    entry->thread_addr >= end || end - entry->thread_addr < walk->layout->pthread_size)
		return false;
	if (entry->list != VMAT_STACK_LIST_USER &&
	    (!is_page_multiple(walk, entry->block) || !is_page_multiple(walk, entry->size) ||
	     !is_page_multiple(walk, entry->guard)))
		return false;
	return is_mapped(walk->map, entry->block, end);
}

/*
 * The main thread has no block, and instead of a size the end of its stack (nptl_init in glibc 2.31,
 * __libc_early_init since 2.32: stackblock_size = __libc_stack_end).
 */
static bool is_main(const struct walk *walk, const struct vmat_stack_entry *entry)
{
	return entry->list == VMAT_STACK_LIST_USER && entry->block == 0 &&
	       vmat_map_at(walk->map, entry->size);
}

/* How many entries have a stack if stackblock lies at `offset`; *bad: how many contradict it. */
static size_t count_stacks(const struct walk *walk, uint32_t offset, size_t *bad)
{
	size_t good = 0;

	*bad = 0;
	for (size_t i = 0; i < walk->count; i++) {
		struct vmat_stack_entry entry;

		fields_at(walk, i, offset, &entry);
		if (is_stack(walk, &entry))
			good++;
		else if (!walk->is_new[i] && !is_main(walk, &entry))
			(*bad)++;
		/* Nonsense is seen at the first few: real offsets are few, entries may be many. */
		if (*bad > 8 && *bad > good)
			break;
	}
	return good;
}

/*
 * Where stackblock lies in struct pthread. A thread that ended meanwhile may contradict the truth, so
 * one in ten may. 0: nowhere, which is right for a process of one thread.
 */
static uint32_t find_block_offset(struct walk *walk)
{
	unsigned word_size = walk->layout->word_size;
	size_t best_good = 0, best_bad = 0;
	uint32_t best = 0;

	for (uint32_t offset = 0; offset + 3 * word_size <= walk->layout->pthread_size;
	     offset += word_size) {
		size_t bad, good = count_stacks(walk, offset, &bad);

		if (good > best_good && bad * 10 <= good) {
			best = offset;
			best_good = good;
			best_bad = bad;
		}
	}
	if (best_bad)
		blame(walk, reason_of(CHANGED));
	return best;
}

/* Puts the fields into the entries, and drops those that cannot be believed. */
static void fill_entries(struct walk *walk, uint32_t offset)
{
	size_t kept = 0;

	for (size_t i = 0; i < walk->count; i++) {
		struct vmat_stack_entry entry = walk->entries[i];

		if (offset) {
			fields_at(walk, i, offset, &entry);
			entry.has_block = is_stack(walk, &entry);
		}
		if (!entry.has_block && entry.list != VMAT_STACK_LIST_USER) {
			blame(walk, reason_of(CHANGED));
			continue;
		}
		walk->entries[kept++] = entry;
	}
	walk->count = kept;
}

static int compare_entries(const void *a, const void *b)
{
	const struct vmat_stack_entry *x = a, *y = b;

	if (x->thread_addr != y->thread_addr)
		return x->thread_addr < y->thread_addr ? -1 : 1;
	return (int)x->list - (int)y->list;
}

/* A thread that was moved from list to list while they were read counts where it was seen first. */
static void sort_entries(struct walk *walk)
{
	size_t kept = 0;

	if (walk->count)
		qsort(walk->entries, walk->count, sizeof(*walk->entries), compare_entries);
	for (size_t i = 0; i < walk->count; i++)
		if (!kept || walk->entries[kept - 1].thread_addr != walk->entries[i].thread_addr)
			walk->entries[kept++] = walk->entries[i];
	walk->count = kept;
}

static bool is_layout_sound(const struct vmat_stack_layout *layout)
{
	unsigned word_size = layout->word_size;

	return (word_size == 4 || word_size == 8) &&
	       layout->pthread_size <= VMAT_STACK_PTHREAD_MAX &&
	       layout->pthread_size >= 4 * word_size && layout->list_offset % word_size == 0 &&
	       layout->list_offset <= layout->pthread_size - 2 * word_size &&
	       layout->tid_offset <= layout->pthread_size - sizeof(int32_t);
}

static int walk_lists(struct walk *walk)
{
	for (int list = 0; list < VMAT_STACK_LISTS; list++) {
		int err = 0;

		if (walk->layout->heads[list])
			err = walk_list(walk, (enum vmat_stack_list)list);
		/* Without the cache the rest is still worth having. */
		if (err && (err == -ENOMEM || list == VMAT_STACK_LIST_USED))
			return err;
		if (err || !walk->layout->heads[list])
			blame(walk, "one of glibc's lists of stacks cannot be read");
	}
	return 0;
}

int vmat_stack_lists_read(struct vmat_stack_lists *ret, const struct vmat_stack_layout *layout,
			  const struct vmat_map *map, vmat_stack_memory_fn *read, void *context,
			  size_t limit)
{
	struct vmat_stack_layout whole = *layout;
	struct walk walk = {
		.layout = &whole, .map = map, .read = read, .context = context, .limit = limit
	};
	uint32_t offset;
	int err;

	if (!is_layout_sound(layout) || !map->base_page_size)
		return -EINVAL;
	if (!whole.heads[VMAT_STACK_LIST_CACHE])
		whole.heads[VMAT_STACK_LIST_CACHE] = find_cache(&walk);
	err = walk_lists(&walk);
	if (err) {
		free(walk.entries);
		free(walk.structs);
		free(walk.is_new);
		return err;
	}
	offset = find_block_offset(&walk);
	fill_entries(&walk, offset);
	free(walk.structs);
	free(walk.is_new);
	sort_entries(&walk);
	*ret = (struct vmat_stack_lists){
		.entries = walk.entries,
		.count = walk.count,
		.is_partial = walk.partial_why != NULL,
		.partial_why = walk.partial_why,
		.block_offset = offset,
	};
	return 0;
}

void vmat_stack_lists_deinit(struct vmat_stack_lists *lists)
{
	free(lists->entries);
	*lists = (struct vmat_stack_lists){ 0 };
}
