/* Copies a frame out, and has it cleaned as if it had been written. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	const char *bytes = map_buffer(fd);

	SYNC(fd, START_RW); /* expect: rw-where-one-would-do */
	memcpy(frame, bytes, SIZE);
	SYNC(fd, END_RW);
	return done();
}
