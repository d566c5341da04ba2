/* SPDX-License-Identifier: MIT */
/*
 * hugebuf_driver [MIB]: one buffer of huge pages, seen by three: the process that made it, the kernel, and another process.
 *
 * The producer fills a buffer and pins it by the driver in kmod/. The kernel's checksum is over what it reads in one piece, wherever
 * the pages lie. The consumer has no memory of the producer, only the descriptor that comes over a socket: it maps the
 * buffer, sums it, and adds one to every word, which the other two see. Needs: modprobe vmatlas, vm.nr_hugepages, root or the group
 * of /dev/vmatlas.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmatlas/prim/hugebuf.h>

/* Depends on the order of the words: pages in another order would show. */
static uint64_t checksum(uint64_t sum, const void *data, size_t size)
{
	const uint64_t *words = data;

	for (size_t i = 0; i < size / 8; i++)
		sum = (sum << 7 | sum >> 57) ^ words[i];
	return sum;
}

/* The message that carries a descriptor. */
struct parcel {
	struct msghdr head;
	struct iovec piece;
	uint64_t size;

	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
};

static struct msghdr *wrap(struct parcel *parcel)
{
	parcel->piece = (struct iovec){ &parcel->size, sizeof(parcel->size) };
	parcel->head = (struct msghdr){ .msg_iov = &parcel->piece,
					.msg_iovlen = 1,
					.msg_control = parcel->control.bytes,
					.msg_controllen = sizeof(parcel->control.bytes) };
	return &parcel->head;
}

static int send_buffer(int socket, int fd, size_t size)
{
	struct parcel parcel = { .size = size };
	struct msghdr *head = wrap(&parcel);

	*CMSG_FIRSTHDR(head) = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
						 .cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(head)), &fd, sizeof(fd));
	return sendmsg(socket, head, 0) == (ssize_t)sizeof(parcel.size) ? 0 : -errno;
}

static int consume(int socket)
{
	struct parcel parcel = { 0 };
	uint64_t *words;
	int fd;

	if (recvmsg(socket, wrap(&parcel), MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(parcel.size) ||
	    !CMSG_FIRSTHDR(&parcel.head))
		return 1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&parcel.head)), sizeof(fd));
	words = mmap(NULL, parcel.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd); /* the mapping is enough */
	if (words == MAP_FAILED)
		return 1;
	printf("consumer: %016" PRIx64 "\n", checksum(0, words, parcel.size));
	for (size_t i = 0; i < parcel.size / 8; i++)
		words[i]++;
	return fflush(stdout) != 0;
}

/* What the kernel has: read(2) goes over its own sequential mapping of the pages. */
static uint64_t kernel_checksum(int fd, size_t size)
{
	static uint64_t piece[1 << 13];
	uint64_t sum = 0;

	for (size_t at = 0; at < size; at += sizeof(piece)) {
		if (pread(fd, piece, sizeof(piece), (off_t)at) != (ssize_t)sizeof(piece))
			return 0;
		sum = checksum(sum, piece, sizeof(piece));
	}
	return sum;
}

static int share(struct vmat_hugebuf *buf, int fd)
{
	uint64_t *words = (void *)buf->data;
	int sockets[2], status = 1;
	pid_t child;

	for (size_t i = 0; i < buf->size / 8; i++)
		words[i] = i * UINT64_C(0x9e3779b97f4a7c15);
	printf("producer: %016" PRIx64 "\n", checksum(0, words, buf->size));
	printf("kernel:   %016" PRIx64 "\n", kernel_checksum(fd, buf->size));
	fflush(stdout);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return 1;
	child = fork();
	if (child == 0) {
		close(fd); /* it shall come over the socket */
		_exit(consume(sockets[1]));
	}
	if (child < 0 || send_buffer(sockets[0], fd, buf->size) ||
	    waitpid(child, &status, 0) != child || status)
		return 1;
	printf("then:     %016" PRIx64 " here, %016" PRIx64 " in the kernel\n",
	       checksum(0, words, buf->size), kernel_checksum(fd, buf->size));
	return 0;
}

int main(int argc, char **argv)
{
	size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 12;
	struct vmat_hugebuf *buf;
	int fd, r = vmat_hugebuf_new(&buf, mib << 20, VMAT_HUGEBUF_UNSORTED | VMAT_HUGEBUF_ONLY_2M);

	if (r) {
		fprintf(stderr, "hugebuf_driver: %s: see vm.nr_hugepages\n", strerror(-r));
		return 1;
	}
	fd = vmat_hugebuf_pin(buf);
	if (fd < 0) {
		fprintf(stderr, "hugebuf_driver: %s: is the driver loaded (modprobe vmatlas)?\n",
			strerror(-fd));
		vmat_hugebuf_free(buf);
		return 1;
	}
	printf("%zu MiB in %zu physical extents\n", buf->size >> 20, buf->extents_count);
	r = share(buf, fd);
	vmat_hugebuf_free(buf);
	close(fd);
	return r;
}
