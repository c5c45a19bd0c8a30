/*
 * Maps a buffer a second time by mremap, and draws there without a bracket. A kernel's buffer cannot
 * be mapped so.
 * needs: bounce
 */
#include "corpus.h"

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));
	char *again = mremap(bytes, 0, SIZE, MREMAP_MAYMOVE);

	need(again != MAP_FAILED && again != bytes, "mremap");
	memset(again, 1, SIZE); /* expect: outside-write */
	return done();
}
