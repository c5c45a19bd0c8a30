/* Throws an exception out of its handler of SIGSEGV, and draws in a bracket. */
#pragma GCC optimize("non-call-exceptions")
#include "corpus.h"
#include <csignal>
#include <stdexcept>

static int unwound;

struct Cleanup {
	~Cleanup() { unwound++; }
};

static void throw_it(int)
{
	throw std::runtime_error("a fault");
}

__attribute__((noinline)) static void store(volatile char *byte)
{
	Cleanup cleanup;

	*byte = 1;
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv), caught = 0;
	char *bytes = map_buffer(fd);
	void *trap = mmap(nullptr, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sigaction action = {};

	action.sa_handler = throw_it;
	action.sa_flags = SA_NODEFER;
	need(sigaction(SIGSEGV, &action, nullptr) == 0, "sigaction");
	for (int turn = 0; turn < 2; turn++) {
		try {
			store(static_cast<char *>(trap));
		} catch (const std::runtime_error &) {
			caught++;
		}
	}
	need(caught == 2 && unwound == 2, "an exception");
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	return done();
}
