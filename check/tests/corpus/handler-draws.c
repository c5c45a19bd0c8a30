/* Draws in its handler of SIGSEGV, as a crash handler that saves the picture, without a bracket. */
#include "corpus.h"
#include <signal.h>

static char *bytes;

static void save(int signal)
{
	(void)signal;
	memcpy(frame, bytes, SIZE); /* expect: outside-read */
	_exit(done());
}

int main(int argc, char **argv)
{
	volatile char *trap = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	bytes = map_buffer(open_buffer(argc, argv));
	signal(SIGSEGV, save);
	*trap = 1;
	return 1;
}
