/* Lets the kernel write into a buffer, in each way that there is, without a bracket. */
#include "calls.h"

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));
	struct calls calls = open_calls();
	struct iovec page = { .iov_len = PAGE };
	struct msghdr message = { .msg_iov = &page, .msg_iovlen = 1 };

	write_all(calls.socket);
	CALL(read(calls.other, bytes, PAGE)); /* expect: outside-write */
	CALL(pread(calls.file, bytes + PAGE, PAGE, 0)); /* expect: outside-write */
	page.iov_base = bytes + 2 * PAGE;
	lseek(calls.file, 0, SEEK_SET);
	CALL(readv(calls.file, &page, 1)); /* expect: outside-write */
	page.iov_base = bytes + 3 * PAGE;
	CALL(preadv(calls.file, &page, 1, 0)); /* expect: outside-write */
	write_all(calls.socket);
	CALL(recv(calls.other, bytes + 4 * PAGE, PAGE, 0)); /* expect: outside-write */
	write_all(calls.socket);
	CALL(recvfrom(calls.other, bytes + 5 * PAGE, PAGE, 0, NULL, NULL)); /* expect: outside-write */
	page.iov_base = bytes + 6 * PAGE;
	write_all(calls.socket);
	CALL(recvmsg(calls.other, &message, 0)); /* expect: outside-write */
	return done();
}
