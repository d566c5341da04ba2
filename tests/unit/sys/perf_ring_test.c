/* SPDX-License-Identifier: MIT */
/* Records of perf events, made by hand, over the end of the ring, and broken ones. */
#include "sys/perf_ring.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>

#include "cmocka_all.h"

enum { SIZE = 256 };

struct seen {
	struct vmat_perf_record records[16];
	size_t count;
};

static void keep(const struct vmat_perf_record *record, void *context)
{
	struct seen *seen = context;

	assert_in_range(seen->count, 0, 15);
	seen->records[seen->count++] = *record;
}

/* Writes a record of `words` words behind its header at `at`, and returns where the next one begins. */
static uint64_t put(unsigned char ring[SIZE], uint64_t at, uint32_t type, uint16_t misc,
		    const uint64_t *words, size_t count)
{
	struct perf_event_header header = { .type = type,
					    .misc = misc,
					    .size = (uint16_t)(8 + 8 * count) };
	unsigned char bytes[SIZE];

	memcpy(bytes, &header, 8);
	memcpy(bytes + 8, words, 8 * count);
	for (size_t i = 0; i < header.size; i++)
		ring[(at + i) % SIZE] = bytes[i];
	return at + header.size;
}

#define PAIR(low, high) ((uint64_t)(low) | (uint64_t)(high) << 32)

static void test_records_over_the_end(void **state)
{
	const uint64_t sample[] = { 0x401000, PAIR(7, 8), 99, 0x7f0000001000, 5 };
	const uint64_t fork[] = { PAIR(9, 7), PAIR(9, 7), 100 }, lost[] = { 5, 42 };
	const uint64_t exec[] = { PAIR(7, 7), 0 };
	unsigned char ring[SIZE] = { 0 };

	(void)state;
	/* Each begins somewhere else in the ring. */
	for (uint64_t start = 0; start < 2 * SIZE; start += 8) {
		struct seen seen = { .count = 0 };
		uint64_t at = put(ring, start, PERF_RECORD_SAMPLE, 0, sample, 5);

		at = put(ring, at, PERF_RECORD_FORK, 0, fork, 3);
		at = put(ring, at, PERF_RECORD_LOST, 0, lost, 2);
		at = put(ring, at, PERF_RECORD_COMM, 0, exec, 2);
		at = put(ring, at, PERF_RECORD_COMM, PERF_RECORD_MISC_COMM_EXEC, exec, 2);
		assert_int_equal(vmat_perf_records_parse(ring, SIZE, start, at, keep, &seen), 5);
		assert_int_equal(seen.count, 4);
		assert_int_equal(seen.records[0].type, VMAT_PERF_SAMPLE);
		assert_int_equal(seen.records[0].ip, 0x401000);
		assert_int_equal(seen.records[0].pid, 7);
		assert_int_equal(seen.records[0].tid, 8);
		assert_int_equal(seen.records[0].time_ns, 99);
		assert_int_equal(seen.records[0].addr, 0x7f0000001000);
		assert_int_equal(seen.records[0].id, 5);
		assert_int_equal(seen.records[1].type, VMAT_PERF_FORK);
		assert_int_equal(seen.records[1].pid, 9);
		assert_int_equal(seen.records[1].parent_pid, 7);
		assert_int_equal(seen.records[2].lost, 42);
		assert_int_equal(seen.records[3].type, VMAT_PERF_EXEC);
	}
}

static void test_broken(void **state)
{
	const uint64_t words[4] = { 1, 2, 3, 4 };
	unsigned char ring[SIZE] = { 0 };
	struct seen seen = { .count = 0 };
	uint64_t end;

	(void)state;
	/* A size of 0 would never end. */
	assert_int_equal(vmat_perf_records_parse(ring, SIZE, 0, 64, keep, &seen), -EBADMSG);
	/* Too short for a sample. */
	end = put(ring, 0, PERF_RECORD_SAMPLE, 0, words, 4);
	assert_int_equal(vmat_perf_records_parse(ring, SIZE, 0, end, keep, &seen), -EBADMSG);
	/* Longer than what is there. */
	assert_int_equal(vmat_perf_records_parse(ring, SIZE, 0, end - 8, keep, &seen), -EBADMSG);
	assert_int_equal(vmat_perf_records_parse(ring, SIZE, 0, 4, keep, &seen), -EBADMSG);
	/* More than a ring holds, and a ring that is none. */
	assert_int_equal(vmat_perf_records_parse(ring, SIZE, 0, SIZE + 8, keep, &seen), -EBADMSG);
	assert_int_equal(vmat_perf_records_parse(ring, SIZE, 8, 0, keep, &seen), -EBADMSG);
	assert_int_equal(vmat_perf_records_parse(ring, 200, 0, 8, keep, &seen), -EBADMSG);
	assert_int_equal(vmat_perf_records_parse(ring, SIZE, 16, 16, keep, &seen), 0);
	assert_int_equal(seen.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records_over_the_end),
		cmocka_unit_test(test_broken),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
