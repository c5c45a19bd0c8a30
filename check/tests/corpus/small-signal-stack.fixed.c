/*
 * Has an alternate stack of 8 KiB, as threads in Rust have, and a handler that needs more and does
 * not ask for it: a signal comes while a call waits, and again if it came before.
 */
#include "corpus.h"
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#define STACK (2 * PAGE)

static volatile sig_atomic_t ticks;

static void tick(int signal)
{
	volatile char room[STACK];
	size_t i;

	for (i = 0; i < sizeof(room); i++)
		room[i] = signal;
	ticks += room[0] != 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = tick };
	stack_t stack = { .ss_size = STACK };
	int fd = open_buffer(argc, argv), sockets[2];
	char *bytes = map_buffer(fd);
	struct itimerval again = { { 0, 50000 }, { 0, 50000 } };
	sigset_t none;

	/* Pages that trap are about it. */
	stack.ss_sp = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(stack.ss_sp != MAP_FAILED, "mmap");
	stack.ss_sp = (char *)stack.ss_sp + PAGE;
	need(mprotect(stack.ss_sp, STACK, PROT_READ | PROT_WRITE) == 0, "mprotect");
	need(sigaltstack(&stack, NULL) == 0, "sigaltstack");
	need(sigaction(SIGALRM, &action, NULL) == 0, "sigaction");
	need(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "socketpair");
	sigemptyset(&none);
	need(setitimer(ITIMER_REAL, &again, NULL) == 0, "setitimer");
	need(ppoll(NULL, 0, NULL, &none) == -1 && errno == EINTR, "ppoll");
	SYNC(fd, START_WRITE);
	need(read(sockets[0], bytes, SIZE) == -1 && errno == EINTR, "read");
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	need(ticks >= 2, "two ticks");
	return done();
}
