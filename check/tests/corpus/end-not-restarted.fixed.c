/* The exporter asks to try END again, which is done. */
#include "busy.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	make_busy(EAGAIN);
	SYNC(fd, END_WRITE);
	return done();
}
