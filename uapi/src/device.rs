//! `/dev/dmabuf`, the device of the kernel module: `include/dmabuf.h` of this crate.
//!
//! The kernel answers the ioctls of a dma-buf's own descriptor itself and hands unknown ones to
//! nobody, so the module answers them here, for a dma-buf that a descriptor in the argument names.
//! All of them fail with EBADF for a descriptor that is not open, with EINVAL for a file that is no
//! dma-buf, for `pad` that is not zero and for what the ioctl of the same name on a buffer refuses,
//! and with ENOTTY for a dma-buf of another exporter.
//!
//! `read(2)` gives the accesses outside of brackets that `checked` has found and this open file has
//! not read yet, oldest first, one on a line:
//!
//! ```text
//! pid=123 comm=edit heap=checked inode=17 name=frame offset=0x38000 access=write allowed=read
//! ```
//!
//! `access` is `read` or `write`, `allowed` what the process's open brackets allowed there: `none`,
//! `read` or `write`. In place of the two, `mistake` tells of a bracket: `end-without-start`,
//! `end-other-direction`, `end-other-range`, or `start-without-end` of a process that has ended. It
//! blocks until there is one, or fails with EAGAIN if the file is open with O_NONBLOCK.

use super::{
    access::{DmaBufQuery, DmaBufSyncRange, DMA_BUF_ACCESS_BASE, DMA_BUF_QUERY_NAME_LEN},
    dma_buf::DmaBufSyncPartial,
    ioctl::{iow, iowr},
};

/// The device's place.
pub const DMABUF_DEVICE: &str = "/dev/dmabuf";

/// `DMA_BUF_IOCTL_QUERY` for the buffer named.
pub const DMABUF_DEVICE_QUERY: u32 = iowr::<DmabufDeviceQuery>(DMA_BUF_ACCESS_BASE, 0x10);

/// `DMA_BUF_IOCTL_SYNC_RANGE` for the buffer named; EINTR and EAGAIN as it.
pub const DMABUF_DEVICE_SYNC_RANGE: u32 = iow::<DmabufDeviceSyncRange>(DMA_BUF_ACCESS_BASE, 0x11);

/// `DMA_BUF_IOCTL_SYNC_PARTIAL` for the buffer named; EINTR and EAGAIN as it.
pub const DMABUF_DEVICE_SYNC_PARTIAL: u32 =
    iow::<DmabufDeviceSyncPartial>(DMA_BUF_ACCESS_BASE, 0x12);

/// Tells what has happened to the buffer named since it was allocated.
pub const DMABUF_DEVICE_STATS: u32 = iowr::<DmabufDeviceStats>(DMA_BUF_ACCESS_BASE, 0x13);

/// Allocates a buffer from a heap of the module's, also one that is not in `/dev/dma_heap`: ENOENT for
/// a heap that there is not, otherwise as `DMA_HEAP_IOCTL_ALLOC`.
pub const DMABUF_DEVICE_ALLOC: u32 = iowr::<DmabufDeviceAlloc>(DMA_BUF_ACCESS_BASE, 0x14);

/// The argument of [`DMABUF_DEVICE_QUERY`]. No byte of it is padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmabufDeviceQuery {
    /// The buffer's descriptor.
    pub fd: i32,
    /// Zero.
    pub pad: u32,
    /// The answer.
    pub query: DmaBufQuery,
}

/// The argument of [`DMABUF_DEVICE_SYNC_RANGE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmabufDeviceSyncRange {
    /// The buffer's descriptor.
    pub fd: i32,
    /// Zero.
    pub pad: u32,
    /// The bracket.
    pub sync: DmaBufSyncRange,
}

/// The argument of [`DMABUF_DEVICE_SYNC_PARTIAL`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmabufDeviceSyncPartial {
    /// The buffer's descriptor.
    pub fd: i32,
    /// Zero.
    pub pad: u32,
    /// The bracket.
    pub sync: DmaBufSyncPartial,
}

/// The argument of [`DMABUF_DEVICE_STATS`]: counts since the buffer was allocated. No byte of it
/// is padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmabufDeviceStats {
    /// The buffer's descriptor.
    pub fd: i32,
    /// Zero.
    pub pad: u32,
    /// Brackets begun.
    pub begins: u64,
    /// Brackets ended.
    pub ends: u64,
    /// Bytes synced for devices: what the CPU wrote.
    pub bytes_to_device: u64,
    /// Bytes synced for the CPU: what devices wrote.
    pub bytes_from_device: u64,
    /// Page faults in the buffer's mappings.
    pub faults: u64,
    /// Accesses outside of brackets.
    pub violations: u64,
    /// Zero.
    pub reserved: [u64; 2],
}

/// The argument of [`DMABUF_DEVICE_ALLOC`]. No byte of it is padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmabufDeviceAlloc {
    /// The new buffer's descriptor, set by the module.
    pub fd: i32,
    /// `O_CLOEXEC` and one of `O_RDONLY`, `O_WRONLY`, `O_RDWR`; EINVAL for others.
    pub fd_flags: u32,
    /// The size wanted, in bytes, rounded up to whole pages.
    pub len: u64,
    /// The heap's name, and zeroes after it.
    pub heap: [u8; DMA_BUF_QUERY_NAME_LEN],
}

/// A record that `read(2)` of the device gives, as the words of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmabufRecord<'a> {
    /// The process that did it.
    pub pid: u32,
    /// The heap that the buffer is from.
    pub heap: &'a str,
    /// The buffer's inode number, as `fstat(2)` tells it.
    pub inode: u64,
    /// The buffer's name; empty if it has none.
    pub name: &'a str,
    /// Where it happened, in bytes from the buffer's start.
    pub offset: u64,
    /// What it was.
    pub event: DmabufEvent<'a>,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmabufEvent<'a> {
    /// An access outside of a bracket: what it was, and what the process's brackets allowed there.
    Access(&'a str, Option<&'a str>),
    /// A mistake with a bracket.
    Mistake(&'a str),
}

impl<'a> DmabufRecord<'a> {
    /// The record in a line, without its end; `None` if it is none.
    pub fn parse(line: &'a str) -> Option<DmabufRecord<'a>> {
        let word =
            |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let event = match (word("mistake"), word("access")) {
            (Some(mistake), _) => DmabufEvent::Mistake(mistake),
            (None, Some(access)) => DmabufEvent::Access(access, word("allowed")),
            (None, None) => return None,
        };
        Some(DmabufRecord {
            pid: word("pid")?.parse().ok()?,
            heap: word("heap")?,
            inode: word("inode")?.parse().ok()?,
            name: word("name")?,
            offset: u64::from_str_radix(word("offset")?.strip_prefix("0x")?, 16).ok()?,
            event,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_by_its_words() {
        let line =
            "pid=7 comm=a heap=checked inode=3 name=x offset=0x2000 access=write allowed=read";
        let event = DmabufEvent::Access("write", Some("read"));
        let record =
            DmabufRecord { pid: 7, heap: "checked", inode: 3, name: "x", offset: 0x2000, event };
        assert_eq!(DmabufRecord::parse(line), Some(record));
        let line = "pid=7 comm=a heap=checked inode=3 name= offset=0x0 mistake=end-without-start";
        let record = DmabufRecord::parse(line).unwrap();
        assert_eq!(record.event, DmabufEvent::Mistake("end-without-start"));
        assert_eq!(record.name, "");
        assert_eq!(DmabufRecord::parse("something else"), None);
        assert_eq!(DmabufRecord::parse(""), None);
    }
}
