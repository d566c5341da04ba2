/*
 * Writes JSON to stdout as it goes, without building a tree and without allocating: the heap of the
 * factory is part of what is measured. It knows only where a comma belongs; that objects and arrays
 * nest properly is up to the caller.
 */
#include <stdarg.h>
#include <stdio.h>

#include "factory.h"

static bool needs_comma;

static void put_quoted(const char *text)
{
	putchar('"');
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			printf("\\%c", *p);
		else if (*p < 0x20 || *p >= 0x7f)
			printf("\\u%04x", *p);
		else
			putchar(*p);
	}
	putchar('"');
}

static void put_key(const char *key)
{
	if (needs_comma)
		fputs(", ", stdout);
	needs_comma = true;
	if (key) {
		put_quoted(key);
		fputs(": ", stdout);
	}
}

void json_begin(const char *key, char bracket)
{
	put_key(key);
	putchar(bracket);
	needs_comma = false;
}

void json_end(char bracket)
{
	putchar(bracket);
	needs_comma = true;
}

void json_number(const char *key, long long value)
{
	put_key(key);
	printf("%lld", value);
}

void json_size(const char *key, size_t value)
{
	put_key(key);
	printf("%zu", value);
}

void json_address(const char *key, uintptr_t value)
{
	put_key(key);
	printf("\"0x%llx\"", (unsigned long long)value);
}

void json_text(const char *key, const char *value)
{
	put_key(key);
	if (value)
		put_quoted(value);
	else
		fputs("null", stdout);
}

void json_hex(const char *key, const void *bytes, size_t size)
{
	const unsigned char *p = bytes;

	put_key(key);
	putchar('"');
	for (size_t i = 0; i < size; i++)
		printf("%02x", p[i]);
	putchar('"');
}

void json_bool(const char *key, bool value)
{
	put_key(key);
	fputs(value ? "true" : "false", stdout);
}

void json_null(const char *key)
{
	json_text(key, NULL);
}

void json_line_end(void)
{
	putchar('\n');
	needs_comma = false;
	fflush(stdout);
}

void json_error(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_begin(NULL, '{');
	json_text("error", text);
	json_end('}');
}
