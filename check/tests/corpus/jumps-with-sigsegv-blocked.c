/* Leaves its handler of SIGSEGV by longjmp, which does not unblock it, and draws without a bracket. */
#include "corpus.h"
#include <setjmp.h>
#include <signal.h>

static jmp_buf probe;

static void leave(int signal)
{
	longjmp(probe, signal);
}

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));
	volatile char *trap = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	signal(SIGSEGV, leave);
	if (setjmp(probe) == 0)
		*trap = 1;
	memset(bytes, 1, SIZE); /* expect: outside-write */
	return done();
}
