/* Two buffers, and an instruction that loads from one place and stores to another. */
#ifndef BETWEEN_H
#define BETWEEN_H

#include "corpus.h"

static int source, target;

static inline void open_two(int argc, char **argv, char **from, char **to)
{
	char name[256];
	char *arguments[] = { argv[0], name };

	source = open_buffer(argc, argv);
	snprintf(name, sizeof(name), "%s%s", argv[1], strncmp(argv[1], "/dev/", 5) ? "-2" : "");
	target = open_buffer(2, arguments);
	*from = map_buffer(source);
	*to = map_buffer(target);
}

#ifdef __x86_64__
#define COPY_WORD(to, from) do {                                                         \
	const char *from_ = (from);                                                      \
	char *to_ = (to);                                                                \
	__asm__ volatile("movsq" : "+S"(from_), "+D"(to_) : : "memory");                 \
} while (0)
#else
#define COPY_WORD(to, from) (*(volatile long *)(to) = *(volatile long *)(from))
#endif

#endif
