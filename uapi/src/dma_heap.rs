//! `linux/dma-heap.h`: allocating from `/dev/dma_heap/NAME`.

use super::ioctl::iowr;

/// The type character of the heaps' ioctls.
pub const DMA_HEAP_IOC_MAGIC: u8 = b'H';

/// The argument of [`DMA_HEAP_IOCTL_ALLOC`]: `struct dma_heap_allocation_data`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmaHeapAllocationData {
    /// The size wanted, in bytes; the heap rounds it up to whole pages.
    pub len: u64,
    /// Zero; the new dma-buf's descriptor, set by the kernel.
    pub fd: u32,
    /// `O_CLOEXEC` and one of `O_RDONLY`, `O_WRONLY`, `O_RDWR`; EINVAL for others.
    pub fd_flags: u32,
    /// Zero: there are no heap flags yet.
    pub heap_flags: u64,
}

/// Allocates a dma-buf.
pub const DMA_HEAP_IOCTL_ALLOC: u32 = iowr::<DmaHeapAllocationData>(DMA_HEAP_IOC_MAGIC, 0);
