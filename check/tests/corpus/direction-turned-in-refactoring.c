/*
 * A helper once took the flags themselves. Since it takes two truths instead, one caller has them
 * the other way round: it draws in a bracket for reading.
 */
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
	const __u64 flags = direction(true, false);

	SYNC(picture->fd, DMA_BUF_SYNC_START | flags);
	memset(picture->bytes, 0, SIZE); /* expect: write-in-read-bracket */
	SYNC(picture->fd, DMA_BUF_SYNC_END | flags);
}

int main(int argc, char **argv)
{
	struct picture picture = { .fd = open_buffer(argc, argv) };

	picture.bytes = map_buffer(picture.fd);
	clear(&picture);
	return done();
}
