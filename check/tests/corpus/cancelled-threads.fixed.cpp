/* Cancels threads that wait in a read into the buffer, and draws in a bracket. */
#include "corpus.h"
#include <pthread.h>
#include <sys/socket.h>

#define THREADS 40

static int sockets[2], unwound;
static char *bytes;

struct Cleanup {
	~Cleanup() { unwound++; }
};

static void *wait_for_bytes(void *)
{
	Cleanup cleanup;

	need(read(sockets[0], bytes, PAGE) != -1, "a read that never ends");
	return nullptr;
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);

	bytes = map_buffer(fd);
	need(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "socketpair");
	for (int i = 0; i < THREADS; i++) {
		pthread_t thread;

		need(pthread_create(&thread, nullptr, wait_for_bytes, nullptr) == 0, "a thread");
		usleep(1000);
		pthread_cancel(thread);
		pthread_join(thread, nullptr);
	}
	need(unwound == THREADS, "what a cancelled thread has is destroyed");
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	return done();
}
