/* Brackets the frames that somebody wants to see. */
#include "corpus.h"

static void show(int fd, const char *bytes, int visible)
{
	if (!visible)
		return;
	SYNC(fd, START_READ);
	memcpy(frame, bytes, SIZE);
	SYNC(fd, END_READ);
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	const char *bytes = map_buffer(fd);

	show(fd, bytes, 0);
	show(fd, bytes, 1);
	return done();
}
