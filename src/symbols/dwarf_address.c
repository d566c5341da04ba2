/* SPDX-License-Identifier: MIT */
#include "symbols/dwarf_address.h"

#include <dwarf.h>

bool vmat_dwarf_address(Dwarf_Die *die, uint64_t *ret)
{
	Dwarf_Attribute location, operand;
	Dwarf_Op *ops;
	size_t count;
	Dwarf_Addr addr;

	if (!dwarf_attr_integrate(die, DW_AT_location, &location) ||
	    dwarf_getlocation(&location, &ops, &count) || count != 1)
		return false;
	if (ops[0].atom == DW_OP_addr) {
		*ret = ops[0].number;
		return true;
	}
	/* By its number in a table of addresses, as clang writes for DWARF 5. */
	if (ops[0].atom != DW_OP_addrx || dwarf_getlocation_attr(&location, &ops[0], &operand) ||
	    dwarf_formaddr(&operand, &addr))
		return false;
	*ret = addr;
	return true;
}
