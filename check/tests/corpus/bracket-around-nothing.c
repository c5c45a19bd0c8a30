/* Begins and ends at once, as if that made the buffer coherent, and draws afterwards. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE); /* expect: nothing-touched */
	SYNC(fd, END_WRITE);
	memset(bytes, 1, SIZE); /* expect: outside-write */
	return done();
}
