/* Protects the buffer itself between frames, and opens it inside of the bracket of the next one. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	int turn;

	for (turn = 0; turn < 3; turn++) {
		need(mprotect(bytes, SIZE, PROT_NONE) == 0, "mprotect");
		SYNC(fd, START_WRITE);
		need(mprotect(bytes, SIZE, PROT_READ | PROT_WRITE) == 0, "mprotect");
		memset(bytes, turn, SIZE);
		SYNC(fd, END_WRITE);
	}
	return done();
}
