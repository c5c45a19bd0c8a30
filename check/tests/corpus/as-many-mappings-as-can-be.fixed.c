/* Draws in brackets, and has as many mappings as a process may have. */
#include "corpus.h"

static void map_until_refused(void)
{
	/* Neighbours that differ, or the kernel makes one of them. */
	static const int access[] = { PROT_NONE, PROT_READ };
	size_t i = 0;

	while (mmap(NULL, PAGE, access[i % 2], MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		need(i++ < 1 << 20, "a limit of mappings");
	need(errno == ENOMEM, "mmap");
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes[] = { map_buffer(fd), map_buffer(fd) };
	int colour;

	for (colour = 1; colour < 8; colour++) {
		SYNC(fd, START_WRITE);
		memset(bytes[colour % 2], colour, SIZE);
		SYNC(fd, END_WRITE);
		if (colour > 2)
			map_until_refused();
	}
	return done();
}
