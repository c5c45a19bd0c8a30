/*
 * Waits in system calls that signals end, in each of the ways in which they do: what is blocked
 * meanwhile and afterwards, what handlers are told, in which order, on which stack.
 */
#include "waits.h"
#include <poll.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#define STACK (4 * PAGE)
#define QUEUED 3

static char *stack;
static volatile sig_atomic_t handled, on_stack;
static volatile pid_t sender;
static volatile int values[QUEUED];
static int sockets[2];
static sigset_t none;

static void handle(int signal, siginfo_t *info, void *context)
{
	char here;

	(void)signal;
	(void)context;
	on_stack = &here >= stack && &here < stack + STACK;
	sender = info->si_pid;
	values[handled % QUEUED] = info->si_value.sival_int;
	handled++;
}

static void handle_with(int signal, int flags)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO | flags }, told;

	action.sa_sigaction = handle;
	need(sigaction(signal, &action, NULL) == 0, "sigaction");
	need(sigaction(signal, NULL, &told) == 0 && told.sa_sigaction == handle,
	     "the handler is told");
}

/* A child that sends a signal when this process waits, and then puts a byte into the socket. */
static pid_t child(int signal)
{
	pid_t parent = getpid(), pid = fork();
	union sigval value = { .sival_int = 7 };

	if (pid == 0) {
		until_it_waits(parent);
		sigqueue(parent, signal, value);
		until_it_waits(parent);
		if (write(sockets[1], "x", 1) != 1)
			_exit(1);
		_exit(0);
	}
	return pid;
}

/* It has handled so many, and blocks the signal again. */
static void need_handled(int count, int signal, const char *what)
{
	sigset_t blocked;

	need(handled == count, what);
	need(sigprocmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, signal), what);
}

static void block(int signal)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signal);
	need(sigprocmask(SIG_BLOCK, &set, NULL) == 0, "sigprocmask");
}

static void unblocked_while_it_waits(void)
{
	struct timespec moment = { .tv_nsec = 10000000 };
	pid_t pid;
	int i;

	handle_with(SIGUSR1, 0);
	block(SIGUSR1);
	pid = child(SIGUSR1);
	need(sigsuspend(&none) == -1 && errno == EINTR, "sigsuspend");
	need_handled(1, SIGUSR1, "sigsuspend");
	need(sender == pid && values[0] == 7, "the sender and its value are told");
	raise(SIGUSR1);
	need_handled(1, SIGUSR1, "a signal that is blocked waits");
	need(sigsuspend(&none) == -1 && errno == EINTR, "sigsuspend");
	need_handled(2, SIGUSR1, "one that has waited");
	child(SIGUSR1);
	need(ppoll(NULL, 0, NULL, &none) == -1 && errno == EINTR, "ppoll");
	need_handled(3, SIGUSR1, "ppoll");
	child(SIGUSR1);
	need(pselect(0, NULL, NULL, NULL, NULL, &none) == -1 && errno == EINTR, "pselect");
	need_handled(4, SIGUSR1, "pselect");
	need(ppoll(NULL, 0, &moment, &none) == 0, "ppoll without a signal");
	need_handled(4, SIGUSR1, "ppoll without a signal");
	handle_with(SIGTRAP, 0);
	child(SIGTRAP);
	need(ppoll(NULL, 0, NULL, &none) == -1 && errno == EINTR && handled == 5, "SIGTRAP");
	handled = 0;
	handle_with(SIGRTMIN, 0);
	block(SIGRTMIN);
	for (i = 0; i < QUEUED; i++)
		sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = i });
	while (handled < QUEUED)
		sigsuspend(&none);
	for (i = 0; i < QUEUED; i++)
		need(values[i] == i, "queued signals come in their order");
	need(sigprocmask(SIG_SETMASK, &none, NULL) == 0, "sigprocmask");
}

static void ended_or_made_again(void)
{
	struct sigaction told;
	char bytes[8];
	struct iovec list = { bytes, sizeof(bytes) };
	int i, status;
	pid_t pid;

	/* What the children before have put there. */
	while (wait(NULL) != -1)
		;
	need(readv(sockets[0], &list, 1) == 4, "readv");
	handled = 0;
	child(SIGUSR1);
	need(readv(sockets[0], &list, 1) == -1 && errno == EINTR && handled == 1, "EINTR");
	need(readv(sockets[0], &list, 1) == 1, "readv");
	handle_with(SIGUSR1, SA_RESTART | SA_ONSTACK);
	child(SIGUSR1);
	need(readv(sockets[0], &list, 1) == 1 && handled == 2 && on_stack, "SA_RESTART");
	handle_with(SIGUSR2, SA_RESETHAND);
	child(SIGUSR2);
	need(readv(sockets[0], &list, 1) == -1 && handled == 3 && !on_stack, "SA_RESETHAND");
	need(sigaction(SIGUSR2, NULL, &told) == 0 && told.sa_handler == SIG_DFL, "SA_RESETHAND");
	for (i = 0; i < 3; i++)
		need(wait(&status) != -1, "a child");
	pid = fork();
	if (pid == 0) {
		raise(SIGUSR2);
		_exit(0);
	}
	need(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "SIG_DFL");
	need(readv(sockets[0], &list, 1) == 1, "readv");
}

static void interrupted_all_the_time(int fd, volatile char *bytes)
{
	struct itimerval often = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };
	char byte;
	struct iovec list = { &byte, 1 };
	int i;

	handle_with(SIGALRM, SA_RESTART);
	need(setitimer(ITIMER_REAL, &often, NULL) == 0, "setitimer");
	for (i = 0; i < 1000; i++) {
		need(write(sockets[1], "x", 1) == 1, "write");
		need(readv(sockets[0], &list, 1) == 1, "readv");
		SYNC(fd, START_READ);
		memcpy(frame, (char *)bytes, SIZE);
		SYNC(fd, END_READ);
		need(close(dup(fd)) == 0, "close");
	}
	need(setitimer(ITIMER_REAL, &never, NULL) == 0, "setitimer");
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	stack_t alternate = { .ss_size = STACK };

	alternate.ss_sp = stack = malloc(STACK);
	need(stack && sigaltstack(&alternate, NULL) == 0, "sigaltstack");
	need(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "socketpair");
	sigemptyset(&none);
	unblocked_while_it_waits();
	ended_or_made_again();
	interrupted_all_the_time(fd, bytes);
	return done();
}
