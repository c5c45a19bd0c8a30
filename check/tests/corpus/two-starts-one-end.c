/*
 * Whoever maps the frame begins the bracket, and whoever draws into it does so too; only the one
 * who draws ends it.
 */
#include "corpus.h"

static char *map_frame(int fd)
{
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE); /* expect: start-without-end */
	return bytes;
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_frame(fd);

	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	return done();
}
