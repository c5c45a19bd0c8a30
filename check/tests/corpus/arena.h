/* A part of the address space that a program keeps for itself, with a buffer in the middle. */
#ifndef ARENA_H
#define ARENA_H

#include "corpus.h"

#define ARENA (64 * SIZE)

static inline char *reserve_arena(void)
{
	char *arena = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(arena != MAP_FAILED, "an arena");
	return arena;
}

static inline char *map_in_arena(char *arena, int fd)
{
	char *bytes = arena + ARENA / 2;

	need(mmap(bytes, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == bytes,
	     "mmap");
	return bytes;
}

/* Has other memory where the arena was. */
static inline void map_where_it_was(char *arena)
{
	need(mmap(arena, ARENA, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == arena, "mmap");
}

#endif
