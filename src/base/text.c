/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#define NONE_8  255, 255, 255, 255, 255, 255, 255, 255
#define NONE_16 NONE_8, NONE_8

const unsigned char
	vmat_text_hex_values[256] = {
		NONE_16, NONE_16, NONE_16, 0,       1,       2,       3,
		4,       5,       6,       7,       8,       9,       255,
		255,     255,     255,     255,     255, /* '0' to '9' */
		255,     10,      11,      12,      13,      14,      15,
		255,     NONE_8, /* 'A' to 'F' */
		NONE_16, 255,     10,      11,      12,      13,      14,
		15,      255,     NONE_8, /* 'a' to 'f' */
		NONE_16, NONE_16, NONE_16, NONE_16, NONE_16, NONE_16, NONE_16,
		NONE_16, NONE_16,
	};
