/* Reads a pixel of each page. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	volatile char *bytes = map_buffer(fd);
	char sum = 0;
	size_t i;

	SYNC(fd, START_READ);
	for (i = 0; i < SIZE; i += PAGE)
		sum += bytes[i];
	SYNC(fd, END_READ);
	(void)sum;
	return done();
}
