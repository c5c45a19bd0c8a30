/* Draws a frame without telling anybody: the display may get it, or what was there before. */
#include "corpus.h"

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));
	size_t i;

	for (i = 0; i < SIZE; i++)
		bytes[i] = 1; /* expect: outside-write */
	return done();
}
