/* A thread that has all signals blocked draws. */
#include "corpus.h"
#include <pthread.h>
#include <signal.h>

static void *draw(void *bytes)
{
	memset(bytes, 1, SIZE);
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	sigset_t all, before;
	pthread_t thread;

	sigfillset(&all);
	SYNC(fd, START_WRITE);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	pthread_create(&thread, NULL, draw, bytes);
	pthread_join(thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	SYNC(fd, END_WRITE);
	return done();
}
