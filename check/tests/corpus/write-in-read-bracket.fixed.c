/* Looks at every pixel and repairs one. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_RW);
	memcpy(frame, bytes, SIZE);
	bytes[PAGE] = 1;
	SYNC(fd, END_RW);
	return done();
}
