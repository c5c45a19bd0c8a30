/*
 * Unmaps all of an arena in one call, the buffer's mapping in it after the END. What is mapped there
 * later is nobody's business, whatever brackets the buffer has.
 */
#include "arena.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv), turn;
	char *arena = reserve_arena();
	char *bytes = map_in_arena(arena, fd);
	char *other = map_buffer(fd);

	for (turn = 0; turn < 2; turn++) {
		SYNC(fd, START_WRITE);
		memset(turn ? other : bytes, 1, SIZE);
		SYNC(fd, END_WRITE);
		if (turn == 0) {
			need(munmap(arena, ARENA) == 0, "munmap");
			map_where_it_was(arena);
		}
		memset(arena, turn, ARENA);
	}
	return done();
}
