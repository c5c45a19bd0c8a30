/* Has the pages of a buffer be there, which is no access, and draws in a bracket. */
#include "corpus.h"

static void populate(char *bytes, int advice)
{
	/* Old kernels, and mappings of some exporters, know nothing of it. */
	need(madvise(bytes, SIZE, advice) == 0 || errno == EINVAL, "madvise");
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv);
	char *bytes = map_buffer(fd);

	need(mlock(bytes, SIZE) == 0 && munlock(bytes, SIZE) == 0, "mlock");
	populate(bytes, 22 /* MADV_POPULATE_READ */);
	populate(bytes, 23 /* MADV_POPULATE_WRITE */);
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
	return done();
}
