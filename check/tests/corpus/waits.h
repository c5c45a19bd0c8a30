/* When somebody else waits. */
#ifndef WAITS_H
#define WAITS_H

#include "corpus.h"

/* Until a process or a thread waits for something, or has ended. */
static inline void until_it_waits(pid_t pid)
{
	char path[32], stat[512], *state;
	ssize_t len;
	int file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	do {
		usleep(1000);
		file = open(path, O_RDONLY);
		len = read(file, stat, sizeof(stat) - 1);
		close(file);
		stat[len > 0 ? len : 0] = 0;
		/* It is behind the name, which is in brackets. */
		state = strrchr(stat, ')');
	} while (state && !strchr("SZ", state[2]));
}

#endif
