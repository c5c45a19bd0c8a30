/* Asks whether mmap gave MAP_FAILED. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 16);

	if (bytes == MAP_FAILED)
		return done();
	bytes[0] = 1;
	return 1;
}
