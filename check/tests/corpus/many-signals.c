/*
 * Draws without a bracket, now and then, while a timer's signals arrive all the time, in three
 * threads; between frames it forks and runs programs.
 */
#include "storm.h"

static unsigned writes;

static void make_a_mistake(struct frame *frame, unsigned turn)
{
	if (turn % 10 != 0)
		return;
	frame->bytes[turn % 16 * PAGE] = 1; /* expect: outside-write */
	__atomic_fetch_add(&writes, 1, __ATOMIC_RELAXED);
}

int main(int argc, char **argv)
{
	between_frames = make_a_mistake;
	storm(argc, argv);
	fprintf(stderr, "made outside-write %u\n", writes);
	return done();
}
