/* Reads into a buffer that wait for nothing, and that a handler leaves by a jump. */
#ifndef INTERRUPTED_H
#define INTERRUPTED_H

#include "corpus.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

static sigjmp_buf out;

static void leave(int signal)
{
	siglongjmp(out, signal);
}

static inline void jump_out_of_reads(char *bytes)
{
	struct itimerval soon = { { 0, 0 }, { 0, 300 } };
	volatile int turn;
	int sockets[2];

	need(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "socketpair");
	signal(SIGALRM, leave);
	/* More often than anybody remembers reads. */
	for (turn = 0; turn < 1100; turn++) {
		if (sigsetjmp(out, 1))
			continue;
		need(setitimer(ITIMER_REAL, &soon, NULL) == 0, "setitimer");
		need(read(sockets[0], bytes, PAGE) != -1, "a read that never ends");
	}
}

#endif
