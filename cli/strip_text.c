/* SPDX-License-Identifier: MIT */
/* Strips of a heap drawn with characters: see strip_text.h. A colour is never the only sign. */
#include "strip_text.h"

#include <inttypes.h>
#include <string.h>

enum { WIDTH = 80, MARGIN = 16 /* an address and two blanks */, LEAST = 16 };

/* What a cell is, from full to gone. */
enum look { FULL, MOST, HALF, SOME, FREE, TOP, ABSENT, LOOKS };

static const struct {
	const char *utf8, *ascii, *meaning;
	enum vmat_tint tint;
} looks[LOOKS] = {
	[FULL] = { "█", "#", "in use", VMAT_TINT_HEAP },
	[MOST] = { "▓", "%", "mostly", VMAT_TINT_HEAP },
	[HALF] = { "▒", "=", "half", VMAT_TINT_HEAP },
	[SOME] = { "░", "-", "a little", VMAT_TINT_HEAP },
	[FREE] = { "·", ".", "free", VMAT_TINT_GOOD },
	[TOP] = { "╌", "~", "free end", VMAT_TINT_IDLE },
	[ABSENT] = { " ", " ", "blank: not in memory", VMAT_TINT_NONE },
};

size_t cli_strip_columns(size_t width)
{
	if (!width)
		width = WIDTH;
	return width < MARGIN + LEAST ? LEAST : width - MARGIN;
}

static enum look look_of(const struct vmat_heap_cell *cell)
{
	uint64_t idle = cell->cached + cell->free + cell->top, all = cell->in_use + idle;

	if (cell->in_use) {
		if (!idle)
			return FULL;
		if (cell->in_use * 8 >= all * 5)
			return MOST;
		return cell->in_use * 8 >= all * 3 ? HALF : SOME;
	}
	if (vmat_is_known(cell->absent) && cell->absent == all)
		return ABSENT;
	return cell->top > cell->free + cell->cached ? TOP : FREE;
}

static const char *sign_of(const struct cli_output *output, enum look look)
{
	return output->text.is_utf8 ? looks[look].utf8 : looks[look].ascii;
}

static void write_line(const struct cli_output *output, const struct vmat_heap_cell *cells,
		       size_t count)
{
	enum vmat_tint tint = VMAT_TINT_NONE;

	printf("%14" PRIx64 "  ", cells[0].start);
	for (size_t i = 0; i < count; i++) {
		enum look look = look_of(&cells[i]);

		if (output->text.has_colour && looks[look].tint != tint) {
			tint = looks[look].tint;
			printf("\033[0m%s", vmat_tint_sequence(tint));
		}
		fputs(sign_of(output, look), stdout);
	}
	if (tint != VMAT_TINT_NONE)
		fputs("\033[0m", stdout);
	putchar('\n');
}

static void write_legend(const struct cli_output *output)
{
	for (size_t i = 0; i < LOOKS; i++)
		printf("%s%s%s%s", i ? "  " : "", i == ABSENT ? "" : sign_of(output, (enum look)i),
		       i == ABSENT ? "" : " ", looks[i].meaning);
	putchar('\n');
}

static void write_strip(const struct cli_output *output, const struct vmat_heap *heap,
			const struct vmat_heap_strips *strips, const struct vmat_heap_strip *strip)
{
	const size_t columns = cli_strip_columns(output->text.width);
	uint64_t in_use = 0, idle = 0;

	for (size_t i = 0; i < strip->cells_count; i++) {
		const struct vmat_heap_cell *cell = &strips->cells[strip->cells + i];

		in_use += cell->in_use;
		idle += cell->cached + cell->free + cell->top;
	}
	if (strip->arena < heap->arenas_count)
		cli_line("\n%s arena 0x%" PRIx64 ": %s, %s in use, %s free",
			 heap->arenas[strip->arena].kind, heap->arenas[strip->arena].addr,
			 cli_size(output, strip->end - strip->start), cli_size(output, in_use),
			 cli_size(output, idle));
	for (size_t i = 0; i < strip->cells_count; i += columns) {
		size_t left = strip->cells_count - i;

		write_line(output, &strips->cells[strip->cells + i],
			   left < columns ? left : columns);
	}
}

void cli_strip_write(const struct cli_output *output, const struct vmat_heap *heap,
		     const struct vmat_heap_strips *strips)
{
	cli_line("Each sign stands for %s:", cli_size(output, strips->cell_bytes));
	write_legend(output);
	for (size_t i = 0; i < strips->count; i++)
		write_strip(output, heap, strips, &strips->strips[i]);
	if (strips->mapped_count)
		cli_line("\nand %s blocks with a mapping of their own, %s, all in use",
			 cli_count(strips->mapped_count), cli_size(output, strips->mapped_bytes));
}
