/*
 * Maps the buffer anew where it is, and other memory in its place, while another thread reads there in
 * a bracket: for that thread there is always something.
 */
#include "corpus.h"
#include <pthread.h>
#include <stdatomic.h>

static atomic_int is_over;

static void *read_all(void *bytes)
{
	size_t i;

	while (!is_over)
		for (i = 0; i < SIZE; i += PAGE)
			(void)((volatile char *)bytes)[i];
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv), turn;
	int access = PROT_READ | PROT_WRITE;
	char *bytes = map_buffer(fd);
	pthread_t thread;

	SYNC(fd, START_READ);
	need(pthread_create(&thread, NULL, read_all, bytes) == 0, "a thread");
	for (turn = 0; turn < 300; turn++) {
		need(mmap(bytes, SIZE, access, MAP_SHARED | MAP_FIXED, fd, 0) == bytes, "mmap");
		need(mmap(bytes, SIZE, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		     bytes, "mmap");
		need(mmap(bytes, SIZE, access, MAP_SHARED | MAP_FIXED, fd, 0) == bytes, "mmap");
	}
	is_over = 1;
	need(pthread_join(thread, NULL) == 0, "a thread");
	SYNC(fd, END_READ);
	return done();
}
