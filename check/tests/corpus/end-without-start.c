/* Ends what it never began: on some exporters a mistake that says so, on others a silent one. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	struct dma_buf_sync end = { .flags = END_READ };
	const char *bytes = map_buffer(fd);

	SYNC(fd, START_READ);
	memcpy(frame, bytes, SIZE);
	SYNC(fd, END_READ);
	ioctl(fd, DMA_BUF_IOCTL_SYNC, &end); /* expect: end-without-start */
	return done();
}
