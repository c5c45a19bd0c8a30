/* One thread hands the frame over while another still draws into it. */
#include "corpus.h"
#include <pthread.h>

static pthread_barrier_t handed_over;

static void *draw(void *bytes)
{
	memset(bytes, 1, SIZE / 2);
	pthread_barrier_wait(&handed_over);
	pthread_barrier_wait(&handed_over);
	memset((char *)bytes + SIZE / 2, 1, SIZE / 2); /* expect: outside-write */
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	pthread_t thread;

	pthread_barrier_init(&handed_over, NULL, 2);
	SYNC(fd, START_WRITE);
	pthread_create(&thread, NULL, draw, bytes);
	pthread_barrier_wait(&handed_over);
	SYNC(fd, END_WRITE);
	pthread_barrier_wait(&handed_over);
	pthread_join(thread, NULL);
	return done();
}
