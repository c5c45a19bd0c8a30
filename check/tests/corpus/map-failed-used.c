/* Asks whether mmap gave NULL. It never does: it says MAP_FAILED, here since the offset is odd. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 16);

	if (!bytes)
		return 1;
	done();
	bytes[0] = 1; /* expect: map-failed-used */
	return 0;
}
