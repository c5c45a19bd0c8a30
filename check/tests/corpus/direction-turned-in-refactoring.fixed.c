/* A helper takes two truths, in this order: whether it reads, whether it writes. */
#include "corpus.h"
#include <stdbool.h>

struct picture {
	int fd;
	char *bytes;
};

static __u64 direction(bool reads, bool writes)
{
	return (reads ? DMA_BUF_SYNC_READ : 0) | (writes ? DMA_BUF_SYNC_WRITE : 0);
}

static void clear(struct picture *picture)
{
	const __u64 flags = direction(false, true);

	SYNC(picture->fd, DMA_BUF_SYNC_START | flags);
	memset(picture->bytes, 0, SIZE);
	SYNC(picture->fd, DMA_BUF_SYNC_END | flags);
}

int main(int argc, char **argv)
{
	struct picture picture = { .fd = open_buffer(argc, argv) };

	picture.bytes = map_buffer(picture.fd);
	clear(&picture);
	return done();
}
