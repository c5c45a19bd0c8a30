//! What a file descriptor is: a kernel dma-buf, a served one, plain memory, or something else.

use std::fmt;
use std::os::fd::BorrowedFd;

use dmabuf_uapi::{DMA_BUF_MAGIC, DmaBufQuery, FUSE_SUPER_MAGIC};
use rustix::fs;

use crate::{Error, ioctl};

/// What a buffer's file descriptor is, told by its file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A dma-buf of the kernel: `fstatfs(2)` says `DMA_BUF_MAGIC`.
    Kernel,
    /// A buffer of the dmabuf service: on FUSE, and it answers `DMA_BUF_IOCTL_QUERY`.
    Served,
    /// A memfd, or another file of tmpfs or hugetlbfs: it has seals, `fcntl(2)` F_GET_SEALS. Plain
    /// coherent memory whose brackets have nothing to do. Without F_SEAL_SHRINK another process can
    /// cut it short, and an access past its new end raises SIGBUS: see
    /// [`Capability::fixed_size`](crate::Capability::fixed_size).
    Memfd,
    /// Something else. It is neither mapped nor sent any ioctl.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Kernel => "kernel dma-buf",
            Kind::Served => "served dma-buf",
            Kind::Memfd => "memfd",
            Kind::Other => "no buffer",
        })
    }
}

/// What the descriptor is, and what the exporter says of itself, if it does.
///
/// Only files that may be dma-bufs are asked: to any other the ioctl's number could mean anything.
pub(crate) fn tell(fd: BorrowedFd<'_>) -> Result<(Kind, Option<DmaBufQuery>), Error> {
    let file_system = fs::fstatfs(fd).map_err(|errno| Error::Inspect(errno.into()))?;
    // The field's type differs between architectures; the magic numbers have 32 bits on all.
    Ok(match file_system.f_type as u32 {
        DMA_BUF_MAGIC => (Kind::Kernel, ioctl::query(fd).ok()),
        FUSE_SUPER_MAGIC => match ioctl::query(fd) {
            Ok(query) => (Kind::Served, Some(query)),
            Err(_) => (Kind::Other, None),
        },
        _ if fs::fcntl_get_seals(fd).is_ok() => (Kind::Memfd, None),
        _ => (Kind::Other, None),
    })
}
