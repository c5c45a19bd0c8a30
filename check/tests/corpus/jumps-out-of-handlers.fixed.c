/* Leaves its handler of SIGSEGV by siglongjmp, and draws, in between and after. */
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
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	char *trap = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	signal(SIGSEGV, leave);
	need(!is_readable(trap), "a page that traps");
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE / 2);
	SYNC(fd, END_WRITE);
	need(!is_readable(trap), "a page that traps");
	SYNC(fd, START_WRITE);
	memset(bytes + SIZE / 2, 1, SIZE / 2);
	SYNC(fd, END_WRITE);
	need(is_readable(frame), "a page that does not trap");
	return done();
}
