/*
 * An exporter that is busy: the next DMA_BUF_IOCTL_SYNC of this process fails, and those after it
 * are carried out. A thread decides that through seccomp_unotify(2), so that any buffer will do.
 */
#ifndef BUSY_H
#define BUSY_H

#include "corpus.h"
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

struct busy {
	int listener;
	int error;
};

static struct busy busy;

static void *answer(void *arg)
{
	struct seccomp_notif asked;
	struct seccomp_notif_resp answer;

	(void)arg;
	for (;;) {
		memset(&asked, 0, sizeof(asked));
		memset(&answer, 0, sizeof(answer));
		if (ioctl(busy.listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) == -1)
			continue;
		answer.id = asked.id;
		answer.error = -busy.error;
		if (!busy.error)
			answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		busy.error = 0;
		ioctl(busy.listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
	return NULL;
}

/* From here on: `error` for the next SYNC. */
static inline void make_busy(int error)
{
	struct sock_filter instructions[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DMA_BUF_IOCTL_SYNC, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {
		.len = sizeof(instructions) / sizeof(instructions[0]), .filter = instructions,
	};
	pthread_t thread;

	busy.error = error;
	need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS");
	busy.listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
	need(busy.listener != -1, "seccomp");
	need(pthread_create(&thread, NULL, answer, NULL) == 0, "pthread_create");
}

#endif
