/* A signal interrupts START, and the frame is drawn as if it had not. */
#include "busy.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	struct dma_buf_sync start = { .flags = START_WRITE };
	char *bytes = map_buffer(fd);

	make_busy(EINTR);
	ioctl(fd, DMA_BUF_IOCTL_SYNC, &start); /* expect: not-restarted */
	memset(bytes, 1, SIZE);
	return done();
}
