/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * libdmabuf: map a buffer that devices use too, and access it in brackets.
 *
 * Functions that return an int return 0, or a negative errno; dmabuf_error() then tells the reason
 * and the next step in words. Offsets and sizes are in bytes. Pointers must be valid, and NULL only
 * where that is said; what is closed, unmapped or ended is not used any more. Several threads may
 * use an object at once.
 */

#ifndef LIBDMABUF_H
#define LIBDMABUF_H

/* Made by cbindgen of the crate dmabuf-c: change that. */

#include <stddef.h>
#include <stdint.h>

/**
 * Loads.
 */
#define DMABUF_READ 1

/**
 * Stores; what the range held before is given up.
 */
#define DMABUF_WRITE 2

/**
 * Loads and stores.
 */
#define DMABUF_READ_WRITE 3

/**
 * Each buffer is one run of physical memory.
 */
#define DMABUF_CONTIGUOUS 1

/**
 * CPU mappings are cached.
 */
#define DMABUF_CACHED 2

/**
 * CPU mappings are not cached.
 */
#define DMABUF_UNCACHED 4

/**
 * The CPU is kept away from the memory.
 */
#define DMABUF_PROTECTED 8

/**
 * An open bracket.
 */
struct dmabuf_bracket;

/**
 * A buffer.
 */
struct dmabuf_buffer;

/**
 * An open source of new buffers.
 */
struct dmabuf_heap;

/**
 * A buffer's bytes in this process.
 */
struct dmabuf_mapping;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Why the last function that failed in this thread did, in words: valid until the next fails.
 */
const char *dmabuf_error(void);

/**
 * Opens a heap: a node of /dev/dma_heap, /dev/udmabuf, or the directory of a served heap.
 *
 * # Safety
 *
 * `path` ends with a NUL.
 */
int dmabuf_heap_open(const char *path, struct dmabuf_heap **heap);

/**
 * Opens the first heap that is known to have all the properties, of DMABUF_CONTIGUOUS,
 * DMABUF_CACHED, DMABUF_UNCACHED and DMABUF_PROTECTED.
 */
int dmabuf_heap_find(uint32_t properties, struct dmabuf_heap **heap);

/**
 * Closes a heap; its buffers stay. NULL is no heap.
 */
void dmabuf_heap_close(struct dmabuf_heap *heap);

/**
 * Allocates a buffer of zeros of at least `size` bytes.
 */
int dmabuf_allocate(const struct dmabuf_heap *heap, uint64_t size, struct dmabuf_buffer **buffer);

/**
 * The buffer behind a descriptor, which stays the caller's.
 */
int dmabuf_from_fd(int fd, struct dmabuf_buffer **buffer);

/**
 * The buffer's descriptor, which stays the buffer's.
 */
int dmabuf_fd(const struct dmabuf_buffer *buffer);

/**
 * The buffer's size.
 */
uint64_t dmabuf_size(const struct dmabuf_buffer *buffer);

/**
 * Gives the buffer a name, of at most 31 bytes.
 *
 * # Safety
 *
 * `name` ends with a NUL.
 */
int dmabuf_set_name(const struct dmabuf_buffer *buffer, const char *name);

/**
 * Closes the buffer's descriptor; its mappings stay. NULL is no buffer.
 */
void dmabuf_close(struct dmabuf_buffer *buffer);

/**
 * Maps the whole buffer: with DMABUF_READ for loads, with DMABUF_READ_WRITE for stores too.
 */
int dmabuf_map(const struct dmabuf_buffer *buffer,
               uint32_t access,
               struct dmabuf_mapping **mapping);

/**
 * Unmaps the buffer, as soon as its last bracket has ended. NULL is no mapping.
 */
void dmabuf_unmap(struct dmabuf_mapping *mapping);

/**
 * Begins a bracket over `len` bytes from `offset` on: `data` is then the address of the first. It
 * waits for devices at most `timeout_ms` milliseconds, or for ever if that is negative. No byte
 * may be touched if it fails.
 */
int dmabuf_begin(const struct dmabuf_mapping *mapping,
                 uint32_t access,
                 uint64_t offset,
                 uint64_t len,
                 int timeout_ms,
                 struct dmabuf_bracket **bracket,
                 void **data);

/**
 * Ends a bracket, also if it fails: then what was stored may not have reached the devices.
 */
int dmabuf_end(struct dmabuf_bracket *bracket);

/**
 * Waits until no fence of a device conflicts with such an access, at most `timeout_ms`
 * milliseconds (-ETIMEDOUT), or for ever if that is negative. No fence does not mean that no device
 * uses the buffer: not every driver adds fences.
 */
int dmabuf_wait(const struct dmabuf_buffer *buffer, uint32_t access, int timeout_ms);

/**
 * Returns the descriptor of a new sync_file of the fences that such an access has to wait for, or
 * a negative errno.
 */
int dmabuf_export_fences(const struct dmabuf_buffer *buffer, uint32_t access);

/**
 * Adds the fences of a sync_file, whose descriptor stays the caller's: accesses that conflict with
 * such a one wait for them.
 */
int dmabuf_import_fences(const struct dmabuf_buffer *buffer, uint32_t access, int sync_file);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LIBDMABUF_H */
