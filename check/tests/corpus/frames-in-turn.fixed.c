/* Three buffers in turn, sixty frames, maps and unmaps in between: what a player does all day. */
#include "corpus.h"

#define BUFFERS 3

int main(int argc, char **argv)
{
	struct {
		int fd;
		char *bytes;
	} ring[BUFFERS];
	char name[256];
	char *arguments[] = { argv[0], name };
	int i, turn;

	need(argc == 2, "a buffer");
	for (i = 0; i < BUFFERS; i++) {
		int is_device = strncmp(argv[1], "/dev/", 5) == 0;

		if (is_device)
			snprintf(name, sizeof(name), "%s", argv[1]);
		else
			snprintf(name, sizeof(name), "%s-%d", argv[1], i);
		ring[i].fd = open_buffer(2, arguments);
		ring[i].bytes = map_buffer(ring[i].fd);
	}
	for (turn = 0; turn < 60; turn++) {
		i = turn % BUFFERS;
		if (turn % 7 == 0) {
			munmap(ring[i].bytes, SIZE);
			ring[i].bytes = map_buffer(ring[i].fd);
		}
		SYNC(ring[i].fd, START_WRITE);
		memset(ring[i].bytes, turn, SIZE);
		SYNC(ring[i].fd, END_WRITE);
		SYNC(ring[i].fd, START_READ);
		need(memchr(ring[i].bytes, turn + 1, SIZE) == NULL, "no pixel of another frame");
		SYNC(ring[i].fd, END_READ);
	}
	return done();
}
