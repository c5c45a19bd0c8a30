/* Begins to read and ends to write: what was begun stays open, and bytes are cleaned that are old. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	const char *bytes = map_buffer(fd);

	SYNC(fd, START_READ);
	memcpy(frame, bytes, SIZE);
	SYNC(fd, END_WRITE); /* expect: end-other-direction */
	return done();
}
