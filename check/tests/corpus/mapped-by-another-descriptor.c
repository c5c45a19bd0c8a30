/* Maps by a copy of the descriptor, brackets by the original, and draws once more after the end. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fcntl(fd, F_DUPFD_CLOEXEC, 100));

	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	bytes[0] = 2; /* expect: outside-write */
	return done();
}
