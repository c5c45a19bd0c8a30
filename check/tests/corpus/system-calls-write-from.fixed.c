/* Lets the kernel read from a buffer, in each way that there is, in a bracket for reading. */
#include "calls.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	struct calls calls = open_calls();
	struct iovec page = { .iov_len = PAGE };
	struct msghdr message = { .msg_iov = &page, .msg_iovlen = 1 };

	SYNC(fd, START_READ);
	CALL(write(calls.socket, bytes, PAGE));
	read_all(calls.other);
	CALL(pwrite(calls.file, bytes + PAGE, PAGE, 0));
	page.iov_base = bytes + 2 * PAGE;
	CALL(writev(calls.file, &page, 1));
	page.iov_base = bytes + 3 * PAGE;
	CALL(pwritev(calls.file, &page, 1, 0));
	CALL(send(calls.socket, bytes + 4 * PAGE, PAGE, 0));
	read_all(calls.other);
	CALL(sendto(calls.socket, bytes + 5 * PAGE, PAGE, 0, NULL, 0));
	read_all(calls.other);
	page.iov_base = bytes + 6 * PAGE;
	CALL(sendmsg(calls.socket, &message, 0));
	read_all(calls.other);
	SYNC(fd, END_READ);
	return done();
}
