/* A signal interrupts START, which is asked for again. */
#include "busy.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	make_busy(EINTR);
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	return done();
}
