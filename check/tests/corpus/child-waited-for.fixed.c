/* Forks by a call that waits for the child, while another thread has to go on for the child to end. */
#include "corpus.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

static int fd, ends[2];

static void *go_on(void *argument)
{
	/* When the child reads, its parent waits. */
	usleep(30000);
	SYNC(fd, START_READ);
	memcpy(frame, argument, SIZE);
	SYNC(fd, END_READ);
	need(write(ends[1], "x", 1) == 1, "write");
	return NULL;
}

int main(int argc, char **argv)
{
	char *bytes, byte;
	pthread_t thread;
	int status;
	pid_t pid;

	fd = open_buffer(argc, argv);
	bytes = map_buffer(fd);
	need(pipe(ends) == 0, "pipe");
	need(pthread_create(&thread, NULL, go_on, bytes) == 0, "a thread");
	pid = syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(read(ends[0], &byte, 1) != 1);
	need(waitpid(pid, &status, 0) == pid && status == 0, "a child");
	need(pthread_join(thread, NULL) == 0, "a thread");
	return done();
}
