/* SPDX-License-Identifier: MIT */
/* What a place in a process is, in words: see place_text.h. */
#include "reach/place_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/elf.h>
#include <vmatlas/name.h>

#include "base/cleanup.h"
#include "target/target_source.h"

enum { DESCRIPTOR_SIZE = 2304 /* struct pthread of glibc 2.26 to 2.43, rounded up */ };

struct request {
	uint64_t place;
	const char **ret;
	const char **why_not;
};

struct vmat_place_texts {
	struct vmat_target *target;
	const struct vmat_atlas *atlas;
	const struct vmat_stacks *stacks;
	const uint64_t *stack_pointers;
	struct vmat_strings *strings;
	uint64_t
		tls_size; /* of all programs and libraries: what lies below each thread's descriptor */
	struct request *requests;
	size_t count, capacity;
};

struct image_at {
	struct vmat_target *target;
	uint64_t start, size;
};

static int read_image(void *context, uint64_t offset, void *buffer, size_t size)
{
	const struct image_at *image = context;

	if (offset > image->size || size > image->size - offset)
		return -ENODATA;
	return vmat_source_read(image->target, image->start + offset, buffer, size) == (ssize_t)size
		       ? 0
		       : -ENODATA;
}

/* How much thread-local storage the files ask for that are mapped. */
static uint64_t sum_tls(const struct vmat_place_texts *texts)
{
	const struct vmat_map *map = texts->atlas->map;
	uint64_t sum = 0;

	for (size_t i = 0; i < map->count; i++) {
		const struct vmat_region *region = &map->regions[i];
		struct image_at image = { texts->target, region->start, vmat_region_size(region) };
		struct vmat_elf elf;

		if (region->backing != VMAT_BACKING_FILE || region->offset ||
		    vmat_elf_read(&elf, read_image, &image, NULL) < 0)
			continue;
		for (size_t k = 0; k < elf.segments_count; k++) {
			const struct vmat_segment *tls = &elf.segments[k];
			uint64_t align = tls->align ? tls->align : 1;

			if (tls->type == VMAT_SEGMENT_TLS && tls->mem_size < 1 << 20 &&
			    align <= 4096)
				sum += (tls->mem_size + align - 1) / align * align;
		}
	}
	return sum;
}

struct vmat_place_texts *vmat_place_texts_new(struct vmat_target *target,
					      const struct vmat_atlas *atlas,
					      struct vmat_strings *strings)
{
	struct vmat_place_texts *texts = calloc(1, sizeof(*texts));

	if (!texts)
		return NULL;
	texts->target = target;
	texts->atlas = atlas;
	texts->stacks = atlas->stacks;
	texts->strings = strings;
	texts->tls_size = sum_tls(texts);
	return texts;
}

struct vmat_place_texts *vmat_place_texts_free(struct vmat_place_texts *texts)
{
	if (texts)
		free(texts->requests);
	free(texts);
	return NULL;
}

void vmat_place_texts_stacks(struct vmat_place_texts *texts, const struct vmat_stacks *stacks,
			     const uint64_t *stack_pointers)
{
	if (!stacks)
		return;
	texts->stacks = stacks;
	texts->stack_pointers = stack_pointers;
}

uint64_t vmat_place_texts_tls_size(const struct vmat_place_texts *texts)
{
	return texts->tls_size;
}

int vmat_place_texts_ask(struct vmat_place_texts *texts, uint64_t place, const char **ret,
			 const char **why_not)
{
	*ret = "";
	if (texts->count == texts->capacity) {
		size_t capacity = texts->capacity ? 2 * texts->capacity : 32;
		struct request *more = realloc(texts->requests, capacity * sizeof(*more));

		if (!more)
			return -ENOMEM;
		texts->requests = more;
		texts->capacity = capacity;
	}
	texts->requests[texts->count++] = (struct request){ place, ret, why_not };
	return 0;
}

static const char *register_text(struct vmat_place_texts *texts, uint64_t place)
{
	static const char names_64[15][4] = { "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8",
					      "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
	static const char names_32[7][4] = { "eax", "ebx", "ecx", "edx", "esi", "edi", "ebp" };
	unsigned tid = (unsigned)(place >> 16 & 0x7fffffff), number = (place & 0xffff) / 8;
	bool is_wide = vmat_target_process(texts->target)->word_size != 4;
	const char *name = "a vector register";

	if ((place & 0xffff) < VMAT_PLACE_EXTENDED && number < (is_wide ? 15U : 7U))
		name = is_wide ? names_64[number] : names_32[number];
	return vmat_strings_printf(texts->strings, "register %s of thread %u", name, tid);
}

static const char *thread_of(struct vmat_place_texts *texts, const struct vmat_stack *stack)
{
	if (!vmat_is_known(stack->tid))
		return "an exited thread";
	return vmat_strings_printf(texts->strings, "thread %" PRIu64 " %s", stack->tid,
				   stack->name);
}

/* A place on a thread's stack, or in what glibc keeps above it. NULL when it is none of these. */
static const char *thread_text(struct vmat_place_texts *texts, uint64_t place)
{
	const struct vmat_stacks *stacks = texts->stacks;

	for (size_t i = 0; stacks && i < stacks->count; i++) {
		const struct vmat_stack *stack = &stacks->stacks[i];
		const char *thread = thread_of(texts, stack);
		uint64_t descriptor = stack->thread_addr, sp;

		if (!thread)
			return NULL;
		if (vmat_is_known(descriptor) && descriptor && place < descriptor &&
		    descriptor - place <= texts->tls_size)
			return vmat_strings_printf(texts->strings,
						   "thread-local storage of %s, tp-0x%" PRIx64,
						   thread, descriptor - place);
		if (vmat_is_known(descriptor) && descriptor && place >= descriptor &&
		    place - descriptor < DESCRIPTOR_SIZE)
			return vmat_strings_printf(texts->strings,
						   "descriptor (struct pthread) of %s +0x%" PRIx64,
						   thread, place - descriptor);
		if (!vmat_is_known(stack->begin) || place < stack->begin || place >= stack->end)
			continue;
		sp = texts->stack_pointers ? texts->stack_pointers[i] : stack->sp;
		if (vmat_is_known(stack->guard) && place - stack->begin < stack->guard)
			return vmat_strings_printf(texts->strings, "guard of the stack of %s",
						   thread);
		if (!vmat_is_known(sp) || sp < stack->begin || sp >= stack->end)
			return vmat_strings_printf(texts->strings, "stack of %s, end-0x%" PRIx64,
						   thread, stack->end - place);
		return vmat_strings_printf(texts->strings, "stack of %s, sp%c0x%" PRIx64 "%s",
					   thread, place < sp ? '-' : '+',
					   place < sp ? sp - place : place - sp,
					   place < sp ? " (below the frames in use)" : "");
	}
	return NULL;
}

/* By the kind of its region, where neither symbols nor threads tell more. */
static const char *region_text(struct vmat_place_texts *texts, uint64_t place)
{
	const struct vmat_map *map = texts->atlas->map;
	size_t i = vmat_map_find(map, place);
	const struct vmat_owner *owner;
	enum vmat_kind kind;
	const char *name;

	if (i == map->count || map->regions[i].start > place)
		return "";
	owner = &texts->atlas->owners[i];
	kind = owner->kind;
	name = owner->owner;
	for (size_t k = 0; k < owner->parts_count; k++) {
		if (place >= owner->parts[k].start && place < owner->parts[k].end) {
			kind = owner->parts[k].kind;
			name = owner->parts[k].owner;
		}
	}
	return vmat_strings_printf(texts->strings, "%s%s%s +0x%" PRIx64, vmat_kind_name(kind),
				   name[0] ? " of " : " memory", name,
				   place - map->regions[i].start);
}

static int write_names(struct vmat_place_texts *texts, struct vmat_name *names, const size_t *whose,
		       size_t count)
{
	int err = vmat_names_read(texts->target, texts->atlas->map, names, count, NULL);

	for (size_t i = 0; i < count && !err; i++) {
		const struct request *request = &texts->requests[whose[i]];
		char text[512];

		if (names[i].path) {
			vmat_name_text(text, sizeof(text), &names[i]);
			*request->ret = vmat_strings_printf(
				texts->strings, "%s%s",
				vmat_is_known(names[i].place.begin) && !names[i].place.is_near &&
						!names[i].place.is_function
					? "global "
					: "",
				text);
			if (request->why_not)
				*request->why_not =
					vmat_strings_printf(texts->strings, "%s", names[i].why_not);
			err = *request->ret ? 0 : -ENOMEM;
		} else if (request->why_not) {
			*request->why_not = "no program or library lies there";
		} else {
			*request->ret = region_text(texts, names[i].addr);
			err = *request->ret ? 0 : -ENOMEM;
		}
	}
	return err;
}

int vmat_place_texts_write(struct vmat_place_texts *texts)
{
	vmat_autofree struct vmat_name *names = calloc(texts->count + 1, sizeof(*names));
	vmat_autofree size_t *whose = calloc(texts->count + 1, sizeof(*whose));
	size_t asked = 0;

	if (!names || !whose)
		return -ENOMEM;
	for (size_t i = 0; i < texts->count; i++) {
		const struct request *request = &texts->requests[i];
		const char *text = request->place >> 63 ? register_text(texts, request->place)
							: thread_text(texts, request->place);

		if (text) {
			*request->ret = text;
			continue;
		}
		names[asked].addr = request->place;
		names[asked].wants_source = true;
		whose[asked++] = i;
	}
	return write_names(texts, names, whose, asked);
}
