/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What served buffers (a FUSE file) and the heaps of the dmabuf module answer beyond
 * <linux/dma-buf.h>, for C and C++ programs.
 *
 * Send these ioctls only to a file of which fstatfs(2) says that it is a dma-buf (f_type
 * DMA_BUF_MAGIC) or on FUSE (FUSE_SUPER_MAGIC): other drivers use type 'Z' for numbers of
 * their own. A file that does not know them answers ENOTTY; mainline's exporters do.
 */
#ifndef DMABUF_H
#define DMABUF_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define DMA_BUF_ACCESS_BASE 'Z'

/*
 * The simple brackets: read-write, the whole buffer, no argument. Either restarts on EINTR and
 * EAGAIN: call it again.
 */
#define DMA_BUF_IOCTL_PREPARE_ACCESS _IO(DMA_BUF_ACCESS_BASE, 0)
#define DMA_BUF_IOCTL_FINISH_ACCESS _IO(DMA_BUF_ACCESS_BASE, 1)

#define DMA_BUF_QUERY_NAME_LEN 32

/* Flags of struct dma_buf_query. */
#define DMA_BUF_QUERY_MMAP_READ (1 << 0)  /* can be mapped for loads */
#define DMA_BUF_QUERY_MMAP_WRITE (1 << 1) /* and for stores */
#define DMA_BUF_QUERY_COHERENT (1 << 2)   /* no bracket copies or cleans anything */
#define DMA_BUF_QUERY_BRACKET (1 << 3)    /* a bracket is needed around accesses */
#define DMA_BUF_QUERY_RANGE (1 << 4)      /* a bracket's work grows with its range */
#define DMA_BUF_QUERY_TRACKED (1 << 5)    /* only pages that were touched are synced */
#define DMA_BUF_QUERY_CHECKED (1 << 6)    /* accesses outside of brackets are reported */

/* What a buffer is capable of; it never changes. */
struct dma_buf_query {
	__u64 size;    /* bytes */
	__u32 flags;   /* DMA_BUF_QUERY_* */
	__u32 granule; /* bytes that move together between CPU and devices: a power of two */
	char exporter[DMA_BUF_QUERY_NAME_LEN]; /* NUL-terminated */
	char name[DMA_BUF_QUERY_NAME_LEN];     /* NUL-terminated, empty if it has none */
	__u64 reserved[4];                     /* zero */
};

#define DMA_BUF_IOCTL_QUERY _IOR(DMA_BUF_ACCESS_BASE, 2, struct dma_buf_query)

/*
 * A bracket over a range. The flags are those of struct dma_buf_sync. EINVAL for other flags,
 * for a length of 0 and for a range that ends past the end of the buffer.
 */
struct dma_buf_sync_range {
	__u64 flags;
	__u64 offset; /* bytes from the buffer's start */
	__u64 len;    /* bytes */
};

#define DMA_BUF_IOCTL_SYNC_RANGE _IOW(DMA_BUF_ACCESS_BASE, 3, struct dma_buf_sync_range)

/*
 * The same on vendor kernels, with 32-bit ranges; not in mainline. Their own <linux/dma-buf.h>
 * may define it already.
 */
#ifndef DMA_BUF_IOCTL_SYNC_PARTIAL
struct dma_buf_sync_partial {
	__u64 flags;
	__u32 offset;
	__u32 len;
};

#define DMA_BUF_IOCTL_SYNC_PARTIAL _IOW('b', 2, struct dma_buf_sync_partial)
#endif

/*
 * The module's device, /dev/dmabuf. The kernel answers the ioctls of a dma-buf's own descriptor
 * itself, so the module answers these here, for the dma-buf that fd names. EBADF: fd is not open.
 * EINVAL: it is no dma-buf, pad is not 0, or what the ioctl of the same name refuses. ENOTTY: it is
 * another exporter's dma-buf. EINTR, EAGAIN: call it again.
 *
 * read(2) gives the accesses outside of brackets that the heap "checked" has found and this open
 * file has not read yet, oldest first, one on a line:
 *
 *     pid=123 comm=edit heap=checked inode=17 name=frame offset=0x38000 access=write allowed=read
 *
 * access is read or write; allowed, what the process's brackets allowed there, none, read or
 * write. In their place, mistake tells of a bracket: end-without-start, end-other-direction,
 * end-other-range, or start-without-end of a process that has ended. It waits until there is one, or fails with EAGAIN on a file open with O_NONBLOCK.
 */
struct dmabuf_device_query {
	__s32 fd;
	__u32 pad; /* zero, in all of them */
	struct dma_buf_query query;
};

struct dmabuf_device_sync_range {
	__s32 fd;
	__u32 pad;
	struct dma_buf_sync_range sync;
};

struct dmabuf_device_sync_partial {
	__s32 fd;
	__u32 pad;
	struct dma_buf_sync_partial sync;
};

/* Counts since the buffer was allocated. */
struct dmabuf_device_stats {
	__s32 fd;
	__u32 pad;
	__u64 begins;            /* brackets begun */
	__u64 ends;              /* brackets ended */
	__u64 bytes_to_device;   /* synced for devices: what the CPU wrote */
	__u64 bytes_from_device; /* synced for the CPU: what devices wrote */
	__u64 faults;            /* page faults in the buffer's mappings */
	__u64 violations;        /* accesses outside of brackets */
	__u64 reserved[2];       /* zero */
};

/*
 * A buffer from a heap of the module's, also one that is not in /dev/dma_heap. ENOENT: there is no
 * such heap; the other errors are those of DMA_HEAP_IOCTL_ALLOC.
 */
struct dmabuf_device_alloc {
	__s32 fd;       /* out */
	__u32 fd_flags; /* O_CLOEXEC, and an access mode */
	__u64 len;      /* bytes, rounded up to whole pages */
	char heap[32];  /* its name, and zeroes after it */
};

#define DMABUF_DEVICE_QUERY _IOWR(DMA_BUF_ACCESS_BASE, 0x10, struct dmabuf_device_query)
#define DMABUF_DEVICE_SYNC_RANGE _IOW(DMA_BUF_ACCESS_BASE, 0x11, struct dmabuf_device_sync_range)
#define DMABUF_DEVICE_SYNC_PARTIAL _IOW(DMA_BUF_ACCESS_BASE, 0x12, struct dmabuf_device_sync_partial)
#define DMABUF_DEVICE_STATS _IOWR(DMA_BUF_ACCESS_BASE, 0x13, struct dmabuf_device_stats)
#define DMABUF_DEVICE_ALLOC _IOWR(DMA_BUF_ACCESS_BASE, 0x14, struct dmabuf_device_alloc)

/*
 * /dev/dmabuf-importer, an emulated device that imports dma-bufs of any exporter. An open file is one
 * attachment. While its buffer is mapped, pread(2) and pwrite(2) are what the device does by DMA:
 * they reach the bytes at the addresses that the DMA API gave. EINVAL: nothing is attached, or
 * mapped, or the argument is wrong. EBUSY: it is already. EACCES: against the direction. The
 * argument of MAP is what the device does: DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE, or both.
 */
#define DMABUF_IMPORTER_ATTACH _IOW(DMA_BUF_ACCESS_BASE, 0x20, __s32)
#define DMABUF_IMPORTER_MAP _IOW(DMA_BUF_ACCESS_BASE, 0x21, __u32)
#define DMABUF_IMPORTER_UNMAP _IO(DMA_BUF_ACCESS_BASE, 0x22)

#endif /* DMABUF_H */
