/*
 * Maps a buffer for reading only and finds out, by a trap of its own, that it cannot be written
 * there: a fault that is the program's, in a buffer.
 */
#include "corpus.h"
#include <setjmp.h>
#include <signal.h>

static sigjmp_buf probe;

static void leave(int signal)
{
	siglongjmp(probe, signal);
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	volatile int trapped = 0;

	need(bytes != MAP_FAILED, "mmap");
	signal(SIGSEGV, leave);
	SYNC(fd, START_READ);
	memcpy(frame, bytes, SIZE);
	if (sigsetjmp(probe, 1))
		trapped = 1;
	else
		bytes[0] = 1;
	SYNC(fd, END_READ);
	need(trapped, "a trap");
	return done();
}
