/* SPDX-License-Identifier: MIT */
/*
 * dwarf_address.h: where DWARF says that a variable lies. For the parsers that run in the child without rights.
 */
#ifndef VMAT_DWARF_ADDRESS_H
#define VMAT_DWARF_ADDRESS_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdint.h>

/* The address that a variable's location is, when it is one and does not change: its own, or that of what it is an instance of. */
bool vmat_dwarf_address(Dwarf_Die *die, uint64_t *ret);

#endif
