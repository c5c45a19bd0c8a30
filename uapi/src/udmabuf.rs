//! `linux/udmabuf.h`: making a dma-buf of memfd pages, at `/dev/udmabuf`.

use super::ioctl::iow;

/// The new descriptor is close-on-exec.
pub const UDMABUF_FLAGS_CLOEXEC: u32 = 1;

/// The argument of [`UDMABUF_CREATE`]: `struct udmabuf_create`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdmabufCreate {
    /// A memfd sealed with F_SEAL_SHRINK and not with F_SEAL_WRITE; EBADFD for another file.
    pub memfd: u32,
    /// [`UDMABUF_FLAGS_CLOEXEC`].
    pub flags: u32,
    /// Where in the memfd the buffer starts, in bytes: page-aligned.
    pub offset: u64,
    /// The buffer's size in bytes: page-aligned.
    pub size: u64,
}

/// One piece of a buffer: `struct udmabuf_create_item`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdmabufCreateItem {
    /// As in [`UdmabufCreate`].
    pub memfd: u32,
    /// The header's `__pad`: zero.
    pub pad: u32,
    /// As in [`UdmabufCreate`].
    pub offset: u64,
    /// As in [`UdmabufCreate`].
    pub size: u64,
}

/// The head of [`UDMABUF_CREATE_LIST`]'s argument: `struct udmabuf_create_list`. `count` items of
/// [`UdmabufCreateItem`] follow it in memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdmabufCreateList {
    /// [`UDMABUF_FLAGS_CLOEXEC`].
    pub flags: u32,
    /// The number of items, by default at most 1024.
    pub count: u32,
    /// Where the items begin.
    pub list: [UdmabufCreateItem; 0],
}

/// Makes a dma-buf of one piece of a memfd and returns its descriptor.
pub const UDMABUF_CREATE: u32 = iow::<UdmabufCreate>(b'u', 0x42);

/// Makes a dma-buf of several pieces and returns its descriptor.
pub const UDMABUF_CREATE_LIST: u32 = iow::<UdmabufCreateList>(b'u', 0x43);
