/* SPDX-License-Identifier: MIT */
/*
 * text_lines.h: the lines of a long text of /proc, one after the other, for the files of this folder.
 */
#ifndef VMAT_TEXT_LINES_H
#define VMAT_TEXT_LINES_H

#include "target/target_source.h"

/* A line without its newline, cut at 4 KiB. False: no more of them. */
typedef bool vmat_text_line_fn(const char *text, size_t size, void *context);

/* 0, also when fn ended it, or -errno. */
int vmat_text_lines(struct vmat_target *target, const char *name, vmat_text_line_fn *fn,
		    void *context);

#endif
