/* SPDX-License-Identifier: MIT */
/*
 * heap.c: heaps with the variables, headers and size rules of FreeRTOS's heap_1 to heap_5, and what they hold by a ledger.
 *
 * What is reported does not come from the counters and lists that a debugger reads: live blocks are written down when they
 * are given out, and free ones are found by going through the memory from header to header.
 */
#include "shape.h"

enum { LEDGER = 64 };

static struct {
	void *block;
	size_t size; /* with its header */
} ledger[LEDGER];

static size_t live_bytes, live_bytes_most, first_free;

static void note(void *block, size_t size)
{
	for (unsigned i = 0; i < LEDGER; i++) {
		if (ledger[i].block)
			continue;
		ledger[i].block = block;
		ledger[i].size = size;
		live_bytes += size;
		if (live_bytes > live_bytes_most)
			live_bytes_most = live_bytes;
		return;
	}
	say("the ledger is full\n");
}

static size_t forget(void *block)
{
	for (unsigned i = 0; i < LEDGER; i++) {
		if (ledger[i].block == block) {
			ledger[i].block = NULL;
			live_bytes -= ledger[i].size;
			return ledger[i].size;
		}
	}
	say("a block that was not given out is freed\n");
	return 0;
}

#if HEAP == 3
#include <malloc.h>
#include <stdlib.h>

void *heap_malloc(size_t size)
{
	void *block = malloc(size);

	note(block, malloc_usable_size(block));
	return block;
}

void heap_free(void *block)
{
	forget(block);
	free(block);
}

void heap_report(void)
{
	(void)first_free;
	say_begin("heap");
	say_number("scheme", 3);
	say_number("live", live_bytes);
	say_end();
}

#else

#define ROUND(size) (((size) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1))

#if HEAP == 1
static uint8_t ucHeap[HEAP_SIZE];
static size_t xNextFreeByte;

void *heap_malloc(size_t size)
{
	static uint8_t *pucAlignedHeap;

	if (!pucAlignedHeap)
		pucAlignedHeap = (uint8_t *)ROUND((uintptr_t)ucHeap + ALIGNMENT - 1);
	size = ROUND(size);
	if (xNextFreeByte + size >= HEAP_SIZE - ALIGNMENT)
		return NULL;
	xNextFreeByte += size;
	note(pucAlignedHeap + xNextFreeByte - size, size);
	return pucAlignedHeap + xNextFreeByte - size;
}

/* It never takes anything back. */
void heap_free(void *block)
{
	(void)block, (void)forget;
}

void heap_report(void)
{
	(void)first_free;
	say_begin("heap");
	say_number("scheme", 1);
	say_number("array", HEAP_SIZE);
	say_number("total", HEAP_SIZE - ALIGNMENT);
	say_number("live", live_bytes);
	say_number("free", HEAP_SIZE - ALIGNMENT - live_bytes);
	say_number("minimum", HEAP_SIZE - ALIGNMENT - live_bytes_most);
	say_null("largest");
	say_null("blocks");
	say_end();
	say_bytes(ucHeap, 0);
}

#else

typedef struct A_BLOCK_LINK {
	struct A_BLOCK_LINK *pxNextFreeBlock;
	size_t xBlockSize;
} BlockLink_t;

static const size_t xHeapStructSize = ROUND(sizeof(BlockLink_t));
/* heap_2 marks blocks since V10.5. */
#define MARKED        (HEAP != 2 || SHAPE >= 11)
#define ALLOCATED_BIT (MARKED ? (size_t)1 << (sizeof(size_t) * 8 - 1) : 0)

static size_t xFreeBytesRemaining;
static BlockLink_t xStart;
#if HEAP == 2
static BlockLink_t xEnd;
#define END (&xEnd)
#else
static BlockLink_t *pxEnd;
#define END pxEnd
static size_t xMinimumEverFreeBytesRemaining;
#if SHAPE >= 10
static size_t xNumberOfSuccessfulAllocations, xNumberOfSuccessfulFrees;
#endif
#if SHAPE < 11
static size_t xBlockAllocatedBit;
#endif
#endif

#if PROTECT
static uintptr_t xHeapCanary;
#define HIDDEN(pointer) ((BlockLink_t *)((uintptr_t)(pointer) ^ xHeapCanary))
#else
#define HIDDEN(pointer) (pointer)
#endif

#if HEAP == 5
typedef struct HeapRegion {
	uint8_t *pucStartAddress;
	size_t xSizeInBytes;
} HeapRegion_t;

enum { SMALL = 2048 };

static uint8_t ucLowRegion[SMALL];
static uint8_t ucHighRegion[HEAP_SIZE - SMALL];
#else
static uint8_t ucHeap[HEAP_SIZE];
#endif

/* Where the blocks of each region begin and end. */
static struct {
	uint8_t *start, *end;
} areas[3];

static unsigned areas_count;

/* heap_2 keeps its free blocks by size, the others by address, with neighbours made one. */
static void put_free(BlockLink_t *block)
{
	BlockLink_t *before = &xStart, *next;

	for (;;) {
		next = HIDDEN(before->pxNextFreeBlock);
		if (next == END ||
		    (HEAP == 2 ? next->xBlockSize >= block->xBlockSize : next > block))
			break;
		before = next;
	}
	block->pxNextFreeBlock = HIDDEN(next);
	before->pxNextFreeBlock = HIDDEN(block);
	if (HEAP == 2)
		return;
	if (next != END && (uint8_t *)block + block->xBlockSize == (uint8_t *)next) {
		block->xBlockSize += next->xBlockSize;
		block->pxNextFreeBlock = next->pxNextFreeBlock;
	}
	if (before != &xStart && (uint8_t *)before + before->xBlockSize == (uint8_t *)block) {
		before->xBlockSize += block->xBlockSize;
		before->pxNextFreeBlock = block->pxNextFreeBlock;
	}
}

static void add_area(uint8_t *memory, size_t size)
{
	uint8_t *start = (uint8_t *)ROUND((uintptr_t)memory);
	uint8_t *end = (uint8_t *)((uintptr_t)(memory + size - (HEAP == 2 ? 0 : xHeapStructSize)) &
				   ~(uintptr_t)(ALIGNMENT - 1));
	BlockLink_t *block = (BlockLink_t *)(void *)start;

#if HEAP == 2
	/* One alignment less than the array, wherever it begins. */
	end = start + HEAP_SIZE - ALIGNMENT;
#else
	BlockLink_t *last = pxEnd;

	pxEnd = (BlockLink_t *)(void *)end;
	pxEnd->pxNextFreeBlock = HIDDEN(NULL);
	pxEnd->xBlockSize = 0;
#endif
	block->xBlockSize = (size_t)(end - start);
	block->pxNextFreeBlock = HIDDEN(END);
#if HEAP != 2
	/* The end marker of the region before leads here. */
	if (last)
		last->pxNextFreeBlock = HIDDEN(block);
	else
#endif
		xStart.pxNextFreeBlock = HIDDEN(block);
	areas[areas_count].start = start;
	areas[areas_count++].end = end;
	first_free += block->xBlockSize;
}

static void begin(void)
{
#if PROTECT
	xHeapCanary = (uintptr_t)0x1badcafe5eedf00d;
#endif
#if HEAP == 5
	/*
	 * Arrays may lie in either order; FreeRTOS wants regions by address. Nothing fits into the tiny one, so its end stays in
	 * the list of free blocks.
	 */
	const size_t tiny_size = 64;
	const HeapRegion_t low = { ucLowRegion, sizeof(ucLowRegion) };
	const HeapRegion_t high = { ucHighRegion + tiny_size, sizeof(ucHighRegion) - tiny_size };
	const HeapRegion_t tiny = { ucHighRegion, tiny_size };
	int is_low_first = low.pucStartAddress < high.pucStartAddress;

	if (is_low_first)
		add_area(low.pucStartAddress, low.xSizeInBytes);
	add_area(tiny.pucStartAddress, tiny.xSizeInBytes);
	add_area(high.pucStartAddress, high.xSizeInBytes);
	if (!is_low_first)
		add_area(low.pucStartAddress, low.xSizeInBytes);
#else
	add_area(ucHeap, sizeof(ucHeap));
#endif
	xFreeBytesRemaining = first_free;
#if HEAP == 2
	xEnd.xBlockSize = HEAP_SIZE - ALIGNMENT;
#else
	xMinimumEverFreeBytesRemaining = first_free;
#if SHAPE < 11
	xBlockAllocatedBit = ALLOCATED_BIT;
#endif
#endif
}

void *heap_malloc(size_t size)
{
	BlockLink_t *before = &xStart, *block;

	if (!areas_count)
		begin();
	size = ROUND(size + xHeapStructSize);
	block = HIDDEN(before->pxNextFreeBlock);
	/* The end markers of the regions before the last have no size and do not fit. */
	while (block != END && block->xBlockSize < size) {
		before = block;
		block = HIDDEN(block->pxNextFreeBlock);
	}
	if (block == END)
		return NULL;
	before->pxNextFreeBlock = block->pxNextFreeBlock;
	if (block->xBlockSize - size > 2 * xHeapStructSize) {
		BlockLink_t *rest = (BlockLink_t *)(void *)((uint8_t *)block + size);

		rest->xBlockSize = block->xBlockSize - size;
		block->xBlockSize = size;
		put_free(rest);
	}
	xFreeBytesRemaining -= block->xBlockSize;
	note((uint8_t *)block + xHeapStructSize, block->xBlockSize);
	block->xBlockSize |= ALLOCATED_BIT;
	block->pxNextFreeBlock = HIDDEN(NULL);
#if HEAP != 2
	if (xFreeBytesRemaining < xMinimumEverFreeBytesRemaining)
		xMinimumEverFreeBytesRemaining = xFreeBytesRemaining;
#if SHAPE >= 10
	xNumberOfSuccessfulAllocations++;
#endif
#endif
	return (uint8_t *)block + xHeapStructSize;
}

void heap_free(void *memory)
{
	BlockLink_t *block = (BlockLink_t *)(void *)((uint8_t *)memory - xHeapStructSize);

	block->xBlockSize &= ~ALLOCATED_BIT;
	xFreeBytesRemaining += block->xBlockSize;
	forget(memory);
	put_free(block);
#if HEAP != 2 && SHAPE >= 10
	xNumberOfSuccessfulFrees++;
#endif
}

static int is_live(const uint8_t *block)
{
	for (unsigned i = 0; i < LEDGER; i++)
		if (ledger[i].block == block + xHeapStructSize)
			return 1;
	return 0;
}

void heap_report(void)
{
	size_t blocks = 0, largest = 0, sum = 0;

	for (unsigned i = 0; i < areas_count; i++) {
		for (uint8_t *at = areas[i].start; at < areas[i].end;) {
			size_t size = ((BlockLink_t *)(void *)at)->xBlockSize & ~ALLOCATED_BIT;

			if (!is_live(at)) {
				blocks++;
				sum += size;
				largest = size > largest ? size : largest;
			}
			at += size;
		}
	}
	say_begin("heap");
	say_number("scheme", HEAP);
	say_number("array", HEAP_SIZE);
	say_number("total", first_free);
	say_number("live", live_bytes);
	say_number("free", first_free - live_bytes);
	say_number("sum", sum);
	if (HEAP == 2)
		say_null("minimum");
	else
		say_number("minimum", first_free - live_bytes_most);
	say_number("largest", largest);
	say_number("blocks", blocks);
	say_end();
}
#endif
#endif
