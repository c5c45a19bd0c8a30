/* Leaves in the middle of a frame: nobody ends the bracket that is open. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE); /* expect: start-without-end */
	memset(bytes, 1, SIZE);
	done();
	_exit(0);
}
