/* A process gets a buffer from another one over a socket, and draws into it without a bracket. */
#include "socket.h"

static void child(int socket)
{
	char *bytes = map_buffer(receive(socket));

	memset(bytes, 1, SIZE); /* expect: outside-write */
}

int main(int argc, char **argv)
{
	return send_to_child(open_buffer(argc, argv), child);
}
