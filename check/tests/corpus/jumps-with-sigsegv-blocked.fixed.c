/*
 * Leaves its handler of SIGSEGV by longjmp, which does not unblock it, and draws in a bracket. A child
 * faults once more, and that is its end: the handler is not called again.
 */
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
	int fd = open_buffer(argc, argv), status;
	char *bytes = map_buffer(fd);
	volatile char *trap = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	signal(SIGSEGV, leave);
	if (setjmp(probe) == 0)
		*trap = 1;
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	pid = fork();
	if (pid == 0) {
		if (setjmp(probe) == 0)
			*trap = 1;
		if (setjmp(probe) == 0)
			*trap = 1;
		_exit(0);
	}
	need(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "the second fault");
	return done();
}
