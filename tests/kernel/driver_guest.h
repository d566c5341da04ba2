/* SPDX-License-Identifier: MIT */
/*
 * driver_guest.h: what the programs share that try /dev/vmatlas in a guest: TAP, the driver's calls, and memory of known shape.
 *
 * These programs run as root on a kernel of their own, whose pools, limits and modules they change. Truth is what they wrote
 * themselves, /proc/self/pagemap, and the counters of /proc/meminfo and /proc/vmstat.
 */
#ifndef VMAT_TESTS_DRIVER_GUEST_H
#define VMAT_TESTS_DRIVER_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uapi/vmatlas.h>

#define PAGE      ((size_t)4096)
#define HUGE      ((size_t)2 << 20)
#define HUGE_POOL 24

/* TAP. `done` prints the plan and returns the exit status. */
bool ok(bool is_good, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool is(long long got, long long wanted, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int done(void);
_Noreturn void give_up(const char *what);

/* The driver's calls: 0, a descriptor or a count, or -errno. */
int device_open(void);
int buf_pin(int device, const void *data, size_t bytes);
int buf_info(int buf, struct vmatlas_info *ret);
int buf_dmabuf(int buf);
/* All extents of a buffer, asked for `step` at a time. Returns how many; the caller frees. */
size_t buf_extents(int buf, size_t step, struct vmatlas_extent **ret);

/* The same table by /proc/self/pagemap, of which the driver knows nothing. */
size_t pagemap_extents(const void *data, size_t bytes, struct vmatlas_extent **ret);
bool same_extents(int buf, const void *data, size_t bytes);

long meminfo(const char *name);
long vmstat(const char *name);
long status_kib(const char *name);
int write_text(const char *path, const char *text);

/* Takes the pool of huge pages and gives it back in an order in which neighbours are not neighbours. */
void scramble_pool(void);
void *huge_pages(size_t count, int flags);
void *plain_pages(size_t count);
/* Each 8 bytes say where they are. */
void fill(void *data, size_t bytes, uint64_t seed);
/* The offset of the first wrong word, or `bytes`. */
size_t check(const void *data, size_t bytes, uint64_t first, uint64_t seed);

/* Runs it in a child, which ends with its result; returns that. */
int in_child(int (*run)(void *), void *with);
int send_fd(int socket, int fd);
int receive_fd(int socket);

#endif
