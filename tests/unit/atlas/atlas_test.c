/* SPDX-License-Identifier: MIT */
/*
 * The atlas of this process with headers forged in its memory, and of recorded maps: what is no heap is
 * never called one.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>

#include <vmatlas/atlas.h>

#include "own_target.h"
#include "recording.h"
#include "sys/uapi_new.h"

#define HEAP_MAX (64ULL << 20)

static struct vmat_atlas *read_atlas(struct vmat_target *target)
{
	struct vmat_atlas_options options = { .size = sizeof(options),
					      .want = VMAT_ATLAS_OWNERS,
					      .map_want = VMAT_WANT_PAGES };
	struct vmat_error err = { 0 };
	struct vmat_atlas *atlas = NULL;

	if (vmat_atlas_read(&atlas, target, &options, &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	return atlas;
}

/* The kind at an address, that of its part where there are parts. */
static enum vmat_kind kind_at(const struct vmat_atlas *atlas, const volatile void *at)
{
	uint64_t addr = (uintptr_t)at;
	const struct vmat_region *region = vmat_map_at(atlas->map, addr);
	const struct vmat_owner *owner;

	if (!region)
		abort();
	owner = &atlas->owners[region - atlas->map->regions];
	for (size_t i = 0; i < owner->parts_count; i++)
		if (addr >= owner->parts[i].start && addr < owner->parts[i].end)
			return owner->parts[i].kind;
	return owner->kind;
}

/* Eight aligned heaps, each with rights for its first two pages; `words` are their headers. */
static char *map_heaps(uint64_t words[8][4])
{
	char *memory = mmap(NULL, 9 * HEAP_MAX, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(memory != MAP_FAILED);
	memory = (char *)(((uintptr_t)memory + HEAP_MAX - 1) & ~(uintptr_t)(HEAP_MAX - 1));
	for (size_t i = 0; i < 8; i++) {
		char *heap = memory + i * HEAP_MAX;
		uint64_t header[4];

		CHECK(mprotect(heap, 2 * PAGE, PROT_READ | PROT_WRITE) == 0);
		for (size_t k = 0; k < 4;
		     k++) /* the upper byte 0x77: relative to the heap itself */
			header[k] = words[i][k] >> 56 == 0x77
					    ? (uintptr_t)heap + (words[i][k] << 8 >> 8)
					    : words[i][k];
		memcpy(heap, header, sizeof(header));
	}
	return memory;
}

#define OWN(offset) (0x77ULL << 56 | (offset))

static void check_forged_heaps(void)
{
	uint64_t words[8][4] = {
		{ OWN(48), 0, 2 * PAGE, 2 * PAGE },      /* a heap, as glibc makes it */
		{ OWN(48), OWN(0), 2 * PAGE, 2 * PAGE }, /* its own predecessor */
		{ OWN(48), 0, 2 * PAGE, 128ULL << 20 },  /* larger than a heap can be */
		{ OWN(48), 0, 1ULL << 63, 1ULL << 63 },  /* and much larger */
		{ OWN(48), 0, 3 * PAGE, 2 * PAGE },      /* more in use than there is */
		{ 48, HEAP_MAX, 2 * PAGE, 2 * PAGE },    /* its arena is not mapped */
		{ OWN(48) - HEAP_MAX, OWN(0), 2 * PAGE,
		  2 * PAGE },                      /* of another arena, after itself */
		{ OWN(9), 0, 2 * PAGE, 2 * PAGE }, /* the arena is not behind the header */
	};
	struct vmat_target *target = open_process(getpid());
	struct vmat_atlas *atlas;
	char *heaps = map_heaps(words);
	uint64_t arena = (uintptr_t)heaps + 48;

	memcpy(heaps + 6 * HEAP_MAX, &arena, sizeof(arena));
	atlas = read_atlas(target);
	CHECK(kind_at(atlas, heaps) == VMAT_KIND_ARENA);
	CHECK(kind_at(atlas, heaps + 2 * PAGE) == VMAT_KIND_RESERVED);
	for (size_t i = 1; i < 8; i++) {
		if (kind_at(atlas, heaps + i * HEAP_MAX) != VMAT_KIND_ANON) {
			fprintf(stderr, "heap %zu is a %s\n", i,
				vmat_kind_name(kind_at(atlas, heaps + i * HEAP_MAX)));
			_exit(1);
		}
	}
	vmat_atlas_free(atlas);
	vmat_target_close(target);
}

static void *allocate(void *ret)
{
	*(void **)ret = malloc(1000);
	return NULL;
}

/* A real arena, a real mapped block, a name, memory that nobody explains, code of nobody. */
static void check_real(void)
{
	struct vmat_target *target = open_process(getpid());
	char *named = map_pages(4), *unknown = map_pages(4), *block = malloc(3 << 20);
	char *code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static volatile char bss[3 * 65536];
	char on_stack = 0;
	struct vmat_total totals[VMAT_KIND_COUNT];
	struct vmat_atlas *atlas;
	uint64_t regions = 0;
	size_t count;
	pthread_t thread;
	void *in_arena;
	int has_name;

	CHECK(pthread_create(&thread, NULL, allocate, &in_arena) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	has_name = prctl(VMAT_UAPI_PR_SET_VMA, VMAT_UAPI_PR_SET_VMA_NAME, named, 4UL * PAGE,
			 "test pool") == 0;
	CHECK(block);
	named[0] = unknown[0] = block[0] = 1;
	bss[2 * 65536] = 1;
	atlas = read_atlas(target);
	CHECK(kind_at(atlas, in_arena) == VMAT_KIND_ARENA);
	CHECK(kind_at(atlas, block) == VMAT_KIND_MALLOC_MMAP);
	CHECK(kind_at(atlas, unknown) == VMAT_KIND_ANON);
	CHECK(kind_at(atlas, code) == VMAT_KIND_JIT);
	CHECK(kind_at(atlas, &bss[2 * 65536]) == VMAT_KIND_BSS);
	CHECK(kind_at(atlas, &on_stack) == VMAT_KIND_STACK);
	CHECK(kind_at(atlas, (const void *)(uintptr_t)&check_real) == VMAT_KIND_TEXT);
	CHECK(kind_at(atlas, "a constant") == VMAT_KIND_RODATA);
	if (has_name) {
		const struct vmat_region *region = vmat_map_at(atlas->map, (uintptr_t)named);

		CHECK(strcmp(atlas->owners[region - atlas->map->regions].owner, "\"test pool\"") ==
		      0);
	}
	count = vmat_atlas_totals(atlas, totals);
	for (size_t i = 0; i < count; i++)
		regions += totals[i].count;
	CHECK(regions == atlas->map->count);
	vmat_atlas_free(atlas);
	vmat_target_close(target);
}

static void test_forged_heaps(void **state)
{
	(void)state;
	in_child("", check_forged_heaps);
}

static void test_real(void **state)
{
	(void)state;
	if (!IS_SANITIZED) /* malloc is not glibc's then */
		in_children(check_real);
}

/* Names that a record may hold, and no memory to look at: each region has a kind, a reason, no crash. */
static void test_recorded(void **state)
{
	static const struct {
		const char *line;
		enum vmat_kind kind;
		const char *owner;
	} rows[] = {
		{ "rw-s 00000000 00:01 9 [anon_shmem", VMAT_KIND_SHM, "\"\"" },
		{ "rw-s 00000000 00:01 9 [anon_shmem:]", VMAT_KIND_SHM, "\"\"" },
		{ "rw-s 00000000 00:01 9 [anon_shmem:pool]", VMAT_KIND_SHM, "\"pool\"" },
		{ "rw-s 00000000 00:01 9 /memfd: (deleted)", VMAT_KIND_MEMFD,
		  "memfd without a name" },
		{ "rw-s 00000000 00:01 9 /memfd:x (deleted)", VMAT_KIND_MEMFD, "x" },
		{ "rw-s 00000000 00:01 9 /SYSV (deleted)", VMAT_KIND_SHM, "System V key 0x" },
		{ "rw-s 00000000 00:01 9 /SYSV0000002a (deleted)", VMAT_KIND_SHM,
		  "System V key 0x0000002a" },
		{ "rw-s 00000000 00:01 9 /dev/zero (deleted)", VMAT_KIND_SHM,
		  "shared anonymous memory" },
		{ "r--p 00000000 fe:01 9 /etc/x", VMAT_KIND_FILE, "x" },
		{ "r--p 00000000 fe:01 9 /etc/y (deleted)", VMAT_KIND_FILE, "y (deleted)" },
		{ "r--p 00000000 fe:01 9 /", VMAT_KIND_FILE, "" },
		{ "rw-p 00000000 00:00 0 [heap]", VMAT_KIND_HEAP, "brk heap" },
		{ "rw-p 00000000 00:00 0 [anon:a:b]", VMAT_KIND_ANON, "\"a:b\"" },
		{ "---p 00000000 00:00 0", VMAT_KIND_RESERVED, "" },
		{ "rwxp 00000000 00:00 0", VMAT_KIND_JIT, "" },
		{ "r--p 00000000 00:00 0 [vvar]", VMAT_KIND_KERNEL, "kernel" },
		{ "r-xp 00000000 00:00 0 [vdso]", VMAT_KIND_VDSO, "kernel" },
		{ "r-xp 00000000 00:00 0 [odd", VMAT_KIND_KERNEL, "kernel" },
	};
	struct recording recording;
	struct vmat_target *target;
	struct vmat_atlas *atlas;
	char text[4096];
	size_t size = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		size += (size_t)snprintf(text + size, sizeof(text) - size, "%zx-%zx %s\n",
					 (i + 1) << 20, ((i + 1) << 20) + PAGE, rows[i].line);
	recording_init(&recording);
	recording_add_process(&recording);
	recording_add(&recording, "77/maps", text);
	recording_add(&recording, "77/pages", "");
	target = recording_open(&recording);
	atlas = read_atlas(target);
	assert_int_equal(atlas->map->count, sizeof(rows) / sizeof(rows[0]));
	for (size_t i = 0; i < atlas->map->count; i++) {
		if (atlas->owners[i].kind != rows[i].kind)
			fail_msg("'%s' is %s", rows[i].line, vmat_kind_name(atlas->owners[i].kind));
		assert_string_equal(atlas->owners[i].owner, rows[i].owner);
		assert_true(strlen(atlas->owners[i].why) > 3);
	}
	vmat_atlas_free(atlas);
	vmat_target_close(target);
	recording_deinit(&recording);
}

/* A record holds no memory: what is there cannot be read. What was never touched has no header to be read. */
static void test_unread(void **state)
{
	struct recording recording;
	struct vmat_target *target;
	struct vmat_atlas *atlas;

	(void)state;
	recording_init(&recording);
	recording_add_process(&recording);
	recording_add(&recording, "77/maps",
		      "100000-140000 rw-p 00000000 00:00 0\n200000-240000 rw-p 00000000 00:00 0\n");
	recording_add(&recording, "77/pages", "100000 102000 present\n201000 202000 present\n");
	target = recording_open(&recording);
	atlas = read_atlas(target);
	assert_int_equal(atlas->map->count, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(atlas->owners[i].kind, VMAT_KIND_ANON);
		assert_false(vmat_atlas_was_read(atlas, i));
		assert_int_equal(strstr(atlas->owners[i].why, "could not be read") != NULL, i == 0);
	}
	vmat_atlas_free(atlas);
	vmat_target_close(target);
	recording_deinit(&recording);
}

static void test_kinds(void **state)
{
	(void)state;
	for (int kind = 0; kind < VMAT_KIND_COUNT; kind++) {
		assert_true(strlen(vmat_kind_name((enum vmat_kind)kind)) > 1);
		assert_true(strlen(vmat_kind_meaning((enum vmat_kind)kind)) > 8);
	}
	assert_string_equal(vmat_kind_name(VMAT_KIND_COUNT), "");
	assert_string_equal(vmat_kind_meaning(VMAT_KIND_COUNT), "");
	vmat_atlas_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forged_heaps), cmocka_unit_test(test_real),
		cmocka_unit_test(test_recorded),     cmocka_unit_test(test_unread),
		cmocka_unit_test(test_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
