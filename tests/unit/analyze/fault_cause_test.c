/* SPDX-License-Identifier: MIT */
/* Causes of page faults, judged from profiles made by hand: those that no machine here can provoke among them. */
#include <stdio.h>
#include <string.h>

#include <vmatlas/fault_cause.h>

#include "cmocka_all.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

/* 17,000 faults, 1000 samples, all of them of one place of 4 MiB. */
struct made {
	struct vmat_fault_profile profile;
	struct vmat_fault_place place[2];
	struct vmat_fault_findings findings;
};

static void make(struct made *made, enum vmat_kind kind, uint64_t pages)
{
	const struct vmat_fault_range still = { 4 * MIB, 4 * MIB, 4 * MIB, 4 * MIB };

	*made = (struct made){
		.profile = { .span_ns = 10000000000,
			     .minor = 17000,
			     .every = 17,
			     .samples_minor = 1000,
			     .has_kernel = true,
			     .page_size = 4096,
			     .looks = 50,
			     .heap = { .allocator = "glibc malloc",
				       .mmap_threshold = 2 * MIB,
				       .mmap_max = 65536,
				       .trim_threshold = 4 * MIB },
			     .places_count = 1 },
		.place = { { .start = 0x7f0000000000,
			     .end = 0x7f0000400000,
			     .kind = kind,
			     .backing = VMAT_BACKING_ANON,
			     .is_private = true,
			     .was_seen = true,
			     .was_read = true,
			     .minor = 1000,
			     .pages = pages,
			     .looks = 50,
			     .mapped = still,
			     .present = still,
			     .probes = 200 } },
	};
	made->profile.places = made->place;
}

static enum vmat_fault_cause judge(struct made *made)
{
	made->profile.places = made->place;
	vmat_fault_judge(&made->findings, &made->profile);
	assert_true(made->findings.count > 0);
	assert_true(made->findings.findings[0].evidence[0]);
	assert_true(made->findings.findings[0].confidence <= 1);
	return made->findings.findings[0].cause;
}

static void test_first_touch(void **state)
{
	struct made made;

	(void)state;
	make(&made, VMAT_KIND_ANON, 1000);
	made.place[0].present.first = 0;
	assert_int_equal(judge(&made), VMAT_FAULT_FIRST_TOUCH);
	assert_int_equal(made.findings.findings[0].minor, 17000);
	/* All samples fell here, so it may be off by no more than what one sample stands for. */
	assert_int_equal(made.findings.findings[0].minor_error, 17);
}

static void test_churn_of_malloc(void **state)
{
	struct made made;
	const char *setting = made.findings.findings[0].setting;

	(void)state;
	make(&made, VMAT_KIND_HEAP, 24);
	made.place[0].probes_unmapped = 200;
	assert_int_equal(judge(&made), VMAT_FAULT_TRIM_CHURN);
	/* Never one without the other. */
	assert_non_null(strstr(setting, "mmap_threshold="));
	assert_non_null(strstr(setting, "trim_threshold="));

	make(&made, VMAT_KIND_MALLOC_MMAP, 24);
	made.place[0].changes = 20;
	made.place[0].mapped.max = 2 * MIB;
	assert_int_equal(judge(&made), VMAT_FAULT_MMAP_CHURN);
	assert_non_null(strstr(setting, "mmap_threshold="));
	assert_non_null(strstr(setting, "trim_threshold="));

	/* No threshold reaches above 32 MiB. */
	made.place[0].mapped.max = 64 * (uint64_t)MIB;
	assert_int_equal(judge(&made), VMAT_FAULT_MMAP_CHURN);
	assert_non_null(strstr(setting, "mmap_max=0"));
	assert_non_null(strstr(setting, "trim_threshold=268435456"));

	/* Another allocator has no use for glibc's settings. */
	made.profile.heap.allocator[0] = 'j';
	assert_int_equal(judge(&made), VMAT_FAULT_MMAP_CHURN);
	assert_string_equal(setting, "");
}

static void test_mapped_by_itself(void **state)
{
	struct made made;

	(void)state;
	make(&made, VMAT_KIND_ANON, 24);
	made.place[0].changes = 20;
	made.place[0].probes_unmapped = 100;
	assert_int_equal(judge(&made), VMAT_FAULT_MMAP_CHURN);
	assert_string_equal(made.findings.findings[0].setting, "");

	/* Where no look could read whose it is, it may be malloc's as well, and both are said. */
	made.place[0].was_read = false;
	assert_int_equal(judge(&made), VMAT_FAULT_MMAP_CHURN);
	assert_non_null(strstr(made.findings.findings[0].setting, "mmap_threshold="));
	assert_non_null(
		strstr(made.findings.findings[0].advice, "If the program maps them itself"));
}

static void test_dontneed(void **state)
{
	struct made made;

	(void)state;
	make(&made, VMAT_KIND_ANON, 24);
	made.place[0].probes_absent = 100;
	assert_int_equal(judge(&made), VMAT_FAULT_DONTNEED);
	assert_true(made.findings.findings[0].confidence > 0.8);
	/* Nothing was seen to be gone: it may be so, and is not sure. */
	made.place[0].probes_absent = 0;
	assert_int_equal(judge(&made), VMAT_FAULT_DONTNEED);
	assert_true(made.findings.findings[0].confidence <= 0.5);
	/* Forks that are too few to explain it change nothing. */
	made.profile.forks = 3;
	made.place[0].probes_absent = 100;
	assert_int_equal(judge(&made), VMAT_FAULT_DONTNEED);
}

static void test_fork(void **state)
{
	struct made made;

	(void)state;
	make(&made, VMAT_KIND_ANON, 24);
	made.profile.forks = 700;
	assert_int_equal(judge(&made), VMAT_FAULT_FORK_COPY);
	/* The child, whose pages are the parent's, too. */
	make(&made, VMAT_KIND_ANON, 1000);
	made.profile.is_forked = true;
	made.place[0].shared = (struct vmat_fault_range){ 2 * MIB, MIB, MIB, 2 * MIB };
	assert_int_equal(judge(&made), VMAT_FAULT_FORK_COPY);
	/* Shared pages alone are no fork of this one's: it may have executed a program since. */
	made.profile.is_forked = false;
	assert_int_equal(judge(&made), VMAT_FAULT_FIRST_TOUCH);
}

static void test_huge_split(void **state)
{
	struct made made;

	(void)state;
	make(&made, VMAT_KIND_ANON, 500);
	made.place[0].huge = (struct vmat_fault_range){ 4 * MIB, 0, 0, 4 * MIB };
	assert_int_equal(judge(&made), VMAT_FAULT_HUGE_SPLIT);
	/* So few samples that none met a page twice, and the last look found as many huge pages as the first. */
	made.place[0].pages = 1000;
	made.place[0].huge = (struct vmat_fault_range){ 2 * MIB, 2 * MIB, 0, 4 * MIB };
	assert_int_equal(judge(&made), VMAT_FAULT_HUGE_SPLIT);
	/* Huge pages that only become more are new memory. */
	made.place[0].huge = (struct vmat_fault_range){ 0, 4 * MIB, 0, 4 * MIB };
	assert_int_equal(judge(&made), VMAT_FAULT_FIRST_TOUCH);
	/* Whole huge pages that come and go fault once each: that is no split. */
	made.place[0].huge = (struct vmat_fault_range){ 4 * MIB, 0, 0, 4 * MIB };
	made.place[0].pages = 2;
	made.place[0].probes_absent = 100;
	assert_int_equal(judge(&made), VMAT_FAULT_DONTNEED);
}

static void test_files_and_stacks(void **state)
{
	struct made made;

	(void)state;
	make(&made, VMAT_KIND_FILE, 24);
	made.place[0].backing = VMAT_BACKING_FILE;
	assert_int_equal(judge(&made), VMAT_FAULT_FILE_READ);
	/* A mapping of a file waits for a disk, too: no swap. */
	made.place[0].major = 500;
	assert_int_equal(judge(&made), VMAT_FAULT_FILE_READ);
	make(&made, VMAT_KIND_STACK, 24);
	made.profile.threads_begun = 300;
	assert_int_equal(judge(&made), VMAT_FAULT_STACK_GROWTH);
}

static void test_swap_in(void **state)
{
	struct made made;

	(void)state;
	make(&made, VMAT_KIND_HEAP, 1400);
	made.place[0].major = 400;
	made.profile.major = made.profile.samples_major = 400;
	made.place[0].swapped = (struct vmat_fault_range){ 3 * MIB, 2 * MIB, 2 * MIB, 3 * MIB };
	assert_int_equal(judge(&made), VMAT_FAULT_SWAP_IN);
	assert_int_equal(made.findings.findings[0].major, 400);
	assert_true(made.findings.findings[0].confidence > 0.9);
	/* One page of many that came from a disk does not make all of them swap. */
	make(&made, VMAT_KIND_HEAP, 1001);
	made.place[0].major = 1;
	made.place[0].present.first = 0;
	assert_int_equal(judge(&made), VMAT_FAULT_FIRST_TOUCH);
}

static void test_unknown(void **state)
{
	struct made made;

	(void)state;
	/* Only counted. */
	make(&made, VMAT_KIND_ANON, 0);
	made.profile.places_count = 0;
	made.profile.every = made.profile.samples_minor = 0;
	snprintf(made.profile.why_no_samples, sizeof(made.profile.why_no_samples),
		 "it is not permitted");
	assert_int_equal(judge(&made), VMAT_FAULT_UNKNOWN);
	assert_non_null(strstr(made.findings.findings[0].evidence, "it is not permitted"));
	/* Half of the faults have no samples: those are unknown, and not given to the others. */
	make(&made, VMAT_KIND_ANON, 1000);
	made.profile.minor = 34000;
	judge(&made);
	assert_int_equal(made.findings.count, 2);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(made.findings.findings[i].minor, 17000);
	/* No faults, no cause. */
	make(&made, VMAT_KIND_ANON, 0);
	made.profile.minor = made.profile.samples_minor = 0;
	made.profile.places_count = 0;
	vmat_fault_judge(&made.findings, &made.profile);
	assert_int_equal(made.findings.count, 0);
}

static void test_shares(void **state)
{
	struct made made;
	uint64_t error;

	(void)state;
	make(&made, VMAT_KIND_HEAP, 24);
	made.place[0].minor = 900;
	made.place[0].probes_unmapped = 100;
	made.place[1] = made.place[0];
	made.place[1].kind = VMAT_KIND_FILE;
	made.place[1].backing = VMAT_BACKING_FILE;
	made.place[1].minor = 100;
	made.profile.places_count = 2;
	assert_int_equal(judge(&made), VMAT_FAULT_TRIM_CHURN);
	assert_int_equal(made.findings.count, 2);
	assert_int_equal(made.findings.findings[0].minor, 15300);
	assert_int_equal(made.findings.findings[1].minor, 1700);
	/* 1.96 sqrt(0.9 * 0.1 / 1000) of 17000 */
	assert_int_equal(vmat_fault_estimate(&made.profile, 900, &error), 15300);
	assert_in_range(error, 315, 317);
}

static void test_as_findings(void **state)
{
	struct vmat_judgement judgement = { .findings_count = 0 };
	struct made made;

	(void)state;
	/* 17,000 in 10 s are worth a look; ten times as many are bad; first touches are neither. */
	make(&made, VMAT_KIND_HEAP, 24);
	made.place[0].probes_unmapped = 200;
	vmat_fault_findings_add(&judgement, &made.profile);
	assert_int_equal(judgement.findings_count, 1);
	assert_string_equal(judgement.findings[0].id, "faults.trim_churn");
	assert_int_equal(judgement.findings[0].severity, VMAT_SEVERITY_WARNING);
	assert_non_null(strstr(judgement.findings[0].advice, "GLIBC_TUNABLES="));
	made.profile.span_ns /= 10;
	vmat_fault_findings_add(&judgement, &made.profile);
	assert_int_equal(judgement.findings_count, 2);
	assert_int_equal(judgement.findings[0].severity, VMAT_SEVERITY_BAD);
	make(&made, VMAT_KIND_ANON, 1000);
	made.profile.span_ns /= 10;
	judgement.findings_count = 0;
	vmat_fault_findings_add(&judgement, &made.profile);
	assert_int_equal(judgement.findings[0].severity, VMAT_SEVERITY_INFO);
}

/* A verdict does not contradict a finding that is bad; first touches are none, and what grows stays what it is. */
static void test_as_verdict(void **state)
{
	static const struct {
		enum vmat_verdict before;
		const char *finding;
		unsigned faster;
		enum vmat_kind kind;
		enum vmat_verdict after;
	} cases[] = {
		{ VMAT_VERDICT_STABLE, "stable", 10, VMAT_KIND_HEAP, VMAT_VERDICT_FAULT_CHURN },
		{ VMAT_VERDICT_STABLE, "stable", 1, VMAT_KIND_HEAP, VMAT_VERDICT_STABLE },
		{ VMAT_VERDICT_STABLE, "stable", 10, VMAT_KIND_ANON, VMAT_VERDICT_STABLE },
		{ VMAT_VERDICT_INSUFFICIENT_DATA, "data.noise", 10, VMAT_KIND_HEAP,
		  VMAT_VERDICT_FAULT_CHURN },
		{ VMAT_VERDICT_INSUFFICIENT_DATA, "data.few", 10, VMAT_KIND_HEAP,
		  VMAT_VERDICT_INSUFFICIENT_DATA },
		{ VMAT_VERDICT_LEAK, "leak.memory", 10, VMAT_KIND_HEAP, VMAT_VERDICT_LEAK },
	};
	struct made made;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct vmat_judgement judgement = { .verdict = cases[i].before };
		struct vmat_finding finding = { .id = cases[i].finding };

		make(&made, cases[i].kind, cases[i].kind == VMAT_KIND_HEAP ? 24 : 1000);
		made.place[0].probes_unmapped = cases[i].kind == VMAT_KIND_HEAP ? 200 : 0;
		vmat_finding_add(&judgement, &finding);
		made.profile.span_ns /= cases[i].faster;
		vmat_fault_findings_add(&judgement, &made.profile);
		assert_int_equal(judgement.verdict, cases[i].after);
	}
}

static void test_names(void **state)
{
	(void)state;
	for (int i = 0; i < VMAT_FAULT_CAUSE_COUNT; i++) {
		assert_true(vmat_fault_cause_name((enum vmat_fault_cause)i)[0]);
		assert_true(vmat_fault_cause_meaning((enum vmat_fault_cause)i)[0]);
	}
	assert_string_equal(vmat_fault_cause_name(VMAT_FAULT_CAUSE_COUNT), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_touch),
		cmocka_unit_test(test_churn_of_malloc),
		cmocka_unit_test(test_mapped_by_itself),
		cmocka_unit_test(test_dontneed),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_huge_split),
		cmocka_unit_test(test_files_and_stacks),
		cmocka_unit_test(test_swap_in),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_as_findings),
		cmocka_unit_test(test_as_verdict),
		cmocka_unit_test(test_names),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
