/* Brackets as it should; the system heap has no device attached whose caches that could be about. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE); /* expect on system: sync-without-effect */
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	return done();
}
