/*
 * Begins and ends two ranges; a system call stores to both.
 * needs: bounce
 */
#include "ranges.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	struct calls calls = open_calls();

	SYNC_PAGE(fd, START_WRITE, 0);
	SYNC_PAGE(fd, START_WRITE, 2);
	CALL(pread(calls.file, bytes + 2 * PAGE, PAGE, 0));
	SYNC_PAGE(fd, END_WRITE, 2);
	CALL(pread(calls.file, bytes, PAGE, 0));
	SYNC_PAGE(fd, END_WRITE, 0);
	return done();
}
