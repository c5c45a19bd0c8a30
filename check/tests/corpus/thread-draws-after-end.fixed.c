/* One thread draws, and another hands the frame over when that has ended. */
#include "corpus.h"
#include <pthread.h>

static void *draw(void *bytes)
{
	memset(bytes, 1, SIZE);
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	pthread_t thread;

	SYNC(fd, START_WRITE);
	pthread_create(&thread, NULL, draw, bytes);
	pthread_join(thread, NULL);
	SYNC(fd, END_WRITE);
	return done();
}
