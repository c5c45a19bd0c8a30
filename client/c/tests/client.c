/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Allocates, maps, brackets and fences a buffer through libdmabuf. Without a heap to allocate from
 * it takes a memfd, which has everything but fences, and says so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <libdmabuf.h>

#define CHECK(condition)                                                                        \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #condition,               \
			       dmabuf_error());                                                 \
			exit(1);                                                                \
		}                                                                               \
	} while (0)

static struct dmabuf_buffer *allocate(int *is_dma_buf)
{
	struct dmabuf_heap *heap = NULL;
	struct dmabuf_buffer *buffer = NULL;
	int fd;

	*is_dma_buf = dmabuf_heap_find(DMABUF_CACHED, &heap) == 0;
	if (*is_dma_buf) {
		CHECK(dmabuf_allocate(heap, 0, &buffer) == -EINVAL);
		CHECK(dmabuf_allocate(heap, 8192, &buffer) == 0);
		dmabuf_heap_close(heap);
		return buffer;
	}
	printf("skipped: names and fences: %s\n", dmabuf_error());
	fd = memfd_create("test", MFD_CLOEXEC);
	CHECK(fd >= 0 && ftruncate(fd, 8192) == 0);
	CHECK(dmabuf_from_fd(fd, &buffer) == 0);
	close(fd);
	return buffer;
}

int main(void)
{
	struct dmabuf_heap *heap = NULL;
	struct dmabuf_buffer *other = NULL;
	struct dmabuf_mapping *mapping = NULL, *reader = NULL;
	struct dmabuf_bracket *bracket = NULL;
	void *data = NULL;
	int is_dma_buf, fences;
	struct dmabuf_buffer *buffer = allocate(&is_dma_buf);

	CHECK(dmabuf_size(buffer) == 8192);
	CHECK(dmabuf_fd(buffer) >= 0);

	/* What is stored in a bracket is read in another, through another mapping. */
	CHECK(dmabuf_map(buffer, DMABUF_READ_WRITE, &mapping) == 0);
	CHECK(dmabuf_begin(mapping, DMABUF_WRITE, 4096, 4096, -1, &bracket, &data) == 0);
	memset(data, 7, 4096);
	/* The bracket keeps the mapping. */
	dmabuf_unmap(mapping);
	((char *)data)[4095] = 9;
	CHECK(dmabuf_end(bracket) == 0);

	CHECK(dmabuf_from_fd(dmabuf_fd(buffer), &other) == 0);
	CHECK(dmabuf_map(other, DMABUF_READ, &reader) == 0);
	CHECK(dmabuf_begin(reader, DMABUF_READ, 4095, 4097, 1000, &bracket, &data) == 0);
	CHECK(((char *)data)[0] == 0 && ((char *)data)[1] == 7 && ((char *)data)[4096] == 9);
	CHECK(dmabuf_end(bracket) == 0);

	/* Errors are numbers, and words. */
	CHECK(dmabuf_begin(reader, DMABUF_WRITE, 0, 1, -1, &bracket, &data) == -EACCES);
	CHECK(strstr(dmabuf_error(), "read-only"));
	CHECK(dmabuf_begin(reader, DMABUF_READ, 0, 8193, -1, &bracket, &data) == -EINVAL);
	CHECK(dmabuf_begin(reader, 4, 0, 1, -1, &bracket, &data) == -EINVAL);
	CHECK(dmabuf_end(NULL) == -EINVAL);
	CHECK(dmabuf_from_fd(-1, &other) == -EBADF);
	CHECK(dmabuf_heap_open("/dev/dma_heap/absent", &heap) == -ENOENT);
	CHECK(strstr(dmabuf_error(), "this kernel offers"));
	CHECK(dmabuf_heap_find(1 << 16, &heap) == -EINVAL);

	CHECK(dmabuf_wait(buffer, DMABUF_READ_WRITE, 0) == 0);
	if (is_dma_buf) {
		CHECK(dmabuf_set_name(buffer, "from C") == 0);
		fences = dmabuf_export_fences(buffer, DMABUF_READ);
		/* Served buffers have none. */
		if (fences >= 0) {
			CHECK(dmabuf_import_fences(buffer, DMABUF_WRITE, fences) == 0);
			close(fences);
		} else {
			CHECK(fences == -ENOTTY);
			printf("skipped: fences: %s\n", dmabuf_error());
		}
		CHECK(dmabuf_import_fences(buffer, DMABUF_WRITE, 0) == -ENOTTY);
	}

	dmabuf_unmap(reader);
	dmabuf_close(other);
	dmabuf_close(buffer);
	dmabuf_close(NULL);
	puts("ok");
	return 0;
}
