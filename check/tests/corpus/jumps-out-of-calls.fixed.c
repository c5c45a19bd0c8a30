/* Jumps out of reads that wait, again and again, and draws in a bracket afterwards. */
#include "interrupted.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	jump_out_of_reads(bytes);
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	return done();
}
