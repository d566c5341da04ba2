/*
 * kinds: one item of each kind of memory, with its address and the kind that it is.
 *
 * "kind" is what the very address is; "region_kind" is what the whole mapping around it is
 * called where that differs (the TLS of a thread lies in its stack). "owner" is a file, a
 * mapping's name or null; "tid" a thread. What this machine cannot make has a null address and a
 * reason.
 */
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "factory.h"

struct item {
	const char *name;
	const void *address;
	size_t size; /* 0: not known or not meaningful */
	const char *kind;
	const char *region_kind; /* NULL: the same */
	const char *owner;
	pid_t tid;
};

enum { ARENA_THREADS = 2, AREA_PAGES = 16, HUGE_PAGE = 2 << 20 };

/* extern, so that each is a symbol and lies where its declaration says. */
extern const char factory_rodata[4096];
extern char factory_data[4096];
extern char factory_bss[65536];
extern const void *const factory_relro[8];
extern __thread char factory_tls[256];

const char factory_rodata[4096] = "constant";
char factory_data[4096] = "initialized";
char factory_bss[65536];
const void *const factory_relro[8] = { factory_rodata, factory_data, factory_bss };
__thread char factory_tls[256] = "of each thread";

struct arena_thread {
	pthread_t thread;
	pid_t tid;
	char name[16];
	void *block;
	char *tls;
	char *local;
	char *guard;
	size_t guard_size;
};

static struct arena_thread arena_threads[ARENA_THREADS];
static pthread_barrier_t everyone_is_up;
static char own_path[4096];

static void print_item(const struct item *item)
{
	json_begin(NULL, '{');
	json_text("name", item->name);
	json_address("address", (uintptr_t)item->address);
	json_size("size", item->size);
	json_text("kind", item->kind);
	json_text("region_kind", item->region_kind ? item->region_kind : item->kind);
	json_text("owner", item->owner);
	if (item->tid)
		json_number("tid", item->tid);
	else
		json_null("tid");
	json_end('}');
}

static void print_missing(const char *name, const char *kind, const char *reason)
{
	json_begin(NULL, '{');
	json_text("name", name);
	json_null("address");
	json_text("kind", kind);
	json_text("reason", reason);
	json_end('}');
}

static void *fill_arena(void *arg)
{
	struct arena_thread *self = arg;
	volatile char local = 0;

	self->tid = (pid_t)syscall(SYS_gettid);
	self->block = malloc(1000);
	if (!self->block)
		err(1, "cannot allocate");
	memset(self->block, 'a', 1000);
	self->tls = factory_tls;
	self->local = (char *)(uintptr_t)&local;
	pthread_barrier_wait(&everyone_is_up);
	for (;;)
		pause();
	return NULL;
}

static void start_arena_threads(void)
{
	pthread_barrier_init(&everyone_is_up, NULL, ARENA_THREADS + 1);
	for (size_t i = 0; i < ARENA_THREADS; i++)
		if (pthread_create(&arena_threads[i].thread, NULL, fill_arena, &arena_threads[i]))
			errx(1, "cannot start a thread");
	pthread_barrier_wait(&everyone_is_up);
	for (size_t i = 0; i < ARENA_THREADS; i++) {
		struct arena_thread *t = &arena_threads[i];
		pthread_attr_t attr;
		void *stackaddr;
		size_t stacksize;

		if (pthread_getattr_np(t->thread, &attr))
			errx(1, "cannot get the attributes of a thread");
		pthread_attr_getstack(&attr, &stackaddr, &stacksize);
		pthread_attr_getguardsize(&attr, &t->guard_size);
		pthread_attr_destroy(&attr);
		t->guard = (char *)stackaddr - t->guard_size;
	}
}

static void print_program(void)
{
	int (*puts_address)(const char *) = puts;
	void (*own_address)(const struct item *) = print_item;
	const void *text, *libc_text;
	ElfW(Addr) loader = getauxval(AT_BASE);

	memcpy(&text, &own_address, sizeof(text));
	memcpy(&libc_text, &puts_address, sizeof(libc_text));
	factory_data[0] = 'I';
	factory_bss[0] = 'b';
	print_item(&(struct item){ "text", text, 0, "text", NULL, own_path, 0 });
	print_item(&(struct item){ "rodata", factory_rodata, sizeof(factory_rodata), "rodata", NULL,
				   own_path, 0 });
	print_item(&(struct item){ "data", factory_data, sizeof(factory_data), "data", NULL,
				   own_path, 0 });
	print_item(&(struct item){ "bss", factory_bss, sizeof(factory_bss), "bss", NULL, own_path,
				   0 });
#ifdef __PIE__
	print_item(&(struct item){ "relro", factory_relro, sizeof(factory_relro), "relro", NULL,
				   own_path, 0 });
#else
	print_missing("relro", "relro", "a program at a fixed address has nothing to relocate");
#endif
	if (loader) {
		/* The owner is the C library; its path is for the test to find, in maps. */
		print_item(&(struct item){ "libc_text", libc_text, 0, "text", NULL, NULL, 0 });
		print_item(&(struct item){ "loader", (void *)loader, 0, "rodata", NULL, NULL, 0 });
	} else {
		print_missing("loader", "rodata", "a static program has no loader");
	}
}

static void print_allocations(void)
{
	char *small = malloc(100), *large = malloc(1 << 20);

	if (!small || !large)
		err(1, "cannot allocate");
	memset(small, 's', 100);
	memset(large, 'l', 5000);
#ifdef __GLIBC__
	print_item(&(struct item){ "heap", small, 100, "heap", NULL, "[heap]", 0 });
	print_item(&(struct item){ "malloc_mmap", large, 1 << 20, "malloc_mmap", NULL, NULL, 0 });
	for (size_t i = 0; i < ARENA_THREADS; i++)
		print_item(&(struct item){ "arena", arena_threads[i].block, 1000, "arena", NULL,
					   NULL, arena_threads[i].tid });
#else
	print_missing("heap", "heap", "this C library has an allocator of its own");
	print_missing("malloc_mmap", "malloc_mmap", "this C library has an allocator of its own");
	print_missing("arena", "arena", "this C library has no arenas");
#endif
}

static void print_threads(void)
{
	/* A loader maps the TLS of the first thread; a static glibc program takes it from the heap. */
	const char *tls_region = getauxval(AT_BASE) ? NULL : "heap";
	char local = 0;

	print_item(&(struct item){ "main_stack", &local, 0, "stack", NULL, "[stack]", getpid() });
	factory_tls[0] = 'M';
	print_item(&(struct item){ "main_tls", factory_tls, sizeof(factory_tls), "tls", tls_region,
				   NULL, getpid() });
	for (size_t i = 0; i < ARENA_THREADS; i++) {
		struct arena_thread *t = &arena_threads[i];

		print_item(&(struct item){ "stack", t->local, 0, "stack", NULL, NULL, t->tid });
		print_item(&(struct item){ "tls", t->tls, sizeof(factory_tls), "tls", "stack", NULL,
					   t->tid });
		print_item(&(struct item){ "stack_guard", t->guard, t->guard_size, "guard", NULL,
					   NULL, t->tid });
	}
}

static void print_mapped_file(const char *name, int map_flags, int fd, const char *kind,
			      const char *owner)
{
	size_t size = AREA_PAGES * page_size;
	char *start = map_fenced(size, PROT_READ | PROT_WRITE, map_flags, fd);

	write_page(start, 0);
	print_item(&(struct item){ name, start, size, kind, NULL, owner, 0 });
}

static void print_files(void)
{
	size_t size = AREA_PAGES * page_size;
	const char *path = temporary_path("kinds.dat");
	int fd = make_file(path, size);

	fill_file(fd, size);
	print_mapped_file("file_private", MAP_PRIVATE, fd, "file", path);
	print_mapped_file("file_shared", MAP_SHARED, fd, "file", path);
	close(fd);

	path = temporary_path("gone.dat");
	fd = make_file(path, size);
	print_mapped_file("file_deleted", MAP_PRIVATE, fd, "file", path);
	close(fd);
	unlink(path);
}

static void print_shared(void)
{
	size_t size = AREA_PAGES * page_size;
	static char shm_name[64], shm_path[80];
	int fd, id;

	print_mapped_file("shm_anonymous", MAP_SHARED | MAP_ANONYMOUS, -1, "shm", NULL);

	snprintf(shm_name, sizeof(shm_name), "/vmatlas-factory-%d", (int)getpid());
	snprintf(shm_path, sizeof(shm_path), "/dev/shm%s", shm_name);
	fd = shm_open(shm_name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)size)) {
		print_missing("shm_posix", "shm", strerror(errno));
	} else {
		print_mapped_file("shm_posix", MAP_SHARED, fd, "shm", shm_path);
		close(fd);
	}

	id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
	if (id < 0) {
		print_missing("shm_sysv", "shm", strerror(errno));
	} else {
		char *start = shmat(id, NULL, 0);

		shmctl(id, IPC_RMID, NULL);
		write_page(start, 0);
		print_item(&(struct item){ "shm_sysv", start, size, "shm", NULL, NULL, 0 });
	}

	fd = memfd_create("factory-kinds", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size))
		err(1, "cannot create a memfd");
	print_mapped_file("memfd_shared", MAP_SHARED, fd, "memfd", "factory-kinds");
	print_mapped_file("memfd_private", MAP_PRIVATE, fd, "memfd", "factory-kinds");
	close(fd);
}

static void print_code(void)
{
#if defined(__x86_64__) || defined(__i386__)
	static const unsigned char code[] = { 0xb8, 0x2a, 0, 0, 0, 0xc3 };
#elif defined(__aarch64__)
	static const unsigned char code[] = { 0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6 };
#endif
	size_t size = AREA_PAGES * page_size;

	for (int is_writable = 0; is_writable < 2; is_writable++) {
		char *start =
			map_fenced(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		const char *name = is_writable ? "jit_rwx" : "jit_rx";
		int prot = PROT_READ | PROT_EXEC | (is_writable ? PROT_WRITE : 0);
		int (*answer)(void);

		memcpy(start, code, sizeof(code));
		memcpy(&answer, &start, sizeof(answer));
		if (mprotect(start, size, prot)) {
			print_missing(name, "jit", strerror(errno));
			continue;
		}
		__builtin___clear_cache(start, start + sizeof(code));
		if (answer() != 42)
			errx(1, "the function made at run time does not work");
		print_item(&(struct item){ name, start, size, "jit", NULL, NULL, 0 });
	}
}

static void print_anonymous(void)
{
	size_t size = AREA_PAGES * page_size;
	int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	char *start = map_fenced(size, prot, flags, -1);
	void *huge = mmap(NULL, HUGE_PAGE, prot, flags | MAP_HUGETLB, -1, 0);

	write_page(start, 0);
	print_item(&(struct item){ "anon", start, size, "anon", NULL, NULL, 0 });

	start = map_fenced(size, prot, flags, -1);
	write_page(start, 0);
	if (name_region(start, size, "factory name"))
		print_item(&(struct item){ "anon_named", start, size, "anon", NULL, "factory name",
					   0 });
	else
		print_missing("anon_named", "anon", "this kernel cannot name anonymous memory");

	start = map_fenced(size, prot, flags, -1);
	write_page(start, 0);
	if (install_guard(start + 4 * page_size, 2 * page_size))
		print_item(&(struct item){ "guard_pages", start + 4 * page_size, 2 * page_size,
					   "guard", "anon", NULL, 0 });
	else
		print_missing("guard_pages", "guard", "this kernel has no MADV_GUARD_INSTALL");

	start = map_anywhere(64 << 20, PROT_NONE, flags | MAP_NORESERVE, -1);
	print_item(&(struct item){ "reserved", start, 64 << 20, "reserved", NULL, NULL, 0 });

	if (huge == MAP_FAILED) {
		print_missing("hugetlb", "hugetlb", "vm.nr_hugepages leaves no huge page free");
	} else {
		write_page(huge, 0);
		print_item(&(struct item){ "hugetlb", huge, HUGE_PAGE, "hugetlb", NULL, NULL, 0 });
	}
}

/* The kernel placed these, so the kernel says where they are. */
static void print_kernel(void)
{
	uintptr_t vdso = getauxval(AT_SYSINFO_EHDR), start, end;

	if (vdso)
		print_item(&(struct item){ "vdso", (void *)vdso, 0, "vdso", NULL, "[vdso]", 0 });
	else
		print_missing("vdso", "vdso", "this kernel gives none");
	if (find_vma(0, "[vvar]", &start, &end))
		print_item(&(struct item){ "vvar", (void *)start, end - start, "kernel", NULL,
					   "[vvar]", 0 });
	else
		print_missing("vvar", "kernel", "this kernel has none");
}

static void make_kinds(void)
{
	ssize_t length = readlink("/proc/self/exe", own_path, sizeof(own_path) - 1);

	if (length < 0)
		err(1, "cannot read /proc/self/exe");
	start_arena_threads();
	json_begin("items", '[');
	print_program();
	print_allocations();
	print_threads();
	print_files();
	print_shared();
	print_code();
	print_anonymous();
	print_kernel();
	json_end(']');
}

static void finish_kinds(void)
{
	char name[64];

	snprintf(name, sizeof(name), "/vmatlas-factory-%d", (int)getpid());
	shm_unlink(name);
}

const struct scenario scenario_kinds = {
	.name = "kinds",
	.summary = "one item of each kind of memory, with its address and its kind",
	.keys = "",
	.make = make_kinds,
	.finish = finish_kinds,
};
