/* Lets the kernel write into a buffer, in each way that there is, in a bracket for writing. */
#include "calls.h"

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);
	struct calls calls = open_calls();
	struct iovec page = { .iov_len = PAGE };
	struct msghdr message = { .msg_iov = &page, .msg_iovlen = 1 };

	SYNC(fd, START_WRITE);
	write_all(calls.socket);
	CALL(read(calls.other, bytes, PAGE));
	CALL(pread(calls.file, bytes + PAGE, PAGE, 0));
	page.iov_base = bytes + 2 * PAGE;
	lseek(calls.file, 0, SEEK_SET);
	CALL(readv(calls.file, &page, 1));
	page.iov_base = bytes + 3 * PAGE;
	CALL(preadv(calls.file, &page, 1, 0));
	write_all(calls.socket);
	CALL(recv(calls.other, bytes + 4 * PAGE, PAGE, 0));
	write_all(calls.socket);
	CALL(recvfrom(calls.other, bytes + 5 * PAGE, PAGE, 0, NULL, NULL));
	page.iov_base = bytes + 6 * PAGE;
	write_all(calls.socket);
	CALL(recvmsg(calls.other, &message, 0));
	SYNC(fd, END_WRITE);
	return done();
}
