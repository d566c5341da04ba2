/* SPDX-License-Identifier: MIT */
/*
 * growing_buffer: reads its standard input into one buffer, to the end, and says how large it was and whether it moved.
 *
 * The question was: data comes from a socket, and how large a block is needed nobody knows before. A reservation
 * costs addresses, not memory; read(2) writes straight into it, and pointers into what has come stay valid.
 *
 *     cc growing_buffer.c $(pkg-config --cflags --libs libvmatlas) && ./a.out < file
 */
#include <stdio.h>
#include <string.h>

#include <vmatlas/prim/buffer.h>

static int fail(const char *what, int code)
{
	fprintf(stderr, "growing_buffer: %s: %s\n", what, strerror(-code));
	return 1;
}

int main(void)
{
	struct vmat_buf buf;
	struct vmat_buf_taken taken;
	const unsigned char *first;
	size_t lines = 0;
	ssize_t got;
	int r = vmat_buf_init(&buf, 0, 0);

	if (r)
		return fail("no addresses", r);
	first = buf.data;
	while ((got = vmat_buf_read(&buf, 0, 1 << 16)) > 0)
		;
	if (got < 0)
		return fail("cannot read", (int)got);
	for (size_t i = 0; i < buf.size; i++)
		lines += buf.data[i] == '\n';
	printf("%zu bytes, %zu lines, %zu MiB of addresses reserved, moved: %s\n", buf.size, lines,
	       buf.reserved >> 20, buf.data == first ? "never" : "yes");

	/* Whoever gets the contents needs to know nothing of us: munmap(2) releases them. */
	r = vmat_buf_take(&buf, &taken);
	if (r)
		return fail("cannot hand over", r);
	printf("handed over with %zu bytes of memory\n", taken.mapped_bytes);
	vmat_buf_taken_free(&taken);
	vmat_buf_deinit(&buf);
	return 0;
}
