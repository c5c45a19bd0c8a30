//! What a file descriptor is: a kernel dma-buf, a served one, plain memory, or something else.

use std::fmt;
use std::os::fd::BorrowedFd;

use dmabuf_uapi::{DMA_BUF_MAGIC, DmaBufQuery, FUSE_SUPER_MAGIC};
use rustix::fs;
use rustix::io::Errno;

use crate::device::{Respondent, device};
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

/// What an exporter says of itself, and who says it.
pub(crate) struct Answer {
    pub query: DmaBufQuery,
    pub by: Respondent,
}

/// What the descriptor is, and what the exporter says of itself, if it does.
///
/// Only files that may be dma-bufs are asked: to any other the ioctl's number could mean anything.
pub(crate) fn tell(fd: BorrowedFd<'_>) -> Result<(Kind, Option<Answer>), Error> {
    let file_system = fs::fstatfs(fd).map_err(|errno| Error::Inspect(errno.into()))?;
    // The field's type differs between architectures; the magic numbers have 32 bits on all.
    Ok(match file_system.f_type as u32 {
        DMA_BUF_MAGIC => (Kind::Kernel, answer_of_kernel(fd)?),
        FUSE_SUPER_MAGIC => match query(fd, || ioctl::query(fd))? {
            Some(query) => (Kind::Served, Some(Answer { query, by: Respondent::Itself })),
            None => (Kind::Other, None),
        },
        _ if fs::fcntl_get_seals(fd).is_ok() => (Kind::Memfd, None),
        _ => (Kind::Other, None),
    })
}

/// What a dma-buf of the kernel answers, or the module's device for it.
fn answer_of_kernel(fd: BorrowedFd<'_>) -> Result<Option<Answer>, Error> {
    if let Some(query) = query(fd, || ioctl::query(fd))? {
        return Ok(Some(Answer { query, by: Respondent::Itself }));
    }
    let Some(device) = device() else { return Ok(None) };
    let query = query(fd, || ioctl::device_query(device, fd))?;
    Ok(query.map(|query| Answer { query, by: Respondent::Device(device) }))
}

/// What the exporter says of itself; `None` if it does not know the question, or answers nonsense.
fn query(
    fd: BorrowedFd<'_>,
    ask: impl Fn() -> Result<DmaBufQuery, Errno>,
) -> Result<Option<DmaBufQuery>, Error> {
    match rustix::io::retry_on_intr(ask) {
        Ok(query) if query.size != 0 && query.granule.is_power_of_two() => Ok(Some(query)),
        Ok(_) | Err(Errno::NOTTY | Errno::NOSYS) => Ok(None),
        // A served file that has not been given its size.
        Err(Errno::INVAL) if is_empty(fd) => Err(Error::NoSize),
        Err(errno) => Err(Error::Inspect(errno.into())),
    }
}

fn is_empty(fd: BorrowedFd<'_>) -> bool {
    fs::fstat(fd).is_ok_and(|stat| stat.st_size == 0)
}
