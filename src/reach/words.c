/* SPDX-License-Identifier: MIT */
/* words.c: growing arrays in reserved address space: they cost memory only as they are filled, and never move. */
#include <errno.h>
#include <string.h>

#include "reach/reach_priv.h"

int vmat_words_init(struct vmat_words *words, size_t capacity)
{
	words->words = vmat_heap_reserve(capacity * sizeof(*words->words));
	words->capacity = capacity;
	return words->words ? 0 : -ENOMEM;
}

void vmat_words_deinit(struct vmat_words *words)
{
	vmat_heap_unreserve(words->words, words->capacity * sizeof(*words->words));
	*words = (struct vmat_words){ 0 };
}

void vmat_words_move(struct vmat_words *to, struct vmat_words *from)
{
	enum { AT_ONCE = 1 << 19 };

	for (size_t done = 0, count; done < from->count; done += count) {
		count = from->count - done < AT_ONCE ? from->count - done : AT_ONCE;
		memcpy(to->words + to->count, from->words + done, count * sizeof(*to->words));
		to->count += count;
		vmat_heap_drop(from->words + done, count * sizeof(*from->words));
	}
	from->count = 0;
}
