/*
 * Makes the first page of a buffer black: open, map, bracket, touch, end the bracket. The bracket
 * is for reading and writing, since WRITE alone would give up the bytes that are not stored to.
 *
 *     cc -std=c11 -o frame frame.c && ./frame /run/dmabuf/bounce/frame
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/dma-buf.h>

static int sync_buffer(int fd, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags };
	int result;

	do /* A bracket may be interrupted, or have to wait for a device: it is asked for again. */
		result = ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
	while (result == -1 && (errno == EINTR || errno == EAGAIN));
	return result;
}

int main(int argc, char **argv)
{
	const size_t size = 4096;
	int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
	char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (bytes == MAP_FAILED || sync_buffer(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW)) {
		perror("frame");
		return 1;
	}
	memset(bytes, 0, size);
	if (sync_buffer(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW)) {
		perror("frame");
		return 1;
	}
	return 0;
}
