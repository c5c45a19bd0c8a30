/* Saves a frame, and loads one, by stdio, whose own system calls pass by the program's symbols. */
#include "corpus.h"

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));
	FILE *file = tmpfile();

	need(file != NULL, "tmpfile");
	need(fwrite(bytes, 1, SIZE, file) == SIZE, "fwrite"); /* expect: outside-read */
	rewind(file);
	need(fread(bytes, 1, SIZE, file) == SIZE, "fread"); /* expect: outside-write */
	return done();
}
