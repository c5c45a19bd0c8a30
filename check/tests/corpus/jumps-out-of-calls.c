/* Jumps out of reads that wait, again and again, and draws without a bracket afterwards. */
#include "interrupted.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	jump_out_of_reads(bytes);
	bytes[0] = 1; /* expect: outside-write */
	bytes[SIZE - PAGE] = 1; /* expect: outside-write */
	return done();
}
