/*
 * Ends a range that it did not begin, in a bracket about another; a system call stores there.
 * needs: bounce
 */
#include "ranges.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	struct calls calls = open_calls();

	SYNC_PAGE(fd, START_WRITE, 0);
	SYNC_PAGE(fd, END_WRITE, 2); /* expect: end-without-start */
	CALL(pread(calls.file, bytes, PAGE, 0));
	SYNC_PAGE(fd, END_WRITE, 0);
	return done();
}
