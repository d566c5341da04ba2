/* SPDX-License-Identifier: MIT */
/* What blocks hold: see content.h. The target may run, and is hostile: what is read is checked, never followed far. */
#include "reach/content.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/name.h>
#include <vmatlas/symbols.h>

#include "base/cleanup.h"

enum {
	WINDOW = 256 << 10,
	PAGE_SIZE = 4096,
	SLOTS = 1 << 14,  /* of the table of classes: a power of two */
	CLASSES = 1 << 13 /* more are not named */
};

#define BASE_OFFSET_MAX (UINT64_C(1) << 24) /* of a base class in an object */

/* What a block's first word may point to: the entries of a class's table. */
struct class
{
	uint64_t table;
	bool is_array; /* behind the count that new[] keeps */
	bool is_tried;
	char name[VMAT_SYMBOL_NAME]; /* mangled, then demangled; "" not found in memory */
	const char *type;            /* NULL: this is no class */
};

struct vmat_contents {
	struct vmat_target *target;
	const struct vmat_map *map;
	uint64_t low, high;
	unsigned word_size;
	struct vmat_strings *strings;
	unsigned char *window;
	uint64_t window_start;
	size_t window_size;
	uint32_t *slots; /* number of a class + 1 */
	struct class *classes;
	size_t classes_count;
};

struct vmat_contents *vmat_contents_new(struct vmat_target *target, const struct vmat_map *map,
					uint64_t low, uint64_t high, struct vmat_strings *strings)
{
	struct vmat_contents *contents = calloc(1, sizeof(*contents));

	if (!contents)
		return NULL;
	contents->target = target;
	contents->map = map;
	contents->low = low;
	contents->high = high;
	contents->word_size = vmat_target_process(target)->word_size == 4 ? 4 : 8;
	contents->strings = strings;
	contents->window = malloc(WINDOW);
	contents->slots = calloc(SLOTS, sizeof(*contents->slots));
	contents->classes = calloc(CLASSES, sizeof(*contents->classes));
	if (!contents->window || !contents->slots || !contents->classes)
		return vmat_contents_free(contents);
	return contents;
}

struct vmat_contents *vmat_contents_free(struct vmat_contents *contents)
{
	if (contents) {
		free(contents->window);
		free(contents->slots);
		free(contents->classes);
	}
	free(contents);
	return NULL;
}

/* Up to `size` bytes at addr; those of a page that is absent are missing. */
static size_t read_bytes(struct vmat_contents *contents, uint64_t addr, unsigned char *bytes,
			 size_t size)
{
	ssize_t got;

	if (addr < contents->window_start ||
	    addr - contents->window_start + size > contents->window_size) {
		contents->window_start = addr & ~(uint64_t)(PAGE_SIZE - 1);
		got = vmat_source_read(contents->target, contents->window_start, contents->window,
				       WINDOW);
		contents->window_size = got > 0 ? (size_t)got : 0;
	}
	if (addr - contents->window_start >= contents->window_size)
		return 0;
	if (size > contents->window_size - (addr - contents->window_start))
		size = contents->window_size - (size_t)(addr - contents->window_start);
	memcpy(bytes, contents->window + (addr - contents->window_start), size);
	return size;
}

/* Words of the target's size; false when they are not all there. */
static bool read_words(struct vmat_contents *contents, uint64_t addr, uint64_t *words, size_t count)
{
	unsigned char bytes[4 * sizeof(*words)];
	size_t size = count * contents->word_size;

	if (size > sizeof(bytes) || addr % contents->word_size ||
	    vmat_source_read(contents->target, addr, bytes, size) != (ssize_t)size)
		return false;
	for (size_t i = 0; i < count; i++) {
		words[i] = 0;
		memcpy(&words[i], bytes + i * contents->word_size, contents->word_size);
	}
	return true;
}

/* Memory where compilers and linkers put tables of classes; copies of a library's may lie in bss. */
static bool may_hold_table(const struct vmat_contents *contents, uint64_t addr)
{
	const struct vmat_region *region = vmat_map_at(contents->map, addr);

	if (!region || addr % contents->word_size || region->prot & VMAT_PROT_EXEC ||
	    (addr >= contents->low && addr < contents->high))
		return false;
	return region->backing == VMAT_BACKING_FILE || region->backing == VMAT_BACKING_SHMEM ||
	       (region->backing == VMAT_BACKING_ANON && !region->name[0]);
}

/* The class whose entries lie at `table`, a new one if need be; 0 when there is no room. */
static uint32_t class_of(struct vmat_contents *contents, uint64_t table, bool is_array)
{
	uint64_t slot = (table * 0x9e3779b97f4a7c15ULL >> 40) + is_array;

	for (size_t step = 0; step < SLOTS; step++, slot++) {
		uint32_t *number = &contents->slots[slot % SLOTS];
		struct class *class;

		if (*number == 0) {
			if (contents->classes_count == CLASSES)
				return 0;
			class = &contents->classes[contents->classes_count++];
			class->table = table;
			class->is_array = is_array;
			*number = (uint32_t)contents->classes_count;
			return *number;
		}
		class = &contents->classes[*number - 1];
		if (class->table == table && class->is_array == is_array)
			return *number;
	}
	return 0;
}

/*
 * Text ends with a NUL or fills the block. It begins with printable characters, and of all most are: there may be
 * some of another language, or to steer a terminal.
 */
static bool is_text(const unsigned char *bytes, size_t size)
{
	size_t length = strnlen((const char *)bytes, size), printable = 0;

	for (size_t i = 0; i < length; i++) {
		bool is_plain = (bytes[i] >= ' ' && bytes[i] < 0x7f) || bytes[i] == '\n' ||
				bytes[i] == '\t' || bytes[i] == '\r';

		printable += is_plain;
		if (!is_plain && i < 4)
			return false;
	}
	return length >= 4 && printable * 4 >= length * 3;
}

static void write_text(char *to, const unsigned char *bytes, size_t size)
{
	size_t length = strnlen((const char *)bytes, size);

	if (length > VMAT_CONTENT_PREVIEW - 1)
		length = VMAT_CONTENT_PREVIEW - 1;
	memcpy(to, bytes, length);
	to[length] = '\0';
}

static void write_words(char *to, const uint64_t *words, size_t count, unsigned word_size)
{
	size_t at = 0;

	to[0] = '\0';
	for (size_t i = 0; i < count && at + 2 * word_size + 2 <= VMAT_CONTENT_PREVIEW; i++)
		at += (size_t)snprintf(to + at, VMAT_CONTENT_PREVIEW - at, "%s%0*llx", i ? " " : "",
				       (int)(2 * word_size), (unsigned long long)words[i]);
}

void vmat_contents_look(struct vmat_contents *contents, uint64_t addr, uint64_t size,
			struct vmat_content *ret, uint32_t *ret_class)
{
	unsigned char bytes[VMAT_CONTENT_BYTES];
	uint64_t words[VMAT_CONTENT_BYTES / 4] = { 0 };
	const unsigned word_size = contents->word_size;
	size_t pointers = 0, zeroes = 0, count;

	*ret = (struct vmat_content){ .type = "" };
	*ret_class = 0;
	size = read_bytes(contents, addr, bytes, size < sizeof(bytes) ? size : sizeof(bytes));
	count = (size_t)size / word_size;
	if (!count)
		return;
	for (size_t i = 0; i < count; i++) {
		memcpy(&words[i], bytes + i * word_size, word_size); /* little endian */
		zeroes += words[i] == 0;
		pointers += words[i] >= contents->low && words[i] < contents->high;
	}
	/* The bytes of an address may all be printable, too. */
	if (is_text(bytes, (size_t)size) && !vmat_map_at(contents->map, words[0])) {
		ret->type = "text";
		write_text(ret->preview, bytes, (size_t)size);
		return;
	}
	write_words(ret->preview, words, count, word_size);
	if (zeroes == count)
		ret->type = "zeroes";
	else
		ret->type = pointers * 2 >= count - zeroes ? "pointers" : "data";
	if (may_hold_table(contents, words[0]))
		*ret_class = class_of(contents, words[0], false);
	else if (count > 1 && words[0] && words[0] <= UINT32_MAX &&
		 may_hold_table(contents, words[1]))
		*ret_class = class_of(contents, words[1], true);
}

bool vmat_content_is_type_name(const char *name, size_t size)
{
	size_t length = strnlen(name, size);

	if (length < 2 || length == size)
		return false;
	/* A class: nested, of std, local to a function, or a plain identifier with its length. */
	if (!isdigit((unsigned char)name[0]) && !strchr("NSZ", name[0]))
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '.' &&
		    name[i] != '$')
			return false;
	}
	return true;
}

static bool is_code(const struct vmat_contents *contents, uint64_t addr)
{
	const struct vmat_region *region = vmat_map_at(contents->map, addr);

	return region && region->prot & VMAT_PROT_EXEC;
}

/*
 * The name in the type_info that belongs to a table: entries that are code (or none, for an abstract class),
 * an offset of the base that is sane, and a type_info whose own table is of code, too.
 */
static bool read_type_name(struct vmat_contents *contents, struct class *class)
{
	const uint64_t word = contents->word_size;
	const uint64_t sign = word == 8 ? 0 : 0xffffffff00000000ULL;
	uint64_t head[3], info[2], entry;
	char name[VMAT_SYMBOL_NAME];
	uint64_t room;
	ssize_t got;

	if (!read_words(contents, class->table - 2 * word, head, 3))
		return false;
	if (head[0] && (head[0] | sign) < UINT64_MAX - BASE_OFFSET_MAX)
		return false;
	if ((head[2] && !is_code(contents, head[2])) || !may_hold_table(contents, head[1]) ||
	    !read_words(contents, head[1], info, 2) || !may_hold_table(contents, info[0]) ||
	    !read_words(contents, info[0], &entry, 1) || !is_code(contents, entry))
		return false;
	room = PAGE_SIZE - info[1] % PAGE_SIZE; /* the page behind it may be absent */
	got = vmat_source_read(contents->target, info[1], name, sizeof(name));
	if (got <= 0 && room < sizeof(name))
		got = vmat_source_read(contents->target, info[1], name, (size_t)room);
	if (got <= 0)
		return false;
	/* A star: compared by address only (a class of an unnamed namespace). */
	if (!vmat_content_is_type_name(name + (name[0] == '*'), (size_t)got - (name[0] == '*')))
		return false;
	snprintf(class->name, sizeof(class->name), "%s", name + (name[0] == '*'));
	return true;
}

static int set_type(struct vmat_contents *contents, struct class *class, const char *name)
{
	class->type =
		vmat_strings_printf(contents->strings, "%s%s", name, class->is_array ? "[]" : "");
	return class->type ? 0 : -ENOMEM;
}

/* By the symbols of the tables: "vtable for shop::Item". */
static int name_by_symbols(struct vmat_contents *contents)
{
	static const char prefix[] = "vtable for ";
	size_t count = contents->classes_count, asked = 0;
	vmat_autofree struct vmat_name *names = calloc(count + 1, sizeof(*names));
	vmat_autofree size_t *whose = calloc(count + 1, sizeof(*whose));
	int err;

	if (!names || !whose)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct class *class = &contents->classes[i];

		if (class->type || class->is_tried)
			continue;
		whose[asked] = i;
		names[asked++].addr = class->table;
	}
	err = asked ? vmat_names_read(contents->target, contents->map, names, asked, NULL) : 0;
	for (size_t i = 0; i < asked && !err; i++) {
		const struct vmat_place *place = &names[i].place;
		struct class *class = &contents->classes[whose[i]];

		class->is_tried = true;
		if (vmat_is_known(place->begin) && !place->is_near &&
		    strncmp(place->name, prefix, strlen(prefix)) == 0 &&
		    place->addr - place->begin >= 2 * (uint64_t)contents->word_size)
			err = set_type(contents, class, place->name + strlen(prefix));
		else if (names[i].path && !class->is_array && vmat_is_known(place->begin) &&
			 !place->is_near && !place->is_function) {
			const char *slash = strrchr(names[i].path, '/');
			const char *type =
				vmat_strings_printf(contents->strings, "points to `%s` of %s",
						    place->name, slash ? slash + 1 : "");

			class->type = type;
			err = type ? 0 : -ENOMEM;
		}
	}
	return err;
}

int vmat_contents_name(struct vmat_contents *contents)
{
	size_t count = contents->classes_count, found = 0;
	char(*names)[VMAT_SYMBOL_NAME] = calloc(count + 1, sizeof(*names));
	vmat_autofree size_t *whose = calloc(count + 1, sizeof(*whose));
	int err = names && whose ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && !err; i++) {
		struct class *class = &contents->classes[i];

		if (class->type || class->is_tried || !read_type_name(contents, class))
			continue;
		memcpy(names[found], class->name, sizeof(*names));
		whose[found++] = i;
	}
	/* Names that cannot be demangled are said as they are. */
	if (!err && found)
		vmat_symbols_demangle(names, found, NULL);
	for (size_t i = 0; i < found && !err; i++)
		err = set_type(contents, &contents->classes[whose[i]], names[i]);
	free(names);
	return err ? err : name_by_symbols(contents);
}

const char *vmat_contents_class(const struct vmat_contents *contents, uint32_t class_number)
{
	return class_number && class_number <= contents->classes_count
		       ? contents->classes[class_number - 1].type
		       : NULL;
}
