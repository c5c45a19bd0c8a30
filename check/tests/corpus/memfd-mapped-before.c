/*
 * Keeps the mapping of the memory file that it filled before it made a buffer of it, and draws the
 * second frame there too.
 * needs: udmabuf
 */
#include "corpus.h"

int main(int argc, char **argv)
{
	int memfd = new_memfd();
	char *bytes = map_buffer(memfd);

	memset(bytes, 1, SIZE);
	buffer_of_memfd(open(argv[argc - 1], O_RDWR), memfd);
	memset(bytes, 2, SIZE); /* expect: memfd-behind-udmabuf */
	return done();
}
