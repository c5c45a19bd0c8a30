/* Takes the mapping away and then ends the bracket, which is about bytes that nobody can reach now. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	munmap(bytes, SIZE); /* expect: unmapped-in-bracket */
	SYNC(fd, END_WRITE);
	return done();
}
