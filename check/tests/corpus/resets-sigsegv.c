/* Sets SIGSEGV to its default, as crash handlers do before they end, and draws without a bracket. */
#include "corpus.h"
#include <signal.h>

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));

	signal(SIGSEGV, SIG_DFL);
	memset(bytes, 1, SIZE); /* expect: outside-write */
	return done();
}
