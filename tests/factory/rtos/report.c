/* SPDX-License-Identifier: MIT */
/* report.c: JSON lines without a C library. */
#include "shape.h"

void say(const char *text)
{
	while (*text)
		port_put(*text++);
}

void say_text(const char *key, const char *text)
{
	say(", \"");
	say(key);
	say("\": \"");
	say(text);
	say("\"");
}

void say_null(const char *key)
{
	say(", \"");
	say(key);
	say("\": null");
}

void say_number(const char *key, uint64_t number)
{
	char digits[24];
	unsigned i = sizeof(digits) - 1;
	/* The machine divides words only. */
	unsigned long rest = (unsigned long)number;

	digits[i] = '\0';
	do {
		digits[--i] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	say(", \"");
	say(key);
	say("\": ");
	say(digits + i);
}

void say_address(const char *key, const volatile void *address)
{
	uintptr_t rest = (uintptr_t)address;
	char digits[20];
	unsigned i = sizeof(digits) - 1;

	digits[i] = '\0';
	do {
		digits[--i] = "0123456789abcdef"[rest & 15];
		rest >>= 4;
	} while (rest);
	digits[--i] = 'x';
	digits[--i] = '0';
	say_text(key, digits + i);
}

void say_begin(const char *type)
{
	say("{\"type\": \"");
	say(type);
	say("\"");
}

void say_end(void)
{
	say("}\n");
}

void say_bytes(const volatile void *address, size_t size)
{
	say_begin("bytes");
	say_address("at", address);
	say_number("size", size);
	say_end();
}
