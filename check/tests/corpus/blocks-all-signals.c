/* A thread that has all signals blocked draws without a bracket. */
#include "corpus.h"
#include <pthread.h>
#include <signal.h>

static void *draw(void *bytes)
{
	memset(bytes, 1, SIZE); /* expect: outside-write */
	return NULL;
}

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));
	sigset_t all, before;
	pthread_t thread;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	pthread_create(&thread, NULL, draw, bytes);
	pthread_join(thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return done();
}
