/* Runs where debuggers have programs run: each at the same addresses; starts another, and draws. */
#include "corpus.h"
#include <spawn.h>
#include <sys/personality.h>

int main(int argc, char **argv)
{
	char *const arguments[] = { "true", NULL };
	int fd, status;
	char *bytes;
	pid_t pid;

	if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {
		personality(ADDR_NO_RANDOMIZE);
		execv("/proc/self/exe", argv);
	}
	fd = open_buffer(argc, argv);
	bytes = map_buffer(fd);
	need(posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, environ) == 0, "posix_spawn");
	need(waitpid(pid, &status, 0) == pid && status == 0, "what was started");
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	return done();
}
