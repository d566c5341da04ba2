/* SPDX-License-Identifier: MIT */
/* prim_version.c: which libvmatlas runs; the one fact that the library has from the rest of the project. */
#include <vmatlas/base.h>
#include <vmatlas/prim/api.h>

const char *vmat_prim_version(void)
{
	return vmat_version();
}
