/* A thread that reads into the buffer, and waits for what it reads. */
#ifndef ENDED_WHILE_READ_H
#define ENDED_WHILE_READ_H

#include "waits.h"
#include <pthread.h>
#include <sys/socket.h>

static int sockets[2];
static volatile pid_t reader;

static inline void open_sockets(void)
{
	need(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "socketpair");
}

/* Until the thread waits in its read. */
static inline void until_it_reads(void)
{
	while (!reader)
		usleep(1000);
	until_it_waits(reader);
}

static inline void send_page(void)
{
	need(write(sockets[1], frame, PAGE) == PAGE, "write");
}

#endif
