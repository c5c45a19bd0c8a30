/* Ends the bracket when another thread has read into the buffer. */
#include "ended-while-read.h"

static void *read_page(void *bytes)
{
	reader = gettid();
	need(read(sockets[0], bytes, PAGE) == PAGE, "read");
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	pthread_t thread;

	open_sockets();
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	need(pthread_create(&thread, NULL, read_page, bytes) == 0, "a thread");
	until_it_reads();
	send_page();
	need(pthread_join(thread, NULL) == 0, "a thread");
	SYNC(fd, END_WRITE);
	return done();
}
