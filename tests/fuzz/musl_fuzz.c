/* SPDX-License-Identifier: MIT */
/*
 * musl's mallocng in a hostile memory: the walk ends, and what it reports makes sense.
 *
 * The context is at DATA, one meta area behind it. It has a mapped group of slots of 2,032 bytes, one of which holds a
 * group of slots of 48 bytes with an aligned block in it, and a block with a mapping of its own.
 */
enum {
	DATA = 0x10000,
	CONTEXT = DATA + 0x200,
	AREA = 0x12000,
	OUTER = 0x20000,
	MAPPED = 0x22000,
	END = 0x26000,
	SECRET = 0x5ec8e7,
	META = 40, /* sizeof(struct meta) */
};

#define FUZZ_START DATA
#define FUZZ_SIZE  (END - DATA)

#include "fuzz_heap.h"

static void put_meta(unsigned number, uint64_t mem, uint64_t avail, uint64_t freed, unsigned last,
		     unsigned size_class, uint64_t pages)
{
	uint64_t meta = AREA + 24 + META * (uint64_t)number;

	fuzz_put(meta + 16, mem);
	fuzz_put(meta + 24, avail | freed << 32);
	fuzz_put(meta + 32, last | size_class << 6 | pages << 12);
	fuzz_put(mem, meta);
}

/* The header of a slot: {overflow, index and reserved, offset}, 4 bytes before the block. */
static void put_header(uint64_t block, unsigned index, unsigned reserved, unsigned offset)
{
	uint8_t *at = fuzz_memory + (block - DATA);

	at[-4] = 0;
	at[-3] = (uint8_t)(index | reserved << 5);
	at[-2] = (uint8_t)offset;
	at[-1] = (uint8_t)(offset >> 8);
}

static void build(void)
{
	uint64_t inner = OUTER + 16 + 127 * 16;

	memset(fuzz_memory, 0, sizeof(fuzz_memory));
	fuzz_put(CONTEXT, SECRET);
	fuzz_put(CONTEXT + 8, 1);        /* init_done */
	fuzz_put(CONTEXT + 7 * 8, AREA); /* meta_area_head, _tail */
	fuzz_put(CONTEXT + 8 * 8, AREA);
	fuzz_put(AREA, SECRET);
	fuzz_put(AREA + 16, 101);
	put_meta(0, OUTER, 0, 0, 1, 23, 1); /* two slots of 127 units: the first in use */
	put_header(OUTER + 16, 0, 3, 0);
	put_header(inner, 1, 6, 127);
	put_meta(1, inner, 1 << 3, 1 << 5, 9, 2, 0); /* ten slots of 3 units, in the second one */
	for (unsigned i = 0; i < 10; i++) {
		if (i != 3 && i != 5 && i != 7)
			put_header(inner + 16 + 48 * i, i, 0, 3 * i);
	}
	put_header(inner + 16 + 48 * 7, 0, 7, 1); /* its block begins a unit further behind */
	put_header(inner + 16 + 48 * 7 + 16, 7, 0, 22);
	put_meta(2, MAPPED, 0, 0, 0, 63, 4);
	put_header(MAPPED + 16, 0, 0, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmat_region regions[] = {
		{ .start = DATA,
		  .end = AREA,
		  .prot = VMAT_PROT_READ | VMAT_PROT_WRITE,
		  .backing = VMAT_BACKING_FILE,
		  .name = "/lib/ld-musl-x86_64.so.1" },
		{ .start = AREA,
		  .end = OUTER,
		  .prot = VMAT_PROT_READ | VMAT_PROT_WRITE,
		  .backing = VMAT_BACKING_ANON,
		  .name = "[heap]" },
		{ .start = OUTER,
		  .end = END,
		  .prot = VMAT_PROT_READ | VMAT_PROT_WRITE,
		  .backing = VMAT_BACKING_ANON,
		  .name = "" },
	};

	build();
	fuzz_walk(&vmat_musl_ops, regions, 3, data, size);
	return 0;
}
