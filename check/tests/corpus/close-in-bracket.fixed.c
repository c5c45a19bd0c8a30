/* Closes one of two descriptors in a bracket, and ends it by the other. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	int other = dup(fd);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	close(fd);
	SYNC(other, END_WRITE);
	close(other);
	return done();
}
