/* Handles SIGSEGV on a stack of its own, and draws without a bracket. */
#include "signals.h"

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));
	stack_t stack = { .ss_size = 16 * PAGE };

	stack.ss_sp = malloc(stack.ss_size);
	need(stack.ss_sp && sigaltstack(&stack, NULL) == 0, "sigaltstack");
	guard_page();
	handle_sigsegv(SA_ONSTACK);
	guarded[0] = 1;
	memset(bytes, 1, SIZE); /* expect: outside-write */
	guard_again();
	guarded[1] = 1;
	need(faults == 2, "two faults of the program's own");
	return done();
}
