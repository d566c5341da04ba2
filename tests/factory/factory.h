/*
 * The factory makes memory of a known shape and says what it made, so that a test can compare
 * what vmatlas finds with what is so. This header is what its scenarios share.
 *
 * A scenario owns one shape. Its make() builds the shape and writes members of one JSON object;
 * its command() answers one line of standard input with one JSON object. What stands in the JSON
 * is known from making it, never from reading /proc: a factory that asked the kernel would check
 * the kernel. The few exceptions (what other code placed, as the vdso) are marked where they are
 * made.
 *
 * Failures end the program: 1 something broke, 2 wrong usage, 77 this machine cannot do it (why,
 * on stderr). Nothing here is freed: the memory is the product.
 */
#ifndef FACTORY_H
#define FACTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct scenario {
	const char *name;
	const char *summary;
	const char *keys;     /* "key=default ..." of what key=value may be given; "" for none */
	const char *commands; /* for help; NULL if there are none */
	void (*make)(void);
	void (*command)(char letter, const char *arg); /* arg: rest of the line, no blanks around */
	bool (*tick)(void); /* called every 10 ms when set; false: the work is over */
	void (*finish)(void);
	bool (*is_resumed)(void); /* true: executed again, the first line has been printed */
};

extern const struct scenario scenario_threads, scenario_merged, scenario_cow, scenario_kinds;
extern const struct scenario scenario_pages, scenario_regions, scenario_sparse, scenario_holes;
extern const struct scenario scenario_nextmap, scenario_names, scenario_churn, scenario_uffd;
extern const struct scenario scenario_zombie;

/* factory.c: options of the command line, children, temporary files. */
const char *option_text(const char *key, const char *fallback);
size_t option_size(const char *key, size_t fallback);
size_t parse_size(const char *text); /* "64", "4k", "1M", "2G", "1TiB" */
char **factory_arguments(void);      /* argv, to be executed again */

/* Ends the program with 77; the reason is a whole sentence, for who reads of the skipped test. */
void cannot_here(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Starts body(arg) in a child that dies with us and does not read our standard input. */
pid_t start_child(void (*body)(void *), void *arg);
void end_child(pid_t pid);

/* A path in a folder of our own that is removed at exit. Lifetime: the caller's, never freed. */
char *temporary_path(const char *name);

/* factory_json.c: writes to stdout; key is NULL in an array. Commas are put by the writer. */
void json_begin(const char *key, char bracket); /* '{' or '[' */
void json_end(char bracket);                    /* '}' or ']' */
void json_number(const char *key, long long value);
void json_size(const char *key, size_t value);
void json_address(const char *key, uintptr_t value); /* as "0x..." */
void json_text(const char *key, const char *value);  /* ASCII; NULL is null */
void json_hex(const char *key, const void *bytes, size_t size);
void json_bool(const char *key, bool value);
void json_null(const char *key);
void json_line_end(void); /* ends the document and flushes it */
void json_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* factory_memory.c */
extern size_t page_size;

/*
 * Maps bytes between two inaccessible pages, so that it is a VMA of its own, whatever its
 * neighbours are. Size is rounded up to whole pages.
 */
char *map_fenced(size_t bytes, int prot, int flags, int fd);
char *map_anywhere(size_t bytes, int prot, int flags, int fd);
int make_file(const char *path, size_t bytes); /* sparse: none of its pages is in the page cache */
void fill_file(int fd, size_t bytes);
void write_page(char *start, size_t page);
void read_page(const char *start, size_t page);
bool install_guard(char *start, size_t bytes); /* MADV_GUARD_INSTALL, Linux 6.13 */
bool name_region(void *start, size_t bytes, const char *name);
uintptr_t page_floor(uintptr_t address);
bool read_number(const char *path, unsigned long long *ret);

/*
 * The VMA around an address, or with that name, as /proc/self/maps has it: for what others placed.
 * Returns false if there is none.
 */
bool find_vma(uintptr_t address, const char *name, uintptr_t *ret_start, uintptr_t *ret_end);

#endif /* FACTORY_H */
