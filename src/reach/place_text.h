/* SPDX-License-Identifier: MIT */
/*
 * place_text.h: what a place in a process is, in words: a global, a thread's stack, its storage, a register.
 *
 * Places of files need symbols, which are looked up for all of them at once: so texts are asked for first,
 * and written in the end.
 */
#ifndef VMAT_PLACE_TEXT_H
#define VMAT_PLACE_TEXT_H

#include <vmatlas/atlas.h>

#include "reach/reach_priv.h"

struct vmat_place_texts;

/* `atlas` has owners. NULL when there is no memory. */
struct vmat_place_texts *vmat_place_texts_new(struct vmat_target *target,
					      const struct vmat_atlas *atlas,
					      struct vmat_strings *strings);
struct vmat_place_texts *vmat_place_texts_free(struct vmat_place_texts *texts);

/* Stacks as they were while the target stood, and their pointers. */
void vmat_place_texts_stacks(struct vmat_place_texts *texts, const struct vmat_stacks *stacks,
			     const uint64_t *stack_pointers);

/* How much thread-local storage lies below each thread's descriptor. */
uint64_t vmat_place_texts_tls_size(const struct vmat_place_texts *texts);

/*
 * The text of a place goes to *ret when vmat_place_texts_write is called; "" when nothing is known but its region.
 * *why_not (may be NULL) then says why there is no symbol. 0 or -ENOMEM.
 */
int vmat_place_texts_ask(struct vmat_place_texts *texts, uint64_t place, const char **ret,
			 const char **why_not);
int vmat_place_texts_write(struct vmat_place_texts *texts);

#endif
