/*
 * Has a handler for SIGSEGV that repairs its own faults, and draws without a bracket. A fault that
 * is not its own would end it.
 */
#include "signals.h"

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));

	guard_page();
	handle_sigsegv(0);
	guarded[0] = 1;
	memset(bytes, 1, SIZE); /* expect: outside-write */
	guard_again();
	guarded[1] = 1;
	need(faults == 2, "two faults of the program's own");
	return done();
}
