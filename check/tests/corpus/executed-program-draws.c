/* Executes itself; the new program draws, without a bracket, into the buffer that was left open. */
#include "corpus.h"

int main(int argc, char **argv)
{
	char number[16];
	char *bytes;

	if (argc == 2) {
		snprintf(number, sizeof(number), "%d", dup(open_buffer(argc, argv)));
		execl("/proc/self/exe", argv[0], argv[1], number, NULL);
		need(0, "execl");
	}
	bytes = map_buffer(atoi(argv[2]));
	memset(bytes, 1, SIZE); /* expect: outside-write */
	return done();
}
