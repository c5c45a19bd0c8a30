/* Looks at every pixel and repairs one, in a bracket for reading: nobody will clean the repair. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_READ);
	memcpy(frame, bytes, SIZE);
	bytes[PAGE] = 1; /* expect: write-in-read-bracket */
	SYNC(fd, END_READ);
	return done();
}
