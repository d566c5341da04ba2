/* SPDX-License-Identifier: MIT */
/*
 * Reading the memory of a living process: what is there is read exactly, what is absent stays absent,
 * and a piece that cannot be read costs that piece only.
 */
#include <errno.h>
#include <pthread.h>

#include "own_target.h"
#include "sys/uapi_new.h"

static void fill(char *memory, size_t size)
{
	for (size_t i = 0; i < size; i++)
		memory[i] = (char)(i * 7 + i / 251);
}

static void check_read(void)
{
	struct vmat_target *target = open_process(getpid());
	char *memory = map_pages(8), buffer[8 * PAGE];

	fill(memory, 3 * PAGE); /* pages 0 to 2; 3 is absent */
	fill(memory + 4 * PAGE, PAGE);
	for (size_t offset = 0; offset < 3 * PAGE; offset += offset % PAGE == 4095 ? 1 : 819) {
		size_t left = 3 * PAGE - offset;
		uint64_t addr = (uintptr_t)memory + offset;

		memset(buffer, 0, sizeof(buffer));
		CHECK(vmat_source_read(target, addr, buffer, 1) == 1);
		CHECK(vmat_source_read(target, addr, buffer, left) == (ssize_t)left);
		CHECK(memcmp(buffer, memory + offset, left) == 0);
		CHECK(vmat_source_read(target, addr, buffer, left + 1) == (ssize_t)left);
		CHECK(vmat_source_read(target, addr, buffer, left + PAGE + 1) == (ssize_t)left);
	}
	CHECK(vmat_source_read(target, (uintptr_t)memory + 3 * PAGE, buffer, 16) == 0);
	CHECK(vmat_source_read(target, (uintptr_t)memory + 3 * PAGE + 9, buffer, 2 * PAGE) == 0);
	/* Present, though its owner may not read it. */
	CHECK(mprotect(memory, PAGE, PROT_NONE) == 0);
	CHECK(vmat_source_read(target, (uintptr_t)memory + 1, buffer, 2) == 2);
	/* Pointers of a broken or hostile target. */
	CHECK(vmat_source_read(target, (uintptr_t)memory, buffer, 0) == -EINVAL);
	CHECK(vmat_source_read(target, UINT64_MAX - 3, buffer, 16) == -EINVAL);
	CHECK(vmat_source_read(target, 0, buffer, 16) == 0);
	CHECK(vmat_source_read(target, 8, buffer, 8) == 0);
	CHECK(vmat_source_read(target, 0x800000000000, buffer, 16) == 0);
	CHECK(vmat_source_read(target, 0xdeadbeefdeadbee0, buffer, 16) == 0);
	CHECK(vmat_source_read(target, 0xffffffffff600000, buffer, 16) == 0);
	CHECK(vmat_source_read(target, UINT64_MAX - 16, buffer, 16) == 0);
	vmat_target_close(target);
}

static void check_guard(void)
{
	struct vmat_target *target = open_process(getpid());
	char *memory = map_pages(4), buffer[4 * PAGE];

	fill(memory, 4 * PAGE);
	if (madvise(memory + 2 * PAGE, PAGE, VMAT_UAPI_MADV_GUARD_INSTALL) != 0)
		return;
	CHECK(vmat_source_read(target, (uintptr_t)memory, buffer, 4 * PAGE) == 2 * PAGE);
	CHECK(memcmp(buffer, memory, 2 * PAGE) == 0);
	CHECK(vmat_source_read(target, (uintptr_t)memory + 2 * PAGE, buffer, 1) == 0);
	vmat_target_close(target);
}

static long minor_faults(pid_t pid)
{
	char path[32], text[1024];
	long faults = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (file && fgets(text, sizeof(text), file))
		sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %ld", &faults);
	if (file)
		fclose(file);
	return faults;
}

static long page_tables(pid_t pid)
{
	char path[32], line[256];
	long kilobytes = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "VmPTE: %ld", &kilobytes);
	if (file)
		fclose(file);
	return kilobytes;
}

/* A gigabyte of holes with a page in each 32 MiB: read from end to end, and nothing has changed. */
static void check_nothing_changes(void)
{
	enum { SIZE = 1 << 30, STEP = 32 << 20 };

	char *memory = map_pages(SIZE / PAGE), *buffer = malloc(PAGE * 4);
	struct vmat_target *target;
	long tables, faults, resident;
	pid_t child;

	CHECK(buffer);
	for (size_t at = 0; at < SIZE; at += STEP)
		memory[at] = (char)(at / STEP + 1);
	child = start_child();
	CHECK(child > 0);
	target = open_process(child);
	tables = page_tables(child);
	faults = minor_faults(child);
	resident = smaps_fact(child, memory, "Rss:");
	CHECK(tables > 0 && faults > 0 && resident == SIZE / STEP * 4);
	for (size_t at = 0; at < SIZE; at += STEP / 4) {
		ssize_t got = vmat_source_read(target, (uintptr_t)memory + at, buffer, 4 * PAGE);

		CHECK(got == (at % STEP ? 0 : PAGE));
		CHECK(at % STEP || buffer[0] == (char)(at / STEP + 1));
	}
	CHECK(page_tables(child) == tables);
	CHECK(minor_faults(child) == faults);
	CHECK(smaps_fact(child, memory, "Rss:") == resident);
	end_child(child);
	vmat_target_close(target);
}

/* `count` pieces of which every third cannot be read: a guard, what is not mapped, no rights at all. */
static void check_pieces_of(struct vmat_target *target, size_t count)
{
	char *memory = map_pages(6);
	struct vmat_piece *pieces = calloc(count, sizeof(*pieces));
	uint64_t *words = calloc(count, sizeof(*words));
	bool has_guard;

	CHECK(pieces && words);
	fill(memory, 6 * PAGE);
	has_guard = madvise(memory + PAGE, PAGE, VMAT_UAPI_MADV_GUARD_INSTALL) == 0;
	CHECK(munmap(memory + 3 * PAGE, PAGE) == 0);
	for (size_t i = 0; i < count; i++) {
		size_t page = i % 3 != 2 ? 0 : has_guard && i % 2 ? 1 : 3;

		pieces[i] =
			(struct vmat_piece){ .addr = (uintptr_t)memory + page * PAGE + i % 500 * 8,
					     .buffer = &words[i],
					     .size = i % 7 + 1,
					     .got = 99 };
	}
	CHECK(vmat_source_read_pieces(target, pieces, count) == 0);
	for (size_t i = 0; i < count; i++) {
		CHECK(pieces[i].got == (i % 3 != 2 ? pieces[i].size : 0));
		CHECK(i % 3 == 2 || memcmp(&words[i], memory + i % 500 * 8, pieces[i].size) == 0);
	}
	free(pieces);
	free(words);
}

static void check_pieces(void)
{
	/* One call each, a child, several calls of the child (1024 pieces at most). */
	static const size_t counts[] = { 1, 2, 3, 255, 256, 257, 1023, 1024, 1025, 1026, 5000 };
	struct vmat_target *target = open_process(getpid());

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		check_pieces_of(target, counts[i]);
	CHECK(vmat_source_read_pieces(target, NULL, 0) == 0);
	/* A caller that ignores SIGCHLD has no status of its children. */
	signal(SIGCHLD, SIG_IGN);
	check_pieces_of(target, 600);
	vmat_target_close(target);
}

static int filled[2]; /* a pipe */

static void *wait_for_ever(void *memory)
{
	fill(memory, PAGE);
	CHECK(write(filled[1], "", 1) == 1);
	for (;;)
		pause();
	return NULL;
}

/* A process whose first thread has exited: the others keep its memory, /proc/PID looks like a zombie. */
static void check_exited_leader(void)
{
	char *memory = map_pages(1), buffer[PAGE], expected[PAGE];
	struct vmat_piece pieces[300];
	struct vmat_target *target;
	pid_t parent = getpid(), child;

	CHECK(pipe(filled) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		pthread_t thread;

		end_with(parent);
		alarm(60);
		pthread_create(&thread, NULL, wait_for_ever, memory);
		pthread_exit(NULL);
	}
	close(filled[1]);
	CHECK(read(filled[0], buffer, 1) == 1);
	close(filled[0]);
	wait_for_state(child, 'Z');
	target = open_process(child);
	CHECK(vmat_target_process(target)->pid == child);
	fill(expected, PAGE);
	CHECK(vmat_source_read(target, (uintptr_t)memory, buffer, PAGE) == PAGE);
	CHECK(memcmp(buffer, expected, PAGE) == 0);
	memset(buffer, 0, sizeof(buffer));
	for (size_t i = 0; i < 300; i++)
		pieces[i] = (struct vmat_piece){ (uintptr_t)memory + i, buffer + i, 1, 0 };
	CHECK(vmat_source_read_pieces(target, pieces, 300) == 0);
	CHECK(memcmp(buffer, expected, 300) == 0);
	CHECK(vmat_target_check(target, NULL) == 0);
	end_child(child);
	CHECK(vmat_target_check(target, NULL) == -ESRCH);
	vmat_target_close(target);
}

static void check_ended(void)
{
	char *memory = map_pages(1), buffer[16];
	struct vmat_piece pieces[300];
	struct vmat_target *target;
	pid_t child;

	memory[0] = 1;
	child = start_child();
	target = open_process(child);
	CHECK(vmat_source_read(target, (uintptr_t)memory, buffer, 1) == 1);
	end_child(child);
	CHECK(vmat_source_read(target, (uintptr_t)memory, buffer, 1) <= 0);
	for (size_t i = 0; i < 300; i++)
		pieces[i] = (struct vmat_piece){ (uintptr_t)memory, buffer, 1, 1 };
	vmat_source_read_pieces(target, pieces, 300);
	for (size_t i = 0; i < 300; i++)
		CHECK(pieces[i].got == 0);
	vmat_target_close(target);
}

static void test_read(void **state)
{
	(void)state;
	in_children(check_read);
	in_children(check_guard);
}

static void test_nothing_changes(void **state)
{
	(void)state;
	in_children(check_nothing_changes);
}

static void test_pieces(void **state)
{
	(void)state;
	in_children(check_pieces);
}

static void test_exited_leader(void **state)
{
	(void)state;
	in_children(check_exited_leader);
}

static void test_ended(void **state)
{
	(void)state;
	in_children(check_ended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),   cmocka_unit_test(test_nothing_changes),
		cmocka_unit_test(test_pieces), cmocka_unit_test(test_exited_leader),
		cmocka_unit_test(test_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
