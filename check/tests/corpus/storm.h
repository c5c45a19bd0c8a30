/*
 * Threads that draw, each into a frame of its own, while a timer interrupts them: with a handler that
 * makes system calls, on an alternate stack, and with signals that are blocked and unblocked.
 */
#ifndef STORM_H
#define STORM_H

#include "corpus.h"
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/time.h>

#define FRAMES 3
#define TURNS 100

struct frame {
	int fd;
	volatile char *bytes;
};

static struct frame frames[FRAMES];
static volatile sig_atomic_t ticks;
static int null;

static void (*between_frames)(struct frame *frame, unsigned turn);

static void tick(int signal)
{
	int error = errno;
	sigset_t none;

	(void)signal;
	ticks++;
	sigemptyset(&none);
	sigprocmask(SIG_BLOCK, &none, NULL);
	if (write(null, "", 1) != 1)
		_exit(3);
	errno = error;
}

static void run_a_program(unsigned turn)
{
	char *arguments[] = { "true", NULL }, *environment[] = { NULL };
	int status = -1;
	pid_t pid;

	if (turn % 2) {
		pid = fork();
		if (pid == 0)
			_exit(0);
	} else {
		need(posix_spawnp(&pid, "true", NULL, NULL, arguments, environment) == 0, "spawn");
	}
	while (waitpid(pid, &status, 0) == -1)
		need(errno == EINTR, "waitpid");
	need(status == 0, "a child");
}

static void *draw(void *argument)
{
	struct frame *frame = argument;
	stack_t stack = { .ss_sp = malloc(SIGSTKSZ), .ss_size = SIGSTKSZ };
	sigset_t all, before;
	unsigned turn;
	size_t i;

	need(sigaltstack(&stack, NULL) == 0, "sigaltstack");
	sigfillset(&all);
	for (turn = 0; turn < TURNS; turn++) {
		SYNC(frame->fd, START_WRITE);
		if (turn % 3 == 0)
			pthread_sigmask(SIG_BLOCK, &all, &before);
		for (i = 0; i < SIZE; i += 64)
			frame->bytes[i] = turn;
		if (turn % 3 == 0)
			pthread_sigmask(SIG_SETMASK, &before, NULL);
		SYNC(frame->fd, END_WRITE);
		if (between_frames)
			between_frames(frame, turn);
		if (turn % 25 == 0)
			run_a_program(turn);
	}
	return NULL;
}

static inline void storm(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = tick, .sa_flags = SA_ONSTACK | SA_RESTART };
	struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = { { 0, 0 }, { 0, 0 } };
	char name[256];
	char *arguments[] = { argv[0], name };
	pthread_t threads[FRAMES];
	int i;

	need(argc == 2, "a buffer");
	for (i = 0; i < FRAMES; i++) {
		if (strncmp(argv[1], "/dev/", 5) == 0)
			snprintf(name, sizeof(name), "%s", argv[1]);
		else
			snprintf(name, sizeof(name), "%s-%d", argv[1], i);
		frames[i].fd = open_buffer(2, arguments);
		frames[i].bytes = map_buffer(frames[i].fd);
	}
	null = open("/dev/null", O_WRONLY);
	sigfillset(&action.sa_mask);
	need(null != -1 && sigaction(SIGALRM, &action, NULL) == 0, "sigaction");
	need(setitimer(ITIMER_REAL, &often, NULL) == 0, "setitimer");
	for (i = 0; i < FRAMES; i++)
		pthread_create(&threads[i], NULL, draw, &frames[i]);
	for (i = 0; i < FRAMES; i++)
		pthread_join(threads[i], NULL);
	setitimer(ITIMER_REAL, &never, NULL);
	need(ticks > 0, "a tick");
}

#endif
