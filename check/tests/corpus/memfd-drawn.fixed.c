/*
 * Draws into the memory file before it becomes a buffer, and into the buffer afterwards.
 * needs: udmabuf
 */
#include "corpus.h"

int main(int argc, char **argv)
{
	int memfd = new_memfd(), fd;
	char *bytes = map_buffer(memfd);

	memset(bytes, 1, SIZE);
	munmap(bytes, SIZE);
	fd = buffer_of_memfd(open(argv[argc - 1], O_RDWR), memfd);
	bytes = map_buffer(fd);
	SYNC(fd, START_WRITE);
	memset(bytes, 2, SIZE);
	SYNC(fd, END_WRITE);
	return done();
}
