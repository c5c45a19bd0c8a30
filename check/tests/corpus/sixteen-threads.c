/*
 * Sixteen threads, eight buffers; one turn in eight, a thread has a buffer for itself and makes a
 * mistake with it. As many have to be found.
 */
#include "stress.h"

static unsigned reads, writes, writes_for_reading;

static void count(unsigned *mistakes)
{
	__atomic_fetch_add(mistakes, 1, __ATOMIC_RELAXED);
}

static void make_a_mistake(struct buffer *buffer, unsigned *seed)
{
	const unsigned page = rand_r(seed) % 16;
	volatile char *byte = &buffer->bytes[page * PAGE];

	if (rand_r(seed) % 8 != 0)
		return;
	pthread_rwlock_wrlock(&buffer->lock);
	switch (rand_r(seed) % 3) {
	case 0:
		(void)*byte; /* expect: outside-read */
		count(&reads);
		break;
	case 1:
		*byte = 1; /* expect: outside-write */
		count(&writes);
		break;
	case 2:
		sync_range(buffer->fd, START_READ, 0, 16);
		for (unsigned other = 0; other < 16; other++)
			(void)buffer->bytes[other * PAGE];
		*byte = 1; /* expect: write-in-read-bracket */
		sync_range(buffer->fd, END_READ, 0, 16);
		count(&writes_for_reading);
		break;
	}
	/* Whatever was let through is closed again. */
	use(buffer, seed);
	pthread_rwlock_unlock(&buffer->lock);
}

int main(int argc, char **argv)
{
	afterwards = make_a_mistake;
	stress(argc, argv);
	fprintf(stderr, "made outside-read %u\n", reads);
	fprintf(stderr, "made outside-write %u\n", writes);
	fprintf(stderr, "made write-in-read-bracket %u\n", writes_for_reading);
	return done();
}
