/* Copies from one buffer to another, each time by one instruction, in brackets. */
#include "between.h"

int main(int argc, char **argv)
{
	char *from, *to;

	open_two(argc, argv, &from, &to);
	SYNC(source, START_READ);
	SYNC(target, START_RW);
	COPY_WORD(to, from);
	COPY_WORD(to + PAGE, to + 2 * PAGE);
	*(volatile long *)(to + 4 * PAGE - 4) = 1;
	memcpy(to, from, SIZE);
	memcpy(frame, from, SIZE);
	SYNC(target, END_RW);
	SYNC(source, END_READ);
	return done();
}
