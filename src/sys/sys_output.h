/* SPDX-License-Identifier: MIT */
/*
 * sys_output.h: a file that is written and has its name only when it is whole.
 *
 * Until then it is called NAME.part. Nobody else may read it: what is in it may be secret.
 */
#ifndef VMAT_SYS_OUTPUT_H
#define VMAT_SYS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmat_output {
	int fd; /* -1: none */
	char name[4096];
	char part[4096 + 8];
	bool may_replace;
};

/* Creates NAME.part. -EEXIST when NAME is there and may not be replaced, or NAME.part is. */
int vmat_output_open(struct vmat_output *ret, const char *name, bool may_replace);

/* Makes it that long: what is not written is a hole. */
int vmat_output_resize(struct vmat_output *output, uint64_t size);
int vmat_output_pwrite(struct vmat_output *output, const void *data, size_t size, uint64_t offset);

/* Bytes that it takes on its file system. */
uint64_t vmat_output_stored(const struct vmat_output *output);

/* Gives it its name; -EEXIST when that was taken meanwhile. Then, and after a failure, it is closed. */
int vmat_output_finish(struct vmat_output *output);

/* Removes it, unless it is finished. */
void vmat_output_drop(struct vmat_output *output);

#endif
