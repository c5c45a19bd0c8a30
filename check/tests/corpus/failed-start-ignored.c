/* Forgets the direction, so that START fails, and does not look whether it did. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	struct dma_buf_sync start = { .flags = DMA_BUF_SYNC_START };
	char *bytes = map_buffer(fd);

	ioctl(fd, DMA_BUF_IOCTL_SYNC, &start);
	memset(bytes, 1, SIZE); /* expect: failed-start-ignored */
	return done();
}
