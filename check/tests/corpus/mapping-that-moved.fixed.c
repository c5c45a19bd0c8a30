/* Moves a mapping, makes it smaller, gives its first page back, and draws where it is now. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	char *place = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	bytes = mremap(bytes, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	need(bytes == place, "mremap");
	need(mremap(bytes, SIZE, SIZE - PAGE, 0) == bytes, "mremap");
	need(munmap(bytes, PAGE) == 0, "munmap");
	bytes += PAGE;
	SYNC(fd, START_RW);
	memset(bytes, 1, SIZE - 2 * PAGE);
	memcpy(frame, bytes, SIZE - 2 * PAGE);
	SYNC(fd, END_RW);
	return done();
}
