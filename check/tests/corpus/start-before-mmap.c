/*
 * Begins before it maps. The second plane does not begin at a page, so that mmap refuses it; the
 * way out forgets what was begun.
 */
#include "corpus.h"

static int show_plane(int fd, off_t offset)
{
	const char *bytes;

	SYNC(fd, START_READ); /* expect: start-without-end */
	bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, offset);
	if (bytes == MAP_FAILED)
		return -1;
	memcpy(frame, bytes, PAGE);
	SYNC(fd, END_READ);
	munmap((void *)bytes, PAGE);
	return 0;
}

int main(int argc, char **argv)
{
	need(show_plane(open_buffer(argc, argv), PAGE + 16) == -1, "an mmap of half a page");
	return done();
}
