/* Reads a pixel, and has all of the frame invalidated for it. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	volatile char *bytes = map_buffer(fd);
	char pixel;

	SYNC(fd, START_READ); /* expect: few-pages-of-whole */
	pixel = bytes[0];
	SYNC(fd, END_READ);
	(void)pixel;
	return done();
}
