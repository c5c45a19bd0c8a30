/* Handing a buffer to a child process over a socket, as SCM_RIGHTS of unix(7). */
#ifndef SOCKET_H
#define SOCKET_H

#include "corpus.h"
#include <sys/socket.h>

struct parcel {
	char byte;
	struct iovec bytes;
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr aligned;
	} control;
	struct msghdr message;
};

static inline struct msghdr *wrap(struct parcel *parcel)
{
	memset(parcel, 0, sizeof(*parcel));
	parcel->bytes.iov_base = &parcel->byte;
	parcel->bytes.iov_len = 1;
	parcel->message.msg_iov = &parcel->bytes;
	parcel->message.msg_iovlen = 1;
	parcel->message.msg_control = parcel->control.room;
	parcel->message.msg_controllen = sizeof(parcel->control.room);
	return &parcel->message;
}

static inline int receive(int socket)
{
	struct parcel parcel;
	struct msghdr *message = wrap(&parcel);
	int fd;

	need(recvmsg(socket, message, 0) == 1, "recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(message)), sizeof(fd));
	return fd;
}

/* Sends the buffer to a child process, which does what `child` says, and waits for it. */
static inline int send_to_child(int fd, void (*child)(int socket))
{
	struct parcel parcel;
	struct msghdr *message = wrap(&parcel);
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	int sockets[2], status;
	pid_t pid;

	need(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "socketpair");
	pid = fork();
	if (pid == 0) {
		close(fd);
		child(sockets[1]);
		exit(0);
	}
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	need(sendmsg(sockets[0], message, 0) == 1, "sendmsg");
	need(waitpid(pid, &status, 0) == pid && status == 0, "the child");
	return done();
}

#endif
