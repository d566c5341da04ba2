/* SPDX-License-Identifier: MIT */
/*
 * atlas_loader.c: anonymous memory in which the dynamic loader keeps its list of libraries.
 *
 * Before malloc is there, ld.so allocates from mappings of its own. They are known by the link_map
 * structures in them (link.h: l_addr, l_name, l_ld, l_next, l_prev), whose list begins at the first word
 * of _rtld_global.
 */
#include "atlas/atlas_priv.h"

enum { LINK_MAPS_MAX = 4096, WORDS = 5, NEXT = 3, PREVIOUS = 4 };

int vmat_atlas_add_loader(struct vmat_atlas *atlas)
{
	uint64_t words[WORDS], addr, previous = 0;

	if (!atlas->stacks || !atlas->stacks->rtld_data_addr ||
	    !vmat_atlas_read_words(atlas, atlas->stacks->rtld_data_addr, &addr, 1))
		return 0;
	for (int n = 0; n < LINK_MAPS_MAX && addr; n++) {
		int err;

		if (!vmat_atlas_read_words(atlas, addr, words, WORDS) ||
		    words[PREVIOUS] != previous)
			return 0;
		err = vmat_atlas_claim_rest(atlas, addr,
					    (struct vmat_part){
						    .kind = VMAT_KIND_DATA,
						    .owner = "dynamic loader",
						    .why = "its link_map structures lie here",
						    .tid = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
					    });
		if (err)
			return err;
		previous = addr;
		addr = words[NEXT];
	}
	return 0;
}
