/* Ends its first thread; another draws in a bracket. */
#include "first.h"

static void draw(void)
{
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
}

int main(int argc, char **argv)
{
	end_first_thread(argc, argv, draw);
}
