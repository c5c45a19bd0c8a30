/* Lets the kernel read from a buffer, in each way that there is, without a bracket. */
#include "calls.h"

int main(int argc, char **argv)
{
	char *bytes = map_buffer(open_buffer(argc, argv));
	struct calls calls = open_calls();
	struct iovec page = { .iov_len = PAGE };
	struct msghdr message = { .msg_iov = &page, .msg_iovlen = 1 };

	CALL(write(calls.socket, bytes, PAGE)); /* expect: outside-read */
	read_all(calls.other);
	CALL(pwrite(calls.file, bytes + PAGE, PAGE, 0)); /* expect: outside-read */
	page.iov_base = bytes + 2 * PAGE;
	CALL(writev(calls.file, &page, 1)); /* expect: outside-read */
	page.iov_base = bytes + 3 * PAGE;
	CALL(pwritev(calls.file, &page, 1, 0)); /* expect: outside-read */
	CALL(send(calls.socket, bytes + 4 * PAGE, PAGE, 0)); /* expect: outside-read */
	read_all(calls.other);
	CALL(sendto(calls.socket, bytes + 5 * PAGE, PAGE, 0, NULL, 0)); /* expect: outside-read */
	read_all(calls.other);
	page.iov_base = bytes + 6 * PAGE;
	CALL(sendmsg(calls.socket, &message, 0)); /* expect: outside-read */
	read_all(calls.other);
	return done();
}
