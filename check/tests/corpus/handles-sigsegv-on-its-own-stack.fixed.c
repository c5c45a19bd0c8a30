/* Handles SIGSEGV on a stack of its own, and draws. */
#include "signals.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	stack_t stack = { .ss_size = 16 * PAGE };

	stack.ss_sp = malloc(stack.ss_size);
	need(stack.ss_sp && sigaltstack(&stack, NULL) == 0, "sigaltstack");
	guard_page();
	handle_sigsegv(SA_ONSTACK);
	guarded[0] = 1;
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	guard_again();
	guarded[1] = 1;
	need(faults == 2, "two faults of the program's own");
	return done();
}
