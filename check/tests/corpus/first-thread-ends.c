/* Ends its first thread; another draws without a bracket. */
#include "first.h"

static void draw(void)
{
	memset(bytes, 1, SIZE); /* expect: outside-write */
}

int main(int argc, char **argv)
{
	end_first_thread(argc, argv, draw);
}
