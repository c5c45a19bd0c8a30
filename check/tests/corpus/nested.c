/* Brackets overlap; the last one that writes has ended when the last page is drawn. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE);
	SYNC(fd, START_READ);
	memset(bytes, 1, SIZE);
	memcpy(frame, bytes, SIZE);
	SYNC(fd, END_WRITE);
	memset(bytes, 2, PAGE); /* expect: write-in-read-bracket */
	SYNC(fd, END_READ);
	return done();
}
