//! The ioctls that the client sends.
//!
//! Callers see to it that the descriptor is a dma-buf or a file on FUSE: see [`crate::kind`].
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;

use dmabuf_uapi::*;
use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, Setter, ioctl};

/// `DMA_BUF_IOCTL_QUERY`; ENOTTY from exporters that do not know it.
pub(crate) fn query(fd: BorrowedFd<'_>) -> Result<DmaBufQuery, Errno> {
    // SAFETY: The number encodes that the call writes one `DmaBufQuery`, in which every bit
    // pattern is a value; exporters that do not know the number write nothing and fail.
    unsafe { ioctl(fd, Getter::<{ DMA_BUF_IOCTL_QUERY as Opcode }, DmaBufQuery>::new()) }
}

/// One of the ioctls that begin or end a bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// `DMA_BUF_IOCTL_SYNC_RANGE`.
    Range(DmaBufSyncRange),
    /// `DMA_BUF_IOCTL_SYNC_PARTIAL`, of vendor kernels.
    Partial(DmaBufSyncPartial),
    /// `DMA_BUF_IOCTL_SYNC`.
    Whole(DmaBufSync),
}

/// Begins or ends a bracket.
pub(crate) fn sync(fd: BorrowedFd<'_>, sync: Sync) -> Result<(), Errno> {
    const RANGE: Opcode = DMA_BUF_IOCTL_SYNC_RANGE as Opcode;
    const PARTIAL: Opcode = DMA_BUF_IOCTL_SYNC_PARTIAL as Opcode;
    const WHOLE: Opcode = DMA_BUF_IOCTL_SYNC as Opcode;
    // SAFETY: Each number encodes that the call reads one struct of the type beside it, and it
    // stores nothing to this program's memory.
    unsafe {
        match sync {
            Sync::Range(argument) => ioctl(fd, Setter::<RANGE, _>::new(argument)),
            Sync::Partial(argument) => ioctl(fd, Setter::<PARTIAL, _>::new(argument)),
            Sync::Whole(argument) => ioctl(fd, Setter::<WHOLE, _>::new(argument)),
        }
    }
}
