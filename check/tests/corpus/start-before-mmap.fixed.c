/* Maps before it begins: where mmap refuses, there is nothing to end. */
#include "corpus.h"

static int show_plane(int fd, off_t offset)
{
	const char *bytes;

	bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, offset);
	if (bytes == MAP_FAILED)
		return -1;
	SYNC(fd, START_READ);
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
