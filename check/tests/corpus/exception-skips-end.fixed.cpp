// Draws what it is told to, and looks at that before it begins: what throws is outside of a bracket.
#include "corpus.h"
#include <stdexcept>

class Bracket {
public:
	Bracket(int fd) : fd(fd) { SYNC(fd, START_WRITE); }
	~Bracket() { SYNC(fd, END_WRITE); }

private:
	int fd;
};

static void draw_frame(int fd, char *bytes, const char *text)
{
	if (!text)
		throw std::invalid_argument("no text");
	Bracket bracket(fd);
	memset(bytes, text[0], SIZE);
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
