/*
 * fusehang MOUNTPOINT: a file system whose reads can be made to hang, and a target that maps its
 * file.
 *
 * The file system has one file of FILE_PAGES pages. A child, the target, maps it, reads the
 * first CACHED_PAGES pages, and waits. One line of JSON says so, then comes the line "ready".
 * Commands on standard input, each answered with one line of JSON:
 *   h   from now on no read is answered: who touches a page that is not cached hangs
 *   c   reads are answered again, the held ones too
 * At the end of standard input the file system is unmounted; held reads then fail. When this
 * process is killed the kernel ends the connection, so nobody stays in state D.
 *
 * Exit: 1 something broke, 2 wrong usage, 77 no file system can be mounted here.
 */
#define FUSE_USE_VERSION 31

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	FILE_INODE = 2,
	FILE_PAGES = 1024,
	CACHED_PAGES = 4,
	MAX_HELD = 256,
	EXIT_CANNOT = 77,
};

static const char file_name[] = "file";
static size_t file_size, page_size;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_hanging;

static struct held_read {
	fuse_req_t request;
	size_t size;
} held[MAX_HELD];

static size_t held_count;

static void describe(fuse_ino_t inode, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = inode;
	st->st_mode = inode == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0444;
	st->st_nlink = 1;
	st->st_size = inode == FUSE_ROOT_ID ? 0 : (off_t)file_size;
}

static void fs_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .ino = FILE_INODE,
					  .attr_timeout = 3600,
					  .entry_timeout = 3600 };

	if (parent != FUSE_ROOT_ID || strcmp(name, file_name) != 0) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	describe(FILE_INODE, &entry.attr);
	fuse_reply_entry(request, &entry);
}

static void fs_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	struct stat st;

	(void)info;
	describe(inode, &st);
	fuse_reply_attr(request, &st, 3600);
}

static void fs_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	if (inode != FILE_INODE) {
		fuse_reply_err(request, EISDIR);
		return;
	}
	info->keep_cache = 1;
	fuse_reply_open(request, info);
}

static void answer_read(fuse_req_t request, size_t size)
{
	char *data = malloc(size);

	if (!data) {
		fuse_reply_err(request, ENOMEM);
		return;
	}
	memset(data, 'F', size);
	fuse_reply_buf(request, data, size);
	free(data);
}

static void fs_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
		    struct fuse_file_info *info)
{
	bool is_held = false;

	(void)inode;
	(void)info;
	if ((size_t)offset >= file_size)
		size = 0;
	else if (size > file_size - (size_t)offset)
		size = file_size - (size_t)offset;
	pthread_mutex_lock(&lock);
	if (is_hanging && held_count < MAX_HELD) {
		held[held_count].request = request;
		held[held_count++].size = size;
		is_held = true;
	}
	pthread_mutex_unlock(&lock);
	if (!is_held)
		answer_read(request, size);
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = fs_lookup,
	.getattr = fs_getattr,
	.open = fs_open,
	.read = fs_read,
};

static void *serve_file_system(void *session)
{
	fuse_session_loop(session);
	return NULL;
}

/* Runs in the target: maps the file, reads its first pages, says where, and waits. */
static void live_as_target(const char *path, int answer_fd, pid_t parent)
{
	int fd;
	char *start = MAP_FAILED;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "fuse-target");
	if (getppid() != parent)
		_exit(1);
	close(STDIN_FILENO);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		start = mmap(NULL, file_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (start == MAP_FAILED) {
		warn("cannot map %s", path);
		_exit(1);
	}
	/* No reading ahead: what is cached shall be known. */
	madvise(start, file_size, MADV_RANDOM);
	for (size_t i = 0; i < CACHED_PAGES; i++)
		(void)*(volatile char *)(start + i * page_size);
	if (write(answer_fd, &start, sizeof(start)) != (ssize_t)sizeof(start))
		_exit(1);
	for (;;)
		pause();
}

static pid_t start_target(const char *path, int connection, int *ret_answer_fd)
{
	pid_t parent = getpid(), pid;
	int answer[2];

	if (pipe2(answer, O_CLOEXEC))
		err(1, "cannot make a pipe");
	pid = fork();
	if (pid < 0)
		err(1, "cannot fork");
	if (pid == 0) {
		/* The connection must end with the server: a target in state D would keep it. */
		close(connection);
		live_as_target(path, answer[1], parent);
	}
	close(answer[1]);
	*ret_answer_fd = answer[0];
	return pid;
}

static void release_held_reads(void)
{
	pthread_mutex_lock(&lock);
	is_hanging = false;
	while (held_count) {
		held_count--;
		answer_read(held[held_count].request, held[held_count].size);
	}
	pthread_mutex_unlock(&lock);
}

static void run_command(int letter)
{
	size_t count;

	if (letter == 'c')
		release_held_reads();
	pthread_mutex_lock(&lock);
	if (letter == 'h')
		is_hanging = true;
	count = held_count;
	pthread_mutex_unlock(&lock);
	if (letter == 'h' || letter == 'c')
		printf("{\"hanging\": %s, \"held\": %zu}\n", letter == 'h' ? "true" : "false",
		       count);
	else
		puts("{\"error\": \"the commands are h and c\"}");
	fflush(stdout);
}

static struct fuse_session *mount_at(const char *mountpoint)
{
	char program[] = "fusehang", option[] = "-o",
	     value[] = "fsname=fusehang,default_permissions";
	char *argv[] = { program, option, value, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse_session *session =
		fuse_session_new(&args, &operations, sizeof(operations), NULL);

	if (!session)
		errx(1, "cannot make a FUSE session");
	if (fuse_session_mount(session, mountpoint)) {
		fprintf(stderr,
			"Cannot mount a FUSE file system at %s; it takes /dev/fuse and root or"
			" fusermount3.\n",
			mountpoint);
		exit(EXIT_CANNOT);
	}
	return session;
}

int main(int argc, char **argv)
{
	struct fuse_session *session;
	pthread_t server;
	char path[4096], line[64], *start = NULL;
	int answer_fd;
	pid_t target;

	if (argc != 2)
		errx(2, "usage: fusehang MOUNTPOINT");
	page_size = (size_t)sysconf(_SC_PAGESIZE);
	file_size = FILE_PAGES * page_size;
	snprintf(path, sizeof(path), "%s/%s", argv[1], file_name);

	session = mount_at(argv[1]);
	target = start_target(path, fuse_session_fd(session), &answer_fd);
	if (pthread_create(&server, NULL, serve_file_system, session))
		errx(1, "cannot start a thread");
	if (read(answer_fd, &start, sizeof(start)) == (ssize_t)sizeof(start)) {
		printf("{\"pid\": %d, \"server\": %d, \"page_size\": %zu, \"path\": \"%s\", "
		       "\"start\": \"0x%lx\", \"end\": \"0x%lx\", \"cached_pages\": %d}\nready\n",
		       (int)target, (int)getpid(), page_size, path, (unsigned long)start,
		       (unsigned long)start + file_size, CACHED_PAGES);
		fflush(stdout);
		while (fgets(line, sizeof(line), stdin))
			run_command(line[0]);
	}

	/* The target first hangs no more, then it ends, and with it the last use of the mount. */
	release_held_reads();
	kill(target, SIGKILL);
	waitpid(target, NULL, 0);
	fuse_session_unmount(session);
	return start ? 0 : 1;
}
