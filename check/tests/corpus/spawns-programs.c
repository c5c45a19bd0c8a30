/* Starts other programs, by vfork and by posix_spawn, and then draws without a bracket. */
#include "corpus.h"
#include <spawn.h>

static void run_others(void)
{
	char *const arguments[] = { "true", NULL };
	int status;
	pid_t pid = vfork();

	if (pid == 0) {
		execv("/bin/true", arguments);
		_exit(1);
	}
	need(waitpid(pid, &status, 0) == pid && status == 0, "vfork");
	need(posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, environ) == 0, "posix_spawn");
	need(waitpid(pid, &status, 0) == pid && status == 0, "posix_spawn");
}

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));

	run_others();
	memset(bytes, 1, SIZE); /* expect: outside-write */
	return done();
}
