/* Brackets each frame, also when nobody wants to see it. */
#include "corpus.h"

static void show(int fd, const char *bytes, int visible)
{
	SYNC(fd, START_READ); /* expect: nothing-touched */
	if (visible)
		memcpy(frame, bytes, SIZE);
	SYNC(fd, END_READ);
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	const char *bytes = map_buffer(fd);

	show(fd, bytes, 0);
	return done();
}
