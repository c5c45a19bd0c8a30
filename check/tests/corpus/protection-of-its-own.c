/* Protects the buffer itself between frames, opens it for the next one, and forgets the bracket. */
#include "corpus.h"

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));

	need(mprotect(bytes, SIZE, PROT_NONE) == 0, "mprotect");
	need(mprotect(bytes, SIZE, PROT_READ | PROT_WRITE) == 0, "mprotect");
	memset(bytes, 1, SIZE); /* expect: outside-write */
	return done();
}
