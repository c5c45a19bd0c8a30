/* Makes calls that would be the end of a mapping or of a descriptor, but fail; and draws. */
#include "corpus.h"

static void draw(int fd, char *bytes)
{
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	SYNC(fd, END_WRITE);
}

static void execute_a_pipe(void)
{
	char folder[] = "/tmp/corpus-XXXXXX", path[64];
	char *const arguments[] = { path, NULL };

	need(mkdtemp(folder) != NULL, "mkdtemp");
	snprintf(path, sizeof(path), "%s/pipe", folder);
	need(mkfifo(path, 0700) == 0, "mkfifo");
	need(execv(path, arguments) == -1 && errno == EACCES, "a pipe is no program");
	unlink(path);
	rmdir(folder);
}

int main(int argc, char **argv)
{
	int fd = open_buffer(argc, argv), other = open("/dev/null", O_RDONLY);
	char *bytes = map_buffer(fd);

	need(mmap(bytes, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, other, 0) ==
	     MAP_FAILED, "what cannot be mapped");
	draw(fd, bytes);
	need(munmap(bytes, (size_t)1 << 47) == -1, "a range that is too long");
	draw(fd, bytes);
	need(mremap(frame, PAGE, PAGE, MREMAP_FIXED, bytes) == MAP_FAILED, "flags that do not go");
	draw(fd, bytes);
	SYNC(fd, START_WRITE);
	memset(bytes, 1, SIZE);
	need(dup2(1000000, fd) == -1, "a descriptor that is not there");
	SYNC(fd, END_WRITE);
	execute_a_pipe();
	return done();
}
