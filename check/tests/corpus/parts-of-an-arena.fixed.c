/*
 * Makes calls about ranges of which only a part is a buffer's mapping, some of which fail half-way;
 * what they have done remains done. Draws in brackets.
 */
#include "arena.h"

static void draw(int fd, char *bytes)
{
	SYNC(fd, START_RW);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_RW);
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv), file = new_memfd();
	char *arena = reserve_arena(), *bytes;

	need(mprotect(arena, ARENA, PROT_READ | PROT_WRITE) == 0, "mprotect");
	bytes = map_in_arena(arena, fd);
	/* Beyond the arena there is a page that is not mapped: up to there it is done. */
	need(munmap(arena + ARENA - PAGE, PAGE) == 0, "munmap");
	need(mprotect(bytes, SIZE, PROT_READ) == 0, "mprotect");
	need(mprotect(arena, ARENA, PROT_READ | PROT_WRITE) == -1 && errno == ENOMEM, "mprotect");
	draw(fd, bytes);
	need(mlock(bytes - PAGE, 2 * PAGE) == 0 && munlock(bytes - PAGE, 2 * PAGE) == 0, "mlock");
	SYNC(fd, START_WRITE);
	need(pread(file, bytes - PAGE, 2 * PAGE, 0) == 2 * PAGE, "pread");
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	/* A source that is not there, when room has been made for it already. */
	need(mremap(arena + ARENA - PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, bytes) ==
	     MAP_FAILED, "mremap");
	SYNC(fd, START_WRITE);
	memset(bytes + PAGE, 1, SIZE - PAGE);
	SYNC(fd, END_WRITE);
	return done();
}
