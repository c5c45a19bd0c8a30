/* Looks whether START failed, and then draws nothing. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	struct dma_buf_sync start = { .flags = DMA_BUF_SYNC_START };
	char *bytes = map_buffer(fd);

	if (ioctl(fd, DMA_BUF_IOCTL_SYNC, &start) == -1)
		return done();
	memset(bytes, 1, SIZE);
	return 1;
}
