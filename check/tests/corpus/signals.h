/* A page that traps, and a handler of SIGSEGV that opens it: what runtimes and write barriers do. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include "corpus.h"
#include <signal.h>

static volatile char *guarded;
static volatile sig_atomic_t faults;

static void open_guarded(int signal, siginfo_t *info, void *context)
{
	(void)context;
	if (signal != SIGSEGV || (char *)info->si_addr < guarded ||
	    (char *)info->si_addr >= guarded + PAGE)
		_exit(3);
	faults++;
	mprotect((void *)guarded, PAGE, PROT_READ | PROT_WRITE);
}

static inline void guard_page(void)
{
	guarded = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(guarded != MAP_FAILED, "mmap");
}

static inline void guard_again(void)
{
	need(mprotect((void *)guarded, PAGE, PROT_NONE) == 0, "mprotect");
}

static inline void handle_sigsegv(int flags)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO | flags };

	action.sa_sigaction = open_guarded;
	need(sigaction(SIGSEGV, &action, NULL) == 0, "sigaction");
	need(sigaction(SIGSEGV, NULL, &action) == 0 && action.sa_sigaction == open_guarded,
	     "a handler that was installed is told");
}

#endif
