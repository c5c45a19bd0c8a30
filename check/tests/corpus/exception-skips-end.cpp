// Draws what it is told to; where that is nothing it throws, and nobody ends the bracket.
#include "corpus.h"
#include <stdexcept>

static void draw(char *bytes, const char *text)
{
	if (!text)
		throw std::invalid_argument("no text");
	memset(bytes, text[0], SIZE);
}

static void draw_frame(int fd, char *bytes, const char *text)
{
	SYNC(fd, START_WRITE); // expect: start-without-end
	draw(bytes, text);
	SYNC(fd, END_WRITE);
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	draw_frame(fd, bytes, "text");
	try {
		draw_frame(fd, bytes, nullptr);
	} catch (const std::invalid_argument &) {
	}
	return done();
}
