/*
 * Inverts the colours of a rectangle of a picture in a dma-buf: what any program that was written
 * for dma-bufs does. It knows open, mmap and ioctl, and nothing of this project.
 *
 *     cc -std=c11 -O2 -o edit edit.c
 *     ./edit PATH WIDTH HEIGHT X Y RECT_WIDTH RECT_HEIGHT WAY
 *
 * The picture is WIDTH x HEIGHT pixels of XRGB8888 (bytes B, G, R, X), WIDTH * 4 bytes a row. WAY
 * says how the access is bracketed, wrongly or rightly:
 *
 *     whole            DMA_BUF_IOCTL_SYNC, read and write: the whole buffer
 *     ranged           DMA_BUF_IOCTL_SYNC_PARTIAL, read and write: the rectangle's rows
 *     none             no bracket
 *     wrong-direction  DMA_BUF_IOCTL_SYNC, read: though it writes
 *     too-small        DMA_BUF_IOCTL_SYNC_PARTIAL, read and write: the upper half of those rows
 *
 * Prints `brackets=N nanoseconds=T`: T from before the bracket begins until it has ended, page
 * faults included. Exits with 0, with 1 on a failure, with 2 on bad arguments, and with 3 where
 * the exporter refuses mmap.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linux/dma-buf.h>

/* The vendor kernels' ioctl for a part of a buffer, which linux/dma-buf.h does not have. */
struct dma_buf_sync_partial {
	uint64_t flags;
	uint32_t offset;
	uint32_t len;
};
#define DMA_BUF_IOCTL_SYNC_PARTIAL _IOW(DMA_BUF_BASE, 2, struct dma_buf_sync_partial)

enum { BYTES_PER_PIXEL = 4, MMAP_REFUSED = 3 };

enum kind { NONE, WHOLE, PARTIAL };

/* How to bracket: the ioctl, its direction, and the rows for an ioctl that takes a part. */
struct way {
	enum kind kind;
	uint64_t direction;
	size_t first_row;
	size_t rows;
};

static size_t number(const char *text, const char *what)
{
	char *end;

	errno = 0;
	unsigned long value = strtoul(text, &end, 10);
	if (errno || end == text || *end || value > INT32_MAX) {
		fprintf(stderr, "edit: %s is not a %s in pixels\n", text, what);
		exit(2);
	}
	return value;
}

static struct way parse_way(const char *text, size_t first_row, size_t rows)
{
	if (!strcmp(text, "whole"))
		return (struct way){ .kind = WHOLE, .direction = DMA_BUF_SYNC_RW };
	if (!strcmp(text, "wrong-direction"))
		return (struct way){ .kind = WHOLE, .direction = DMA_BUF_SYNC_READ };
	if (!strcmp(text, "ranged"))
		return (struct way){ PARTIAL, DMA_BUF_SYNC_RW, first_row, rows };
	if (!strcmp(text, "too-small"))
		return (struct way){ PARTIAL, DMA_BUF_SYNC_RW, first_row, rows / 2 };
	if (!strcmp(text, "none"))
		return (struct way){ .kind = NONE };
	fprintf(stderr,
		"edit: %s is no way; it is whole, ranged, none, wrong-direction or too-small\n",
		text);
	exit(2);
}

/* Restarts what a signal or a busy exporter interrupted, as the kernel's documentation asks. */
static int restarted_ioctl(int fd, unsigned long request, void *argument)
{
	int result;

	do
		result = ioctl(fd, request, argument);
	while (result == -1 && (errno == EINTR || errno == EAGAIN));
	return result;
}

/* Begins or ends the bracket; `edge` is DMA_BUF_SYNC_START or DMA_BUF_SYNC_END. */
static void sync_edge(int fd, const char *path, const struct way *way, size_t stride, uint64_t edge)
{
	const char *name;
	int result;

	if (way->kind == WHOLE) {
		struct dma_buf_sync sync = { .flags = way->direction | edge };

		name = "DMA_BUF_IOCTL_SYNC";
		result = restarted_ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
	} else {
		struct dma_buf_sync_partial sync = {
			.flags = way->direction | edge,
			.offset = (uint32_t)(way->first_row * stride),
			.len = (uint32_t)(way->rows * stride),
		};

		name = "DMA_BUF_IOCTL_SYNC_PARTIAL";
		result = restarted_ioctl(fd, DMA_BUF_IOCTL_SYNC_PARTIAL, &sync);
	}
	if (result == -1) {
		fprintf(stderr, "edit: %s %s of %s: %s%s\n", name,
			edge == DMA_BUF_SYNC_START ? "start" : "end", path, strerror(errno),
			errno == ENOTTY ? " (its exporter does not know this ioctl)" : "");
		exit(1);
	}
}

static void invert(volatile uint32_t *pixels, size_t width, size_t x, size_t y, size_t rect_width,
		   size_t rect_height)
{
	const uint8_t colours[BYTES_PER_PIXEL] = { 255, 255, 255, 0 };
	uint32_t mask;

	memcpy(&mask, colours, sizeof(mask));
	for (size_t row = y; row < y + rect_height; row++)
		for (size_t column = x; column < x + rect_width; column++)
			pixels[row * width + column] ^= mask;
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int main(int argc, char **argv)
{
	if (argc != 9) {
		fprintf(stderr,
			"usage: edit PATH WIDTH HEIGHT X Y RECT_WIDTH RECT_HEIGHT WAY\n");
		return 2;
	}
	const char *path = argv[1];
	size_t width = number(argv[2], "width"), height = number(argv[3], "height");
	size_t x = number(argv[4], "column"), y = number(argv[5], "row");
	size_t rect_width = number(argv[6], "width"), rect_height = number(argv[7], "height");
	struct way way = parse_way(argv[8], y, rect_height);
	size_t stride = width * BYTES_PER_PIXEL, size = stride * height;

	if (!rect_width || !rect_height || x + rect_width > width || y + rect_height > height) {
		fprintf(stderr, "edit: the rectangle is empty or not inside of the picture\n");
		return 2;
	}
	if (size > UINT32_MAX) {
		fprintf(stderr, "edit: a picture of %zu bytes is past what a range can name\n", size);
		return 2;
	}

	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd == -1) {
		fprintf(stderr, "edit: open %s: %s\n", path, strerror(errno));
		return 1;
	}
	/* Pixels past the end of the buffer must not be touched: SIGBUS. */
	struct stat status;
	if (fstat(fd, &status) == -1 || (uint64_t)status.st_size < size) {
		fprintf(stderr, "edit: %s is smaller than the picture's %zu bytes\n", path, size);
		return 1;
	}
	uint32_t *pixels = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (pixels == MAP_FAILED) {
		fprintf(stderr, "edit: mmap %s: %s\n", path, strerror(errno));
		return MMAP_REFUSED;
	}

	uint64_t start = now();
	if (way.kind != NONE)
		sync_edge(fd, path, &way, stride, DMA_BUF_SYNC_START);
	invert(pixels, width, x, y, rect_width, rect_height);
	if (way.kind != NONE)
		sync_edge(fd, path, &way, stride, DMA_BUF_SYNC_END);
	uint64_t nanoseconds = now() - start;

	munmap(pixels, size);
	close(fd);
	printf("brackets=%d nanoseconds=%llu\n", way.kind != NONE, (unsigned long long)nanoseconds);
	return 0;
}
