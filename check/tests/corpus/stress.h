/*
 * Sixteen threads that bracket random ranges of random buffers, each bracket right and each page of
 * it touched. A buffer's lock tells them apart from a thread that wants it for itself.
 */
#ifndef STRESS_H
#define STRESS_H

#include "corpus.h"
#include <pthread.h>

#define THREADS 16
#define BUFFERS 8
#define TURNS 100

/* The vendor kernels' bracket with a range; an exporter that does not know it says ENOTTY. */
struct sync_partial {
	__u64 flags;
	__u32 offset;
	__u32 len;
};
#define SYNC_PARTIAL _IOW('b', 2, struct sync_partial)

struct buffer {
	int fd;
	volatile char *bytes;
	pthread_rwlock_t lock;
};

static struct buffer buffers[BUFFERS];
static int has_ranges = 1;

static inline void sync_range(int fd, __u64 flags, unsigned first, unsigned pages)
{
	struct sync_partial partial = { flags, first * PAGE, pages * PAGE };
	struct dma_buf_sync whole = { .flags = flags };
	int result;

	do
		result = has_ranges ? ioctl(fd, SYNC_PARTIAL, &partial)
				    : ioctl(fd, DMA_BUF_IOCTL_SYNC, &whole);
	while (result == -1 && (errno == EINTR || errno == EAGAIN));
	need(result == 0, "a bracket");
}

/* A right bracket over some pages, of which each is touched. */
static inline void use(struct buffer *buffer, unsigned *seed)
{
	const __u64 direction = 1 + rand_r(seed) % 3;
	const unsigned first = has_ranges ? rand_r(seed) % 16 : 0;
	const unsigned pages = has_ranges ? 1 + rand_r(seed) % (16 - first) : 16;
	unsigned page;

	sync_range(buffer->fd, DMA_BUF_SYNC_START | direction, first, pages);
	for (page = first; page < first + pages; page++) {
		if (direction & DMA_BUF_SYNC_READ)
			(void)buffer->bytes[page * PAGE];
		if (direction & DMA_BUF_SYNC_WRITE)
			buffer->bytes[page * PAGE] = page;
	}
	sync_range(buffer->fd, DMA_BUF_SYNC_END | direction, first, pages);
}

/* Once a bracket's turn is over: what else a thread does with the buffer. */
static void (*afterwards)(struct buffer *buffer, unsigned *seed);

static inline void *use_in_turn(void *number)
{
	unsigned seed = (size_t)number;
	int i;

	for (i = 0; i < TURNS; i++) {
		struct buffer *buffer = &buffers[rand_r(&seed) % BUFFERS];

		pthread_rwlock_rdlock(&buffer->lock);
		use(buffer, &seed);
		pthread_rwlock_unlock(&buffer->lock);
		if (afterwards)
			afterwards(buffer, &seed);
	}
	return NULL;
}

static inline void find_out_whether_there_are_ranges(struct buffer *buffer)
{
	struct sync_partial partial = { START_READ, 0, PAGE };

	if (ioctl(buffer->fd, SYNC_PARTIAL, &partial) == -1) {
		need(errno == ENOTTY, "SYNC_PARTIAL");
		has_ranges = 0;
	} else {
		(void)buffer->bytes[0];
		sync_range(buffer->fd, END_READ, 0, 1);
	}
}

/* Opens the buffers, runs the threads and waits for them. */
static inline void stress(int argc, char **argv)
{
	pthread_t threads[THREADS];
	char name[256];
	char *arguments[] = { argv[0], name };
	size_t i;

	need(argc == 2, "a buffer");
	for (i = 0; i < BUFFERS; i++) {
		if (strncmp(argv[1], "/dev/", 5) == 0)
			snprintf(name, sizeof(name), "%s", argv[1]);
		else
			snprintf(name, sizeof(name), "%s-%zu", argv[1], i);
		buffers[i].fd = open_buffer(2, arguments);
		buffers[i].bytes = map_buffer(buffers[i].fd);
		pthread_rwlock_init(&buffers[i].lock, NULL);
	}
	find_out_whether_there_are_ranges(&buffers[0]);
	for (i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, use_in_turn, (void *)(i + 1));
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

#endif
