//! `/dev/dma_heap/NAME`: the kernel's heaps.

use std::os::fd::OwnedFd;
use std::path::Path;

use dmabuf_uapi::{DMA_HEAP_IOCTL_ALLOC, DmaHeapAllocationData};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::super::sys::{self, adopt};
use super::{Buffer, Exporter, Wanted, open};

/// The heap.
pub struct Heap(OwnedFd);

impl Heap {
    /// Opens the node.
    pub fn open(path: &Path) -> Result<Heap, Errno> {
        Ok(Heap(open(path, OFlags::RDONLY)?))
    }

    /// DMA_HEAP_IOCTL_ALLOC.
    pub fn allocate(&self, mut argument: DmaHeapAllocationData) -> Result<OwnedFd, Errno> {
        sys::ioctl(&self.0, DMA_HEAP_IOCTL_ALLOC, &mut argument)?;
        adopt(argument.fd as i32)
    }
}

impl Exporter for Heap {
    fn create(&self, wanted: Wanted) -> Result<Buffer, Errno> {
        let mut flags = if wanted.writable { OFlags::RDWR } else { OFlags::RDONLY };
        flags.set(OFlags::CLOEXEC, wanted.cloexec);
        flags.set(OFlags::TRUNC, wanted.unknown_flag);
        let fd_flags = flags.bits();
        let argument = DmaHeapAllocationData { len: wanted.size, fd: 0, fd_flags, heap_flags: 0 };
        Buffer::new(self.allocate(argument)?)
    }
}
