/* Starts other programs, by vfork and by posix_spawn, while it draws. */
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
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE / 2);
	run_others();
	memset(bytes + SIZE / 2, 1, SIZE / 2);
	SYNC(fd, END_WRITE);
	return done();
}
