//! A buffer of the module's, by the ioctls as they are.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use dmabuf_uapi::*;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mm::ProtFlags;

use crate::sys::{Map, adopt, ioctl};

/// The heaps that the module adds by itself: those whose buffers can be mapped.
pub const HEAPS: [&str; 4] = ["coherent", "bounce", "tracked", "checked"];

/// A dma-buf.
#[derive(Debug)]
pub struct Buffer {
    fd: OwnedFd,
    size: usize,
}

impl Buffer {
    /// A buffer of a heap in `/dev/dma_heap`.
    pub fn allocate(heap: &str, size: usize) -> Result<Buffer, Errno> {
        let node = File::open(Path::new("/dev/dma_heap").join(heap));
        let node = node.unwrap_or_else(|error| panic!("heap {heap}: {error}"));
        let mut data = DmaHeapAllocationData {
            len: size as u64,
            fd_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
            ..DmaHeapAllocationData::default()
        };
        ioctl(node, DMA_HEAP_IOCTL_ALLOC, &mut data)?;
        Ok(Buffer::adopt(data.fd as i32, size))
    }

    /// The same by way of `/dev/dmabuf`, which has heaps that are not in `/dev/dma_heap`.
    pub fn allocate_by_device(heap: &str, size: usize) -> Result<Buffer, Errno> {
        let mut data = DmabufDeviceAlloc {
            fd: -1,
            fd_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
            len: size as u64,
            heap: [0; DMA_BUF_QUERY_NAME_LEN],
        };
        data.heap[..heap.len()].copy_from_slice(heap.as_bytes());
        // One that is opened for this, so that it does not keep the module.
        ioctl(open_device(), DMABUF_DEVICE_ALLOC, &mut data)?;
        Ok(Buffer::adopt(data.fd, size))
    }

    /// The buffer behind a descriptor that a driver has just made.
    pub fn adopt(fd: i32, size: usize) -> Buffer {
        Buffer { fd: adopt(fd), size }
    }

    /// A new one, which there must be.
    pub fn of(heap: &str, size: usize) -> Buffer {
        Buffer::allocate(heap, size).unwrap_or_else(|errno| panic!("heap {heap}: {errno}"))
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The buffer without what is known of it.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// All of it, for loads and stores.
    pub fn map(&self) -> Map {
        self.map_part(0..self.size)
    }

    /// Some pages, for loads and stores.
    pub fn map_part(&self, range: Range<usize>) -> Map {
        Map::new(self, range, ProtFlags::READ | ProtFlags::WRITE).expect("a buffer can be mapped")
    }

    /// `DMA_BUF_IOCTL_SYNC`, once.
    pub fn try_sync(&self, flags: u64) -> Result<(), Errno> {
        ioctl(self, DMA_BUF_IOCTL_SYNC, &mut DmaBufSync { flags }).map(drop)
    }

    /// `DMA_BUF_IOCTL_SYNC`, which must succeed.
    pub fn sync(&self, flags: u64) {
        let synced = again(|| self.try_sync(flags));
        synced.unwrap_or_else(|errno| panic!("SYNC {flags}: {errno}"));
    }

    /// `DMABUF_DEVICE_SYNC_RANGE`, once.
    pub fn try_sync_range(&self, flags: u64, range: Range<usize>) -> Result<(), Errno> {
        let sync = DmaBufSyncRange { flags, offset: range.start as u64, len: range.len() as u64 };
        let mut asked = DmabufDeviceSyncRange { fd: self.fd.as_raw_fd(), pad: 0, sync };
        ioctl(device(), DMABUF_DEVICE_SYNC_RANGE, &mut asked).map(drop)
    }

    /// `DMABUF_DEVICE_SYNC_RANGE`, which must succeed.
    pub fn sync_range(&self, flags: u64, range: Range<usize>) {
        let synced = again(|| self.try_sync_range(flags, range.clone()));
        synced.unwrap_or_else(|errno| panic!("SYNC_RANGE {flags} {range:?}: {errno}"));
    }

    /// `DMABUF_DEVICE_QUERY`.
    pub fn query(&self) -> DmaBufQuery {
        let mut asked = DmabufDeviceQuery { fd: self.fd.as_raw_fd(), ..Default::default() };
        ioctl(device(), DMABUF_DEVICE_QUERY, &mut asked).expect("the module's buffers answer");
        asked.query
    }

    /// `DMABUF_DEVICE_STATS`.
    pub fn stats(&self) -> DmabufDeviceStats {
        let mut asked = DmabufDeviceStats { fd: self.fd.as_raw_fd(), ..Default::default() };
        ioctl(device(), DMABUF_DEVICE_STATS, &mut asked).expect("the module's buffers answer");
        asked
    }
}

impl AsFd for Buffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `/dev/dmabuf`, opened at the first use.
fn device() -> BorrowedFd<'static> {
    static DEVICE: OnceLock<File> = OnceLock::new();
    DEVICE.get_or_init(open_device).as_fd()
}

fn open_device() -> File {
    File::open(DMABUF_DEVICE).unwrap_or_else(|error| panic!("{DMABUF_DEVICE}: {error}"))
}

/// Calls again on EINTR and EAGAIN, as linux/dma-buf.h says.
fn again(call: impl Fn() -> Result<(), Errno>) -> Result<(), Errno> {
    loop {
        match call() {
            Err(Errno::INTR | Errno::AGAIN) => {}
            result => return result,
        }
    }
}
