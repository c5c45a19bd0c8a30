/*
 * Maps a buffer a second time by mremap, and draws by both mappings, in brackets. A kernel's buffer
 * cannot be mapped so.
 * needs: bounce
 */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv), turn;
	char *bytes = map_buffer(fd);
	char *again = mremap(bytes, 0, SIZE, MREMAP_MAYMOVE);

	need(again != MAP_FAILED && again != bytes, "mremap");
	for (turn = 0; turn < 2; turn++) {
		SYNC(fd, START_WRITE);
		memset(bytes, turn, SIZE / 2);
		memset(again + SIZE / 2, turn, SIZE / 2);
		SYNC(fd, END_WRITE);
	}
	return done();
}
