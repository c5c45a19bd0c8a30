/* Keeps a buffer's mapping from a child, which has other memory there; both have brackets. */
#include "arena.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv), status;
	char *arena = reserve_arena();
	char *bytes = map_in_arena(arena, fd), *other = map_buffer(fd);
	pid_t pid;

	need(madvise(arena, ARENA, MADV_DONTFORK) == 0, "madvise");
	pid = fork();
	if (pid == 0) {
		map_where_it_was(arena);
		memset(arena, 1, ARENA);
		SYNC(fd, START_READ);
		memcpy(frame, other, SIZE);
		SYNC(fd, END_READ);
		memset(arena, 2, ARENA);
		_exit(0);
	}
	need(waitpid(pid, &status, 0) == pid && status == 0, "a child");
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	return done();
}
