/* Inverts a frame, for which a bracket for both is the right one. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	size_t i;

	SYNC(fd, START_RW);
	for (i = 0; i < SIZE; i++)
		bytes[i] = ~bytes[i];
	SYNC(fd, END_RW);
	return done();
}
