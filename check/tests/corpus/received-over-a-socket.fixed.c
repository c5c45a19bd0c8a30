/* A process gets a buffer from another one over a socket, and draws into it. */
#include "socket.h"

static void child(int socket)
{
	int fd = receive(socket);
	char *bytes = map_buffer(fd);

	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
}

int main(int argc, char **argv)
{
	return send_to_child(open_buffer(argc, argv), child);
}
