/* Closes the only descriptor: from here on nobody can end the bracket. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	close(fd); /* expect: closed-in-bracket */
	return done();
}
