/*
 * Draws into the memory file that a udmabuf was made of: the bytes arrive, and no bracket of the
 * buffer's is about them.
 * needs: udmabuf
 */
#include "corpus.h"

int main(int argc, char **argv)
{
	int memfd = new_memfd();
	int fd = buffer_of_memfd(open(argv[argc - 1], O_RDWR), memfd);
	char *bytes = map_buffer(memfd);

	SYNC(fd, START_WRITE); /* expect: nothing-touched */
	memset(bytes, 1, SIZE); /* expect: memfd-behind-udmabuf */
	SYNC(fd, END_WRITE);
	return done();
}
