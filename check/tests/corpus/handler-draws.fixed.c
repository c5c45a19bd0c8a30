/* Draws in its handler of SIGSEGV, as a crash handler that saves the picture, in a bracket. */
#include "corpus.h"
#include <signal.h>

static int fd;
static char *bytes;

static void save(int signal)
{
	(void)signal;
	SYNC(fd, START_READ);
	memcpy(frame, bytes, SIZE);
	SYNC(fd, END_READ);
	_exit(done());
}

int main(int argc, char **argv)
{
	volatile char *trap = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	fd = open_buffer(argc, argv);
	bytes = map_buffer(fd);
	signal(SIGSEGV, save);
	*trap = 1;
	return 1;
}
