/* SPDX-License-Identifier: MIT */
/*
 * blocked: one thread in each kind of system call that waits, which counts what the call returned.
 *
 * Nothing ever happens that a call waits for, so each return is news: EINTR, which must come once for
 * each signal that was handled and never else, or something that a stranger has done.
 *
 * usage: blocked [KIND...]      all kinds by default; the first line of output names them, then "ready"
 * Commands on standard input, each answered by a line of JSON:
 *   signals    SIGUSR1, which is caught, to a thread that waits, at random moments, from now on
 *   ignored    SIGWINCH, SIGURG, SIGCHLD and SIGCONT, which do nothing by default, likewise
 *   quiet      no more signals; answers when all have been handled
 *   report     {"kind": {"eintr": n, "handled": n, "sent": n, "lost": n, "other": n, "errno": n}}
 *   exec       executes itself anew, with the same arguments
 *   leader     the first thread ends; nothing more is answered
 *   vfork      a thread waits two seconds in vfork(2), where nothing interrupts it
 *   churn      threads start threads, and children are forked, without end
 *   churned    {"churned": how many by now}
 * It ends with its input. Signals come from another process, which a stop of this one does not stop.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HOUR = 3600, EXIT_BROKEN = 1 };

/* What a kind waits with; the meaning is its own. */
struct made {
	int fd;
	int other;
	unsigned long context;
	char *memory;
};

struct kind {
	const char *name;
	void (*make)(struct made *made);
	long (*wait)(struct made *made);
	bool blocks;          /* SIGUSR1 is open inside the call only */
	bool needs_privilege; /* left out where it cannot be made */
};

/* Shared with the process that sends. */
struct count {
	atomic_int tid;
	atomic_long rounds, eintr, handled, other, sent, lost;
	atomic_int last_errno;
};

enum { SEND_NOTHING, SEND_SIGNALS, SEND_IGNORED };

struct shared {
	atomic_int mode, is_sending;
	struct count counts[64];
};

static struct shared *shared;
static __thread struct count *self;
static pid_t sender;
static sigset_t open_mask;
static atomic_long churned;

static void die(const char *what)
{
	fprintf(stderr, "blocked: %s: %s\n", what, strerror(errno));
	exit(EXIT_BROKEN);
}

static int must(int result, const char *what)
{
	if (result < 0)
		die(what);
	return result;
}

static void on_signal(int number)
{
	(void)number;
	if (self)
		self->handled++;
}

/*
 * How each kind is made and waited with.
 */

static void make_nothing(struct made *made)
{
	(void)made;
}

static void make_epoll(struct made *made)
{
	made->fd = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
}

static void make_pipe(struct made *made)
{
	int ends[2];

	must(pipe2(ends, O_CLOEXEC), "pipe2");
	made->fd = ends[0];
	made->other = ends[1];
}

static void make_full_pipe(struct made *made)
{
	char block[4096] = { 0 };

	make_pipe(made);
	must(fcntl(made->other, F_SETFL, O_NONBLOCK), "fcntl");
	while (write(made->other, block, sizeof(block)) > 0)
		;
	must(fcntl(made->other, F_SETFL, 0), "fcntl");
}

static void make_pair(struct made *made)
{
	int ends[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
	made->fd = ends[0];
	made->other = ends[1];
}

static void set_timeout(int fd, int which)
{
	struct timeval hour = { .tv_sec = HOUR };

	must(setsockopt(fd, SOL_SOCKET, which, &hour, sizeof(hour)), "setsockopt");
}

static void make_pair_timed(struct made *made)
{
	make_pair(made);
	set_timeout(made->fd, SO_RCVTIMEO);
}

static void make_pair_full(struct made *made)
{
	char block[4096] = { 0 };

	make_pair(made);
	while (send(made->fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		;
}

static void make_pair_full_timed(struct made *made)
{
	make_pair_full(made);
	set_timeout(made->fd, SO_SNDTIMEO);
}

/* A name that no file has: of the abstract kind, chosen by the kernel. */
static void make_listener(struct made *made)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };

	made->fd = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
	must(bind(made->fd, (struct sockaddr *)&name, sizeof(sa_family_t)), "bind");
	must(listen(made->fd, 0), "listen");
}

static void make_listener_timed(struct made *made)
{
	make_listener(made);
	set_timeout(made->fd, SO_RCVTIMEO);
}

/* A listener whose queue is full, so that one more connect waits. */
static void make_connect(struct made *made)
{
	struct sockaddr_un name;
	socklen_t size = sizeof(name);
	int fd = -1;

	make_listener(made);
	must(getsockname(made->fd, (struct sockaddr *)&name, &size), "getsockname");
	do
		fd = must(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
	while (connect(fd, (struct sockaddr *)&name, size) == 0);
	close(fd);
	made->other = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
}

static void make_connect_timed(struct made *made)
{
	make_connect(made);
	set_timeout(made->other, SO_SNDTIMEO);
}

static void make_sem(struct made *made)
{
	made->fd = must(semget(IPC_PRIVATE, 1, 0600), "semget");
}

static void make_msg(struct made *made)
{
	made->fd = must(msgget(IPC_PRIVATE, 0600), "msgget");
}

static void make_msg_full(struct made *made)
{
	struct {
		long type;
		char text[1024];
	} message = { .type = 1 };

	make_msg(made);
	while (msgsnd(made->fd, &message, sizeof(message.text), IPC_NOWAIT) == 0)
		;
}

static void make_aio(struct made *made)
{
	aio_context_t context = 0;

	must((int)syscall(SYS_io_setup, 1, &context), "io_setup");
	made->context = (unsigned long)context;
}

static void make_uring(struct made *made)
{
	struct io_uring_params params = { 0 };

	made->fd = must((int)syscall(SYS_io_uring_setup, 4, &params), "io_uring_setup");
}

static void make_inotify(struct made *made)
{
	made->fd = must(inotify_init1(IN_CLOEXEC), "inotify_init1");
}

static void make_eventfd(struct made *made)
{
	made->fd = must(eventfd(0, EFD_CLOEXEC), "eventfd");
}

static void make_timerfd(struct made *made)
{
	made->fd = must(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "timerfd_create");
}

static void make_signalfd(struct made *made)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	made->fd = must(signalfd(-1, &set, SFD_CLOEXEC), "signalfd");
}

static void make_uffd(struct made *made)
{
	struct uffdio_api api = { .api = UFFD_API };

	made->fd =
		must((int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY), "userfaultfd");
	must(ioctl(made->fd, UFFDIO_API, &api), "UFFDIO_API");
}

static void make_queue(struct made *made)
{
	char name[64];

	snprintf(name, sizeof(name), "/vmatlas-blocked-%d", (int)getpid());
	made->fd =
		must(mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, NULL), "mq_open");
	mq_unlink(name);
}

/* Two descriptions of one file, of which one holds the lock. */
static void make_locked(struct made *made)
{
	char path[64];
	int fd = must(memfd_create("blocked", MFD_CLOEXEC), "memfd_create");

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	made->fd = must(open(path, O_RDWR | O_CLOEXEC), "open");
	made->other = fd;
}

static void make_flock(struct made *made)
{
	make_locked(made);
	must(flock(made->other, LOCK_EX), "flock");
}

static void make_fcntl(struct made *made)
{
	struct flock lock = { .l_type = F_WRLCK };

	make_locked(made);
	must(fcntl(made->other, F_OFD_SETLK, &lock), "F_OFD_SETLK");
}

static void make_futex(struct made *made)
{
	made->memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (made->memory == MAP_FAILED)
		die("mmap");
}

static void make_fifo(struct made *made)
{
	const char *folder = getenv("TMPDIR");
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/blocked-fifo-%d", folder ? folder : "/tmp", (int)getpid());
	must(mkfifo(path, 0600), "mkfifo");
	made->memory = strdup(path);
}

static const struct timespec hour = { .tv_sec = HOUR };

static long wait_epoll(struct made *m)
{
	struct epoll_event event;

	return epoll_wait(m->fd, &event, 1, HOUR * 1000);
}

static long wait_epoll_endless(struct made *m)
{
	struct epoll_event event;

	return epoll_pwait(m->fd, &event, 1, -1, &open_mask);
}

static long wait_epoll_pwait2(struct made *m)
{
	struct epoll_event event;

	return epoll_pwait2(m->fd, &event, 1, &hour, &open_mask);
}

static long wait_read(struct made *m)
{
	char byte[4096];

	return read(m->fd, byte, sizeof(byte));
}

static long wait_write(struct made *m)
{
	return write(m->other, "x", 1);
}

static long wait_recv(struct made *m)
{
	char byte;

	return recv(m->fd, &byte, 1, 0);
}

static long wait_recvmsg(struct made *m)
{
	char byte;
	struct iovec vector = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

	return recvmsg(m->fd, &message, 0);
}

static long wait_send(struct made *m)
{
	return send(m->fd, "x", 1, MSG_NOSIGNAL);
}

static long wait_accept(struct made *m)
{
	return accept4(m->fd, NULL, NULL, SOCK_CLOEXEC);
}

static long wait_connect(struct made *m)
{
	struct sockaddr_un name;
	socklen_t size = sizeof(name);

	must(getsockname(m->fd, (struct sockaddr *)&name, &size), "getsockname");
	return connect(m->other, (struct sockaddr *)&name, size);
}

static long wait_sigtimedwait(struct made *m)
{
	sigset_t set;

	(void)m;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigtimedwait(&set, NULL, &hour);
}

static long wait_semop(struct made *m)
{
	struct sembuf down = { .sem_op = -1 };

	return semop(m->fd, &down, 1);
}

static long wait_semtimedop(struct made *m)
{
	struct sembuf down = { .sem_op = -1 };

	return semtimedop(m->fd, &down, 1, &hour);
}

static long wait_msgrcv(struct made *m)
{
	struct {
		long type;
		char text[16];
	} message;

	return msgrcv(m->fd, &message, sizeof(message.text), 0, 0);
}

static long wait_msgsnd(struct made *m)
{
	struct {
		long type;
		char text[1024];
	} message = { .type = 1 };

	return msgsnd(m->fd, &message, sizeof(message.text), 0);
}

static long wait_aio(struct made *m)
{
	struct io_event event;

	return syscall(SYS_io_getevents, m->context, 1L, 1L, &event, NULL);
}

static long wait_uring(struct made *m)
{
	return syscall(SYS_io_uring_enter, m->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
}

static long wait_nanosleep(struct made *m)
{
	(void)m;
	return nanosleep(&hour, NULL);
}

static long wait_clock(struct made *m)
{
	struct timespec end;
	int err;

	(void)m;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += HOUR;
	err = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
	errno = err;
	return err ? -1 : 0;
}

static long wait_poll(struct made *m)
{
	struct pollfd poll_fd = { .fd = m->fd, .events = POLLIN };

	return poll(&poll_fd, 1, HOUR * 1000);
}

static long wait_ppoll(struct made *m)
{
	struct pollfd poll_fd = { .fd = m->fd, .events = POLLIN };

	return ppoll(&poll_fd, 1, &hour, &open_mask);
}

static long wait_select(struct made *m)
{
	struct timeval time = { .tv_sec = HOUR };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(m->fd, &set);
	return select(m->fd + 1, &set, NULL, NULL, &time);
}

static long wait_pselect(struct made *m)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(m->fd, &set);
	return pselect(m->fd + 1, &set, NULL, NULL, NULL, &open_mask);
}

static long wait_futex(struct made *m)
{
	/* Without a time-out: one call is the same for both widths of time. */
	return syscall(SYS_futex, m->memory, FUTEX_WAIT, 0, NULL);
}

static long wait_pause(struct made *m)
{
	(void)m;
	return pause();
}

static long wait_sigsuspend(struct made *m)
{
	(void)m;
	return sigsuspend(&open_mask);
}

static long wait_child(struct made *m)
{
	(void)m;
	return waitpid(sender, NULL, 0);
}

static long wait_flock(struct made *m)
{
	return flock(m->fd, LOCK_EX);
}

static long wait_fcntl(struct made *m)
{
	struct flock lock = { .l_type = F_WRLCK };

	return fcntl(m->fd, F_OFD_SETLKW, &lock);
}

static long wait_queue(struct made *m)
{
	char text[8192];

	return mq_receive(m->fd, text, sizeof(text), NULL);
}

static long wait_open(struct made *m)
{
	return open(m->memory, O_RDONLY | O_CLOEXEC);
}

static const struct kind kinds[] = {
	/* These return EINTR after a plain stop. */
	{ "epoll_wait", make_epoll, wait_epoll },
	{ "epoll_pwait", make_epoll, wait_epoll_endless, .blocks = true },
	{ "epoll_pwait2", make_epoll, wait_epoll_pwait2, .blocks = true },
	{ "recv_timed", make_pair_timed, wait_recv },
	{ "recvmsg_timed", make_pair_timed, wait_recvmsg },
	{ "read_timed", make_pair_timed, wait_read },
	{ "send_timed", make_pair_full_timed, wait_send },
	{ "accept_timed", make_listener_timed, wait_accept },
	{ "connect_timed", make_connect_timed, wait_connect },
	{ "sigtimedwait", make_nothing, wait_sigtimedwait },
	{ "semop", make_sem, wait_semop },
	{ "semtimedop", make_sem, wait_semtimedop },
	{ "io_getevents", make_aio, wait_aio, .needs_privilege = true },
	{ "io_uring_enter", make_uring, wait_uring, .needs_privilege = true },
	/* The kernel makes these again by itself. */
	{ "nanosleep", make_nothing, wait_nanosleep },
	{ "clock_nanosleep", make_nothing, wait_clock },
	{ "poll", make_pipe, wait_poll },
	{ "ppoll", make_pipe, wait_ppoll, .blocks = true },
	{ "select", make_pipe, wait_select },
	{ "pselect", make_pipe, wait_pselect, .blocks = true },
	{ "futex", make_futex, wait_futex },
	{ "read", make_pipe, wait_read },
	{ "write", make_full_pipe, wait_write },
	{ "recv", make_pair, wait_recv },
	{ "send", make_pair_full, wait_send },
	{ "accept", make_listener, wait_accept },
	{ "connect", make_connect, wait_connect },
	{ "msgrcv", make_msg, wait_msgrcv },
	{ "msgsnd", make_msg_full, wait_msgsnd },
	{ "inotify", make_inotify, wait_read },
	{ "eventfd", make_eventfd, wait_read },
	{ "timerfd", make_timerfd, wait_read },
	{ "signalfd", make_signalfd, wait_read },
	{ "pause", make_nothing, wait_pause },
	{ "sigsuspend", make_nothing, wait_sigsuspend, .blocks = true },
	{ "waitpid", make_nothing, wait_child },
	{ "flock", make_flock, wait_flock },
	{ "fcntl", make_fcntl, wait_fcntl },
	{ "mq_receive", make_queue, wait_queue, .needs_privilege = true },
	{ "open_fifo", make_fifo, wait_open },
	{ "userfaultfd", make_uffd, wait_read, .needs_privilege = true },
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static bool is_chosen[KINDS];
static struct made mades[KINDS];

static void *body(void *which)
{
	size_t i = (size_t)(uintptr_t)which;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	if (kinds[i].blocks)
		sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	self = &shared->counts[i];
	self->tid = gettid();
	for (;;) {
		long result;

		self->rounds++;
		result = kinds[i].wait(&mades[i]);
		if (result < 0 && errno == EINTR) {
			self->eintr++;
		} else {
			self->last_errno = result < 0 ? errno : 0;
			self->other++;
		}
	}
	return NULL;
}

/*
 * The process that sends.
 */

static void pause_us(long us)
{
	struct timespec time = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	nanosleep(&time, NULL);
}

static char state_of(pid_t pid, pid_t tid)
{
	char path[64], text[512], *after;
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 'X';
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[got > 0 ? got : 0] = '\0';
	after = strrchr(text, ')');
	return after ? after[2] : 'X';
}

/* Waits up to a second until *value is beyond `before`. */
static bool grows(atomic_long *value, long before)
{
	for (int i = 0; i < 10000; i++) {
		if (*value > before)
			return true;
		pause_us(100);
	}
	return false;
}

/*
 * A signal between two calls would be handled without ending any, so it is sent only when the thread
 * was seen asleep since it said that it is about to wait: it then is inside the call, as far as it knows.
 */
static void send_one(pid_t pid, struct count *count)
{
	long rounds = count->rounds, eintr, handled;

	if (!count->tid || state_of(pid, count->tid) != 'S' || rounds != count->rounds)
		return;
	eintr = count->eintr;
	handled = count->handled;
	if (rounds != eintr + count->other + 1)
		return;
	pause_us(rand() % 500);
	count->sent++;
	if (tgkill(pid, count->tid, SIGUSR1))
		return;
	if (!grows(&count->handled, handled) || !grows(&count->eintr, eintr))
		count->lost++;
}

static void send_ignored(pid_t pid, const struct count *count)
{
	static const int quiet[] = { SIGWINCH, SIGURG, SIGCHLD, SIGCONT };

	if (count->tid)
		tgkill(pid, count->tid, quiet[rand() % 4]);
	pause_us(rand() % 100);
}

static void send_all(pid_t pid)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		struct count *count = &shared->counts[rand() % KINDS];
		int mode;

		shared->is_sending = 1;
		mode = shared->mode;
		if (mode == SEND_SIGNALS)
			send_one(pid, count);
		else if (mode == SEND_IGNORED)
			send_ignored(pid, count);
		shared->is_sending = 0;
		if (mode == SEND_NOTHING)
			pause_us(500);
	}
}

/*
 * Commands.
 */

static void set_mode(int mode)
{
	shared->mode = mode;
	for (int i = 0; mode == SEND_NOTHING && i < 5; i++) {
		while (shared->is_sending)
			pause_us(100);
		pause_us(1000);
	}
	printf("{}\n");
}

static void report(void)
{
	const char *comma = "";

	printf("{");
	for (size_t i = 0; i < KINDS; i++) {
		const struct count *c = &shared->counts[i];

		if (!is_chosen[i])
			continue;
		printf("%s\"%s\": {\"eintr\": %ld, \"handled\": %ld, \"sent\": %ld, \"lost\": %ld, "
		       "\"other\": %ld, \"errno\": %d, \"tid\": %d}",
		       comma, kinds[i].name, c->eintr, c->handled, c->sent, c->lost, c->other,
		       c->last_errno, c->tid);
		comma = ", ";
	}
	printf("}\n");
}

static void clean(void)
{
	for (size_t i = 0; i < KINDS; i++) {
		if (!is_chosen[i])
			continue;
		if (kinds[i].make == make_sem)
			semctl(mades[i].fd, 0, IPC_RMID);
		if (kinds[i].make == make_msg || kinds[i].make == make_msg_full)
			msgctl(mades[i].fd, IPC_RMID, NULL);
		if (kinds[i].make == make_fifo)
			unlink(mades[i].memory);
	}
}

static void *wait_in_vfork(void *unused)
{
	static const struct timespec time = { .tv_sec = 2 };
	pid_t child =
		vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): it is what is made */

	(void)unused;
	if (child == 0) {
		nanosleep(&time, NULL); /* NOLINT(clang-analyzer-unix.Vfork): ends soon */
		_exit(0);
	}
	waitpid(child, NULL, 0);
	return NULL;
}

static void *end_at_once(void *unused)
{
	return unused;
}

static void *start_threads(void *unused)
{
	pthread_t thread;

	for (;;) {
		if (pthread_create(&thread, NULL, end_at_once, unused) == 0)
			pthread_join(thread, NULL);
		churned++;
	}
	return NULL;
}

static void *start_children(void *unused)
{
	(void)unused;
	for (;;) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		waitpid(child, NULL, 0);
		churned++;
	}
	return NULL;
}

static void start(void *(*work)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, work, NULL))
		die("pthread_create");
	pthread_detach(thread);
}

static void obey(char **argv)
{
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, "signals") == 0) {
			set_mode(SEND_SIGNALS);
		} else if (strcmp(line, "ignored") == 0) {
			set_mode(SEND_IGNORED);
		} else if (strcmp(line, "quiet") == 0) {
			set_mode(SEND_NOTHING);
		} else if (strcmp(line, "report") == 0) {
			report();
		} else if (strcmp(line, "exec") == 0) {
			clean();
			kill(sender, SIGKILL);
			execv("/proc/self/exe", argv);
		} else if (strcmp(line, "vfork") == 0) {
			start(wait_in_vfork);
			pause_us(200000);
			printf("{}\n");
		} else if (strcmp(line, "churn") == 0) {
			start(start_threads);
			start(start_threads);
			start(start_children);
			printf("{}\n");
		} else if (strcmp(line, "churned") == 0) {
			printf("{\"churned\": %ld}\n", churned);
		} else if (strcmp(line, "leader") == 0) {
			pthread_exit(NULL);
		} else {
			printf("{\"error\": \"no such command\"}\n");
		}
		fflush(stdout);
	}
}

/* Can this kind be made here? In a child, since it may not be possible. */
static bool can_make(const struct kind *kind)
{
	struct made made = { 0 };
	pid_t child = fork();
	int status;

	if (child == 0) {
		close(STDERR_FILENO);
		kind->make(&made);
		_exit(0);
	}
	return waitpid(child, &status, 0) == child && status == 0;
}

static void choose(int argc, char **argv)
{
	for (size_t i = 0; i < KINDS; i++) {
		is_chosen[i] = argc < 2;
		for (int a = 1; a < argc; a++)
			is_chosen[i] |= strcmp(argv[a], kinds[i].name) == 0;
		if (is_chosen[i] && kinds[i].needs_privilege)
			is_chosen[i] = can_make(&kinds[i]);
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	const char *comma = "";
	sigset_t set;
	pthread_t thread;
	pid_t pid = getpid();

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		die("mmap");
	choose(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	open_mask = set;
	sigprocmask(SIG_SETMASK, &set, NULL);
	sigaction(SIGUSR1, &action, NULL);
	sender = must(fork(), "fork");
	if (sender == 0)
		send_all(pid);
	printf("{\"pid\": %d, \"word\": %d, \"kinds\": [", (int)pid, (int)sizeof(long));
	for (size_t i = 0; i < KINDS; i++) {
		if (!is_chosen[i])
			continue;
		kinds[i].make(&mades[i]);
		if (pthread_create(&thread, NULL, body, (void *)(uintptr_t)i))
			die("pthread_create");
		printf("%s\"%s\"", comma, kinds[i].name);
		comma = ", ";
	}
	printf("]}\n");
	for (size_t i = 0; i < KINDS; i++) {
		while (is_chosen[i] &&
		       (!shared->counts[i].tid || state_of(pid, shared->counts[i].tid) != 'S'))
			pause_us(200);
	}
	printf("ready\n");
	fflush(stdout);
	obey(argv);
	clean();
	kill(sender, SIGKILL);
	return 0;
}
