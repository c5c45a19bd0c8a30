/* Two mappings, by two descriptors that are copies of a third one, which alone is bracketed. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fcntl(fd, F_DUPFD_CLOEXEC, 100));
	char *again = map_buffer(dup2(fd, 200));

	SYNC(fd, START_RW);
	memset(bytes, 1, SIZE);
	memcpy(frame, again, SIZE);
	SYNC(fd, END_RW);
	return done();
}
