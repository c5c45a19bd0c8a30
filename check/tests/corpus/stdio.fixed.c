/* Saves a frame, and loads one, by stdio. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	FILE *file = tmpfile();

	need(file != NULL, "tmpfile");
	SYNC(fd, START_READ);
	need(fwrite(bytes, 1, SIZE, file) == SIZE, "fwrite");
	SYNC(fd, END_READ);
	rewind(file);
	SYNC(fd, START_WRITE);
	need(fread(bytes, 1, SIZE, file) == SIZE, "fread");
	SYNC(fd, END_WRITE);
	return done();
}
