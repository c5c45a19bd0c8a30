/* Brackets overlap, and each is the right one for as long as it is open. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, START_READ);
	SYNC(fd, END_WRITE);
	memcpy(frame, bytes, SIZE);
	SYNC(fd, START_READ);
	SYNC(fd, END_READ);
	memcpy(frame, bytes, SIZE);
	SYNC(fd, END_READ);
	return done();
}
