//! `include/dmabuf.h` of this crate: what served buffers and the module's heaps answer, and no
//! header of the system has. All numbers are of type `'Z'`, as in the RFC of 2012.
//!
//! Other drivers use `'Z'` for numbers of their own: send these only to a file of which
//! `fstatfs(2)` says that it is a dma-buf or on FUSE.

use super::ioctl::{io, ior, iow};

/// The type character of these ioctls.
pub const DMA_BUF_ACCESS_BASE: u8 = b'Z';

/// Begins a read-write bracket over the whole buffer; takes no argument. Proposed by Rob Clark in
/// 2012, "RFC: dma-buf: userspace mmap support".
pub const DMA_BUF_IOCTL_PREPARE_ACCESS: u32 = io(DMA_BUF_ACCESS_BASE, 0);

/// Ends a bracket of [`DMA_BUF_IOCTL_PREPARE_ACCESS`]; takes no argument.
pub const DMA_BUF_IOCTL_FINISH_ACCESS: u32 = io(DMA_BUF_ACCESS_BASE, 1);

/// Tells what the buffer is capable of: fixed at export, for the buffer's lifetime, so that a
/// program asks before it maps. Other files answer ENOTTY.
pub const DMA_BUF_IOCTL_QUERY: u32 = ior::<DmaBufQuery>(DMA_BUF_ACCESS_BASE, 2);

/// Begins or ends a bracket over a range. EINVAL for flags that `DMA_BUF_IOCTL_SYNC` refuses, for
/// a length of 0 and for a range that ends past the end of the buffer.
pub const DMA_BUF_IOCTL_SYNC_RANGE: u32 = iow::<DmaBufSyncRange>(DMA_BUF_ACCESS_BASE, 3);

/// The buffer can be mapped for loads.
pub const DMA_BUF_QUERY_MMAP_READ: u32 = 1 << 0;
/// The buffer can be mapped for stores too; never set without [`DMA_BUF_QUERY_MMAP_READ`].
pub const DMA_BUF_QUERY_MMAP_WRITE: u32 = 1 << 1;
/// CPU and devices see one memory: no bracket copies or cleans anything.
pub const DMA_BUF_QUERY_COHERENT: u32 = 1 << 2;
/// A bracket is needed around CPU accesses.
pub const DMA_BUF_QUERY_BRACKET: u32 = 1 << 3;
/// A bracket's work grows with its range: `DMA_BUF_IOCTL_SYNC_RANGE` is worth calling.
pub const DMA_BUF_QUERY_RANGE: u32 = 1 << 4;
/// A bracket moves only pages that were touched, also when it names no range.
pub const DMA_BUF_QUERY_TRACKED: u32 = 1 << 5;
/// Accesses outside of brackets are reported.
pub const DMA_BUF_QUERY_CHECKED: u32 = 1 << 6;

/// The answer of [`DMA_BUF_IOCTL_QUERY`]. No byte of it is padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmaBufQuery {
    /// The buffer's size in bytes.
    pub size: u64,
    /// `DMA_BUF_QUERY_*`.
    pub flags: u32,
    /// The unit in which bytes move between CPU and devices, in bytes: a power of two.
    pub granule: u32,
    /// The exporter's name, NUL-terminated.
    pub exporter: [u8; DMA_BUF_QUERY_NAME_LEN],
    /// The buffer's name, NUL-terminated; empty if it has none.
    pub name: [u8; DMA_BUF_QUERY_NAME_LEN],
    /// Zero.
    pub reserved: [u64; 4],
}

/// The room for a name in [`DmaBufQuery`], its NUL included, in bytes.
pub const DMA_BUF_QUERY_NAME_LEN: usize = 32;

impl DmaBufQuery {
    /// The struct's bytes as a caller of the ioctl lays it out.
    pub fn to_bytes(&self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        let mut rest = &mut bytes[..];
        let mut put = |field: &[u8]| {
            let (head, tail) = core::mem::take(&mut rest).split_at_mut(field.len());
            head.copy_from_slice(field);
            rest = tail;
        };
        put(&self.size.to_ne_bytes());
        put(&self.flags.to_ne_bytes());
        put(&self.granule.to_ne_bytes());
        put(&self.exporter);
        put(&self.name);
        for word in self.reserved {
            put(&word.to_ne_bytes());
        }
        bytes
    }
}

/// The argument of [`DMA_BUF_IOCTL_SYNC_RANGE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmaBufSyncRange {
    /// As in [`DmaBufSync`](super::DmaBufSync).
    pub flags: u64,
    /// The range's first byte, from the buffer's start.
    pub offset: u64,
    /// The range's length in bytes, at least 1.
    pub len: u64,
}

impl DmaBufSyncRange {
    /// The struct in these bytes, as a caller of the ioctl laid it out.
    pub fn from_bytes(bytes: [u8; size_of::<Self>()]) -> Self {
        let mut fields = [0; 3];
        for (field, bytes) in fields.iter_mut().zip(bytes.chunks_exact(8)) {
            *field = u64::from_ne_bytes(bytes.try_into().expect("chunks of 8 bytes"));
        }
        let [flags, offset, len] = fields;
        DmaBufSyncRange { flags, offset, len }
    }
}
