/* Copies from one buffer to another, each time by one instruction, without brackets. */
#include "between.h"

int main(int argc, char **argv)
{
	char *from, *to;

	open_two(argc, argv, &from, &to);
	COPY_WORD(to, from); /* expect: outside-read, outside-write */
	COPY_WORD(to + PAGE, to + 2 * PAGE); /* expect: outside-read, outside-write */
	*(volatile long *)(to + 4 * PAGE - 4) = 1; /* expect: outside-write */
	fprintf(stderr, "made outside-read 2\nmade outside-write 3\n");
	return done();
}
