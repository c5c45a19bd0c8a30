/* Draws a frame. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	size_t i;

	SYNC(fd, START_WRITE);
	for (i = 0; i < SIZE; i++)
		bytes[i] = 1;
	SYNC(fd, END_WRITE);
	return done();
}
