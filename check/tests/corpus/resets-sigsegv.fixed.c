/* Sets SIGSEGV to its default, as crash handlers do before they end, and draws. */
#include "corpus.h"
#include <signal.h>

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	signal(SIGSEGV, SIG_DFL);
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	return done();
}
