/* Ends what it began, once. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	const char *bytes = map_buffer(fd);

	SYNC(fd, START_READ);
	memcpy(frame, bytes, SIZE);
	SYNC(fd, END_READ);
	return done();
}
