/* Leaves its handler of SIGSEGV by siglongjmp, and draws without a bracket, in between and after. */
#include "corpus.h"
#include <setjmp.h>
#include <signal.h>

static sigjmp_buf probe;

static void leave(int signal)
{
	siglongjmp(probe, signal);
}

/* Whether a byte can be read: a trap is the answer. */
static int is_readable(const volatile char *byte)
{
	if (sigsetjmp(probe, 1))
		return 0;
	(void)*byte;
	return 1;
}

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));
	char *trap = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	signal(SIGSEGV, leave);
	need(!is_readable(trap), "a page that traps");
	memset(bytes, 1, SIZE / 2); /* expect: outside-write */
	need(!is_readable(trap), "a page that traps");
	memset(bytes + SIZE / 2, 1, SIZE / 2); /* expect: outside-write */
	need(is_readable(frame), "a page that does not trap");
	return done();
}
