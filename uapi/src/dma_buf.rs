//! `linux/dma-buf.h`, the dma-buf lines of `linux/magic.h`, and the vendor kernels' `SYNC_PARTIAL`.

use super::ioctl::{iow, iowr};

/// The type of the dma-buf file system as `fstatfs(2)` tells it in `f_type`: `linux/magic.h`.
pub const DMA_BUF_MAGIC: u32 = 0x444d_4142;

/// The type of a FUSE file system as `fstatfs(2)` tells it: `linux/magic.h`. A served buffer is on
/// one; so are many other files.
pub const FUSE_SUPER_MAGIC: u32 = 0x6573_5546;

/// The type character of mainline's dma-buf ioctls.
pub const DMA_BUF_BASE: u8 = b'b';

/// The bracket's loads.
pub const DMA_BUF_SYNC_READ: u64 = 1 << 0;
/// The bracket's stores.
pub const DMA_BUF_SYNC_WRITE: u64 = 1 << 1;
/// Both.
pub const DMA_BUF_SYNC_RW: u64 = DMA_BUF_SYNC_READ | DMA_BUF_SYNC_WRITE;
/// The bracket begins. It is the *absence* of [`DMA_BUF_SYNC_END`].
pub const DMA_BUF_SYNC_START: u64 = 0 << 2;
/// The bracket ends.
pub const DMA_BUF_SYNC_END: u64 = 1 << 2;
/// All flags that `DMA_BUF_IOCTL_SYNC` knows; any other bit is EINVAL.
pub const DMA_BUF_SYNC_VALID_FLAGS_MASK: u64 = DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END;

/// The longest name that `DMA_BUF_SET_NAME` takes, its NUL included, in bytes.
pub const DMA_BUF_NAME_LEN: usize = 32;

/// Whether `DMA_BUF_IOCTL_SYNC` takes these flags: a direction, and no bit that it does not know.
/// The kernel answers EINVAL to all others.
pub const fn sync_flags_valid(flags: u64) -> bool {
    flags & !DMA_BUF_SYNC_VALID_FLAGS_MASK == 0 && flags & DMA_BUF_SYNC_RW != 0
}

/// The argument of [`DMA_BUF_IOCTL_SYNC`]: `struct dma_buf_sync`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmaBufSync {
    /// [`DMA_BUF_SYNC_START`] or [`DMA_BUF_SYNC_END`], and a direction.
    pub flags: u64,
}

impl DmaBufSync {
    /// The struct in these bytes, as a caller of the ioctl laid it out.
    pub const fn from_bytes(bytes: [u8; size_of::<Self>()]) -> Self {
        DmaBufSync { flags: u64::from_ne_bytes(bytes) }
    }
}

/// The argument of [`DMA_BUF_IOCTL_EXPORT_SYNC_FILE`]: `struct dma_buf_export_sync_file`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmaBufExportSyncFile {
    /// [`DMA_BUF_SYNC_READ`]: wait for writers. [`DMA_BUF_SYNC_WRITE`]: wait for all users.
    pub flags: u32,
    /// The new sync_file's descriptor, set by the kernel.
    pub fd: i32,
}

/// The argument of [`DMA_BUF_IOCTL_IMPORT_SYNC_FILE`]: `struct dma_buf_import_sync_file`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmaBufImportSyncFile {
    /// [`DMA_BUF_SYNC_READ`]: later writers wait for the fence. [`DMA_BUF_SYNC_WRITE`]: all do.
    pub flags: u32,
    /// The sync_file's descriptor.
    pub fd: i32,
}

/// The argument of [`DMA_BUF_IOCTL_SYNC_PARTIAL`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmaBufSyncPartial {
    /// As in [`DmaBufSync`].
    pub flags: u64,
    /// The range's first byte.
    pub offset: u32,
    /// The range's length in bytes.
    pub len: u32,
}

impl DmaBufSyncPartial {
    /// The struct in these bytes, as a caller of the ioctl laid it out.
    pub const fn from_bytes(bytes: [u8; size_of::<Self>()]) -> Self {
        let [a, b, c, d, e, f, g, h, offset @ .., i, j, k, l] = bytes;
        DmaBufSyncPartial {
            flags: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            offset: u32::from_ne_bytes(offset),
            len: u32::from_ne_bytes([i, j, k, l]),
        }
    }
}

/// Begins or ends a bracket over the whole buffer. EINVAL for bad flags; EINTR and EAGAIN ask to be
/// called again: `Documentation/driver-api/dma-buf.rst`.
pub const DMA_BUF_IOCTL_SYNC: u32 = iow::<DmaBufSync>(DMA_BUF_BASE, 0);

/// Names the buffer, as 32-bit Android programs call it. The argument is a pointer to a string,
/// whatever the encoded size says.
pub const DMA_BUF_SET_NAME_A: u32 = iow::<u32>(DMA_BUF_BASE, 1);

/// Names the buffer: at most 31 characters, EINVAL for more. The argument is a pointer to a string.
pub const DMA_BUF_SET_NAME_B: u32 = iow::<u64>(DMA_BUF_BASE, 1);

/// Returns the buffer's fences as a sync_file.
pub const DMA_BUF_IOCTL_EXPORT_SYNC_FILE: u32 = iowr::<DmaBufExportSyncFile>(DMA_BUF_BASE, 2);

/// Adds a sync_file's fence to the buffer.
pub const DMA_BUF_IOCTL_IMPORT_SYNC_FILE: u32 = iow::<DmaBufImportSyncFile>(DMA_BUF_BASE, 3);

/// Begins or ends a bracket over a range, on vendor kernels only (Rockchip's and Android's);
/// mainline answers ENOTTY. Its number is not mainline's second one: direction and size differ.
pub const DMA_BUF_IOCTL_SYNC_PARTIAL: u32 = iow::<DmaBufSyncPartial>(DMA_BUF_BASE, 2);
