/* A file and a pair of sockets, for system calls that read or write a page. */
#ifndef CALLS_H
#define CALLS_H

#include "corpus.h"
#include <sys/socket.h>
#include <sys/uio.h>

struct calls {
	int file;	/* of one page */
	int socket;
	int other;	/* the socket's other end */
};

/* A call that is about one page, and does all of it. */
#define CALL(call) need((call) == PAGE, #call)

static inline struct calls open_calls(void)
{
	struct calls calls = { .file = memfd_create("file", MFD_CLOEXEC) };
	int sockets[2];

	need(ftruncate(calls.file, PAGE) == 0, "memfd");
	need(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "socketpair");
	calls.socket = sockets[0];
	calls.other = sockets[1];
	return calls;
}

/* Puts a page into the socket. */
static inline void write_all(int socket)
{
	CALL(write(socket, frame, PAGE));
}

/* Takes a page out of the socket. */
static inline void read_all(int socket)
{
	CALL(read(socket, frame, PAGE));
}

#endif
