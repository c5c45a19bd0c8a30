/*
 * What the programs of the corpus share: a buffer, from whatever the command line names, its
 * mapping, and one way to ask for a bracket. They know nothing of the checker.
 *
 *     PROGRAM /dev/udmabuf | /dev/dma_heap/system | MOUNT/HEAP/NAME
 */
#ifndef CORPUS_H
#define CORPUS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

#define PAGE 4096
#define SIZE (16 * PAGE)

/* What is drawn, or was copied out. */
static char frame[SIZE] __attribute__((unused));

static inline void need(int holds, const char *what)
{
	if (!holds) {
		perror(what);
		exit(1);
	}
}

/* The last word of a program that came to its end as it would have without a checker. */
static inline int done(void)
{
	fprintf(stderr, "done\n");
	return 0;
}

static inline int allocate_from_heap(int heap)
{
	struct dma_heap_allocation_data allocation;

	memset(&allocation, 0, sizeof(allocation));
	allocation.len = SIZE;
	allocation.fd_flags = O_RDWR | O_CLOEXEC;
	need(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &allocation) == 0, "DMA_HEAP_IOCTL_ALLOC");
	return allocation.fd;
}

static inline int new_memfd(void)
{
	int memfd = memfd_create("corpus", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	need(memfd != -1 && ftruncate(memfd, SIZE) == 0, "memfd");
	need(fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK) == 0, "F_ADD_SEALS");
	return memfd;
}

static inline int buffer_of_memfd(int device, int memfd)
{
	struct udmabuf_create create;
	int fd;

	memset(&create, 0, sizeof(create));
	create.memfd = memfd;
	create.flags = UDMABUF_FLAGS_CLOEXEC;
	create.size = SIZE;
	fd = ioctl(device, UDMABUF_CREATE, &create);
	need(fd != -1, "UDMABUF_CREATE");
	return fd;
}

/* A new buffer of SIZE bytes. */
static inline int open_buffer(int argc, char **argv)
{
	int fd, memfd, buffer;

	if (argc < 2) {
		fprintf(stderr, "usage: %s BUFFER\n", argv[0]);
		exit(2);
	}
	if (strncmp(argv[1], "/dev/", 5) != 0) {
		fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		need(fd != -1 && ftruncate(fd, SIZE) == 0, argv[1]);
		return fd;
	}
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	need(fd != -1, argv[1]);
	if (strcmp(argv[1], "/dev/udmabuf") == 0) {
		memfd = new_memfd();
		buffer = buffer_of_memfd(fd, memfd);
		close(memfd);
	} else {
		buffer = allocate_from_heap(fd);
	}
	close(fd);
	return buffer;
}

static inline char *map_buffer(int fd)
{
	void *bytes = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	need(bytes != MAP_FAILED, "mmap");
	return (char *)bytes;
}

/*
 * DMA_BUF_IOCTL_SYNC, restarted as linux/dma-buf.h asks. A macro, so that its place in the code is
 * the line of the program that has it.
 */
#define SYNC(fd, what) do {                                                              \
	struct dma_buf_sync sync_ = { .flags = (what) };                                 \
	int result_;                                                                     \
	do                                                                               \
		result_ = ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync_);                         \
	while (result_ == -1 && (errno == EINTR || errno == EAGAIN));                    \
	need(result_ == 0, "DMA_BUF_IOCTL_SYNC");                                        \
} while (0)

#define START_READ (DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ)
#define START_WRITE (DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE)
#define START_RW (DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW)
#define END_READ (DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ)
#define END_WRITE (DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE)
#define END_RW (DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW)

#endif
