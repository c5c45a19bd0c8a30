/* Moves a mapping, and draws without a bracket where it is now. */
#include "corpus.h"

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));
	char *place = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	bytes = mremap(bytes, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	need(bytes == place, "mremap");
	memset(bytes, 1, SIZE); /* expect: outside-write */
	return done();
}
