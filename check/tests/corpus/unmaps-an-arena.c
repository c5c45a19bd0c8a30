/* Unmaps all of an arena in one call, the buffer's mapping in it before the END. */
#include "arena.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *arena = reserve_arena();
	char *bytes = map_in_arena(arena, fd);

	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	munmap(arena, ARENA); /* expect: unmapped-in-bracket */
	SYNC(fd, END_WRITE);
	return done();
}
