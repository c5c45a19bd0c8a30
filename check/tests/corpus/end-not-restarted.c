/* The exporter asks to try END again, which nobody does: the frame stays in the cache. */
#include "busy.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	struct dma_buf_sync end = { .flags = END_WRITE };
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	make_busy(EAGAIN);
	ioctl(fd, DMA_BUF_IOCTL_SYNC, &end); /* expect: not-restarted */
	return done();
}
