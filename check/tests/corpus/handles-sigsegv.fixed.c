/* Has a handler for SIGSEGV that repairs its own faults, and draws. */
#include "signals.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	guard_page();
	handle_sigsegv(0);
	guarded[0] = 1;
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	guard_again();
	guarded[1] = 1;
	need(faults == 2, "two faults of the program's own");
	return done();
}
