/*
 * Between two frames has the kernel do with the mapping what it does with any: protect it, advise,
 * write it back, move it, make it shorter. The picture is there as before.
 */
#include "corpus.h"

static void draw(int fd, char *bytes, int colour)
{
	SYNC(fd, START_WRITE);
	memset(bytes, colour, SIZE);
	SYNC(fd, END_WRITE);
}

static void expect(int fd, const char *bytes, size_t len, int colour)
{
	size_t i;

	SYNC(fd, START_READ);
	for (i = 0; i < len; i++)
		need(bytes[i] == colour, "the picture");
	SYNC(fd, END_READ);
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	char *place = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *second;

	draw(fd, bytes, 1);
	need(madvise(bytes, SIZE, MADV_DONTFORK) == 0, "madvise");
	expect(fd, bytes, SIZE, 1);
	need(msync(bytes, SIZE, MS_ASYNC) == 0, "msync");
	expect(fd, bytes, SIZE, 1);
	draw(fd, bytes, 2);
	need(mprotect(bytes, SIZE, PROT_READ) == 0, "mprotect");
	expect(fd, bytes, SIZE, 2);
	need(mprotect(bytes, SIZE, PROT_READ | PROT_WRITE) == 0, "mprotect");
	draw(fd, bytes, 3);
	second = map_buffer(fd);
	expect(fd, second, SIZE, 3);
	need(munmap(second, SIZE) == 0, "munmap");
	need(munmap(bytes, PAGE) == 0, "munmap");
	expect(fd, bytes + PAGE, SIZE - PAGE, 3);
	need(mremap(bytes + PAGE, SIZE - PAGE, SIZE - PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place)
		     == place, "mremap");
	expect(fd, place, SIZE - PAGE, 3);
	need(mremap(place, SIZE - PAGE, SIZE - 2 * PAGE, 0) == place, "mremap");
	expect(fd, place, SIZE - 2 * PAGE, 3);
	need(munmap(place, SIZE - 2 * PAGE) == 0, "munmap");
	return done();
}
