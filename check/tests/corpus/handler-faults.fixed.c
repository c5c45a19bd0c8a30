/*
 * Blocks and unblocks another signal in its handler of SIGSEGV, and faults there once more: that is the
 * end, as SIGSEGV is blocked. Draws in a bracket.
 */
#include "corpus.h"
#include <signal.h>

static volatile char *trap;
static int ends[2];

static void handle(int signal)
{
	sigset_t set, before;

	need(write(ends[1], "x", 1) == 1, "write");
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	need(sigprocmask(SIG_BLOCK, &set, &before) == 0, "sigprocmask");
	need(sigismember(&before, signal), "it is blocked");
	need(sigprocmask(SIG_SETMASK, &before, NULL) == 0, "sigprocmask");
	*trap = 1;
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv), status;
	char *bytes = map_buffer(fd), calls[8];
	pid_t pid;

	trap = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(pipe(ends) == 0, "pipe");
	signal(SIGSEGV, handle);
	pid = fork();
	if (pid == 0)
		*trap = 1;
	need(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "the second fault");
	need(WTERMSIG(status) == SIGSEGV, "the second fault");
	need(read(ends[0], calls, sizeof(calls)) == 1, "the handler is called once");
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	return done();
}
