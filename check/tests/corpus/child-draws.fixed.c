/* Parent and child draw into the same mapping, each in a bracket. */
#include "corpus.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	int status;
	pid_t pid;

	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	pid = fork();
	if (pid == 0) {
		SYNC(fd, START_WRITE);
		memset(bytes, 2, SIZE);
		SYNC(fd, END_WRITE);
		exit(0);
	}
	need(waitpid(pid, &status, 0) == pid && status == 0, "the child");
	return done();
}
