/* SPDX-License-Identifier: MIT */
/*
 * Claims into parts: whatever overlaps, the stronger claim keeps its range, and the parts cover the region.
 */
#include <stdlib.h>
#include <string.h>

#include "atlas/atlas_priv.h"
#include "cmocka_all.h"

enum { REGIONS = 3 };

struct fixture {
	struct vmat_region regions[REGIONS];
	struct vmat_owner owners[REGIONS];
	struct vmat_map map;
	struct vmat_atlas_priv priv;
	struct vmat_atlas atlas;
};

/* Regions of 16 pages each, the second behind the first, the third without rights and apart. */
static struct fixture *fixture_new(const char *name)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	for (size_t i = 0; i < REGIONS; i++)
		f->regions[i] = (struct vmat_region){
			.start = 0x10000 * (i + 1 + i / 2),
			.end = 0x10000 * (i + 2 + i / 2),
			.name = i ? "" : name,
			.prot = i == 2 ? 0 : VMAT_PROT_READ | VMAT_PROT_WRITE,
		};
	f->map = (struct vmat_map){ .regions = f->regions, .count = REGIONS };
	f->atlas = (struct vmat_atlas){ .map = &f->map, .owners = f->owners, .priv = &f->priv };
	return f;
}

static void fixture_free(struct fixture *f)
{
	vmat_strings_deinit(&f->priv.strings);
	vmat_arena_deinit(&f->priv.arena);
	free(f->priv.claims);
	free(f);
}

static void claim(struct fixture *f, uint64_t start, uint64_t end, enum vmat_kind kind,
		  const char *owner)
{
	struct vmat_part part = { start, end, kind, owner, "test", 0 };

	assert_int_equal(vmat_atlas_claim(&f->atlas, &part), 0);
}

/* Each page as the letter of its owner: "" is a dot. */
static void check(const struct fixture *f, size_t region, const char *want)
{
	const struct vmat_owner *owner = &f->owners[region];
	char got[17] = "";
	uint64_t at = f->regions[region].start;

	if (!owner->parts_count)
		memset(got, owner->owner[0] ? owner->owner[0] : '.', 16);
	for (size_t i = 0; i < owner->parts_count; i++) {
		const struct vmat_part *part = &owner->parts[i];

		assert_true(part->start == at && part->end > at);
		for (; at < part->end; at += 4096)
			got[(at - f->regions[region].start) / 4096] =
				part->owner[0] ? part->owner[0] : '.';
		assert_non_null(part->why);
	}
	if (owner->parts_count)
		assert_true(at == f->regions[region].end);
	assert_string_equal(got, want);
}

static void test_none(void **state)
{
	struct fixture *f = fixture_new("");

	(void)state;
	assert_int_equal(vmat_atlas_settle(&f->atlas), 0);
	check(f, 0, "................");
	assert_int_equal(f->owners[0].kind, VMAT_KIND_ANON);
	assert_int_equal(f->owners[2].kind, VMAT_KIND_RESERVED);
	fixture_free(f);
}

static void test_over_borders(void **state)
{
	struct fixture *f = fixture_new("");

	(void)state;
	claim(f, 0x1c000, 0x24000, VMAT_KIND_STACK, "s"); /* two regions */
	claim(f, 0x8000, 0x11000, VMAT_KIND_HEAP, "h");   /* begins below all */
	claim(f, 0x2f000, 0x35000, VMAT_KIND_DATA, "d");  /* ends where nothing is */
	claim(f, 0x35000, 0x38000, VMAT_KIND_DATA, "x");  /* nothing there at all */
	assert_int_equal(vmat_atlas_settle(&f->atlas), 0);
	check(f, 0, "h...........ssss");
	check(f, 1, "ssss...........d");
	check(f, 2, "................");
	assert_int_equal(f->owners[0].kind, VMAT_KIND_STACK); /* the largest that has an owner */
	fixture_free(f);
}

/* What was claimed first stays, wherever the others begin. */
static void test_strength(void **state)
{
	struct fixture *f = fixture_new("");

	(void)state;
	claim(f, 0x14000, 0x18000, VMAT_KIND_STACK, "a");
	claim(f, 0x12000, 0x16000, VMAT_KIND_ARENA, "b"); /* begins before */
	claim(f, 0x17000, 0x1a000, VMAT_KIND_ARENA, "c"); /* ends behind */
	claim(f, 0x15000, 0x16000, VMAT_KIND_ARENA, "d"); /* lies within */
	claim(f, 0x10000, 0x1c000, VMAT_KIND_ARENA, "e"); /* holds them all */
	claim(f, 0x14000, 0x18000, VMAT_KIND_ARENA, "f"); /* the same */
	assert_int_equal(vmat_atlas_settle(&f->atlas), 0);
	check(f, 0, "eebbaaaaccee....");
	fixture_free(f);
}

static void test_whole_and_turned(void **state)
{
	struct fixture *f = fixture_new("");

	(void)state;
	claim(f, 0x18000, 0x14000, VMAT_KIND_STACK, "x"); /* a guard larger than its stack */
	claim(f, 0x14000, 0x14000, VMAT_KIND_STACK, "x");
	claim(f, 0x10000, 0x20000, VMAT_KIND_STACK, "w");
	claim(f, 0x10000, 0x14000, VMAT_KIND_HEAP, "y");
	assert_int_equal(vmat_atlas_settle(&f->atlas), 0);
	check(f, 0, "wwwwwwwwwwwwwwww");
	assert_null(f->owners[0].parts);
	assert_int_equal(f->owners[0].kind, VMAT_KIND_STACK);
	fixture_free(f);
}

/* Claims at random against a page by page count of who came first. */
static void test_random(void **state)
{
	uint32_t seed = 4711;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		static const char *const owners[] = { "a", "b", "c", "d", "e",
						      "f", "g", "h", "i", "j" };
		struct fixture *f = fixture_new("");
		char want[17] = "................";

		for (size_t i = 0; i < 10; i++) {
			uint64_t a, b;

			seed = seed * 1103515245 + 12345;
			a = seed >> 16 & 15;
			b = a + 1 + (seed >> 20 & 7);
			claim(f, 0x10000 + a * 4096, 0x10000 + b * 4096, VMAT_KIND_DATA, owners[i]);
			for (; a < b && a < 16; a++)
				if (want[a] == '.')
					want[a] = owners[i][0];
		}
		assert_int_equal(vmat_atlas_settle(&f->atlas), 0);
		check(f, 0, want);
		fixture_free(f);
	}
}

static void test_rest(void **state)
{
	struct vmat_part part = { 0, 0, VMAT_KIND_TLS, "r", "test", 0 };
	struct fixture *f = fixture_new("");

	(void)state;
	claim(f, 0x12000, 0x14000, VMAT_KIND_STACK, "a");
	claim(f, 0x18000, 0x1a000, VMAT_KIND_STACK, "b");
	assert_int_equal(vmat_atlas_claim_rest(&f->atlas, 0x15008, part), 0);
	assert_int_equal(vmat_atlas_claim_rest(&f->atlas, 0x13000, part), 0);  /* taken */
	assert_int_equal(vmat_atlas_claim_rest(&f->atlas, 0x900000, part), 0); /* not mapped */
	assert_int_equal(vmat_atlas_settle(&f->atlas), 0);
	check(f, 0, "..aarrrrbb......");
	fixture_free(f);
}

/* The kernel has merged 64 MiB of the program's with what the evidence speaks of: only what lies near is claimed. */
static void test_rest_is_near(void **state)
{
	struct vmat_part part = { 0, 0, VMAT_KIND_TLS, "r", "test", 0 };
	struct fixture *f = fixture_new("");
	struct vmat_region *region = &f->regions[REGIONS - 1];
	const struct vmat_owner *owner = &f->owners[REGIONS - 1];
	uint64_t addr;

	(void)state;
	region->prot = VMAT_PROT_READ | VMAT_PROT_WRITE;
	region->end = region->start + (64 << 20);
	addr = region->start + (32 << 20) + 8;
	assert_int_equal(vmat_atlas_claim_rest(&f->atlas, addr, part), 0);
	assert_int_equal(vmat_atlas_settle(&f->atlas), 0);
	assert_int_equal(owner->parts_count, 3);
	assert_int_equal(owner->parts[0].kind, VMAT_KIND_ANON);
	assert_int_equal(owner->parts[1].kind, VMAT_KIND_TLS);
	assert_int_equal(owner->parts[2].kind, VMAT_KIND_ANON);
	assert_true(owner->parts[1].start <= addr - (64 << 10) &&
		    addr + (64 << 10) < owner->parts[1].end);
	assert_true(owner->parts[1].end - owner->parts[1].start <= 256 << 10);
	fixture_free(f);
}

static void test_names(void **state)
{
	struct fixture *f = fixture_new("[anon:my pool:1]");

	(void)state;
	assert_int_equal(vmat_atlas_settle(&f->atlas), 0);
	assert_string_equal(f->owners[0].owner, "\"my pool:1\"");
	fixture_free(f);
	/* Where other things lie in it too, the name is that of the rest. */
	f = fixture_new("[anon:pool]");
	claim(f, 0x12000, 0x14000, VMAT_KIND_STACK, "s");
	assert_int_equal(vmat_atlas_settle(&f->atlas), 0);
	check(f, 0, "\"\"ss\"\"\"\"\"\"\"\"\"\"\"\"");
	fixture_free(f);
	/* The kernel's own names are none that a program gave: [stack:TID] is that of Linux 4.4. */
	for (size_t i = 0; i < 4; i++) {
		static const char *const names[] = { "[stack:77]", "[anon:open", "[anon", "" };

		f = fixture_new(names[i]);
		assert_int_equal(vmat_atlas_settle(&f->atlas), 0);
		assert_string_equal(f->owners[0].owner, "");
		fixture_free(f);
	}
	f = fixture_new("[anon:]");
	assert_int_equal(vmat_atlas_settle(&f->atlas), 0);
	assert_string_equal(f->owners[0].owner, "\"\"");
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),         cmocka_unit_test(test_over_borders),
		cmocka_unit_test(test_strength),     cmocka_unit_test(test_whole_and_turned),
		cmocka_unit_test(test_random),       cmocka_unit_test(test_rest),
		cmocka_unit_test(test_rest_is_near), cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
