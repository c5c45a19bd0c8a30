/* Copies a frame out without telling anybody: it may be the last one, or half of each. */
#include "corpus.h"

int main(int argc, char **argv)
{
	const char *bytes = map_buffer(open_buffer(argc, argv));

	memcpy(frame, bytes, SIZE); /* expect: outside-read */
	return done();
}
