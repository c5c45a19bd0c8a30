//! What can go wrong, and the errno that a dma-buf gives for it.

use std::io;

use dmabuf_core::RangeError;
use rustix::io::Errno;

/// The result of a call on a buffer.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed. [`Error::errno`] is what a system call answers for it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A range that is no range of the buffer.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A size of zero or not of whole pages.
    #[error("{0} bytes is not a buffer size: give a multiple of the page size, {page}, but not 0", page = rustix::param::page_size())]
    Size(u64),
    /// More memory than there is.
    #[error("{0} bytes of memory are not available: free some, or ask for less")]
    Memory(u64),
    /// More than the user may have.
    #[error("over the quota of {what}: free buffers, or raise the quota")]
    Quota {
        /// `bytes` or `buffers`.
        what: &'static str,
    },
    /// The buffer has no CPU side.
    #[error("this buffer cannot be mapped: read it through its device side")]
    NotMappable,
    /// A device attached in one direction accesses in another.
    #[error("attached to {attached}, not to {wanted}: attach in the direction of the access")]
    Direction {
        /// What the attachment is for.
        attached: dmabuf_core::Access,
        /// What was tried.
        wanted: dmabuf_core::Access,
    },
    /// A signal arrived while waiting for a device.
    #[error("interrupted while waiting for a device: call again")]
    Interrupted,
    /// A device was still at it when the time was up.
    #[error("a device is still accessing the buffer: call again")]
    Busy,
    /// More brackets are open than a program can mean.
    #[error("too many brackets are open on this buffer: end some")]
    Brackets,
    /// A name that is too long.
    #[error("a buffer's name has at most 31 bytes")]
    Name,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// The errno that a system call gives for it: that of mainline's dma-buf where mainline has such
    /// a call, else the nearest documented one.
    pub fn errno(&self) -> Errno {
        match self {
            Error::Range(_) | Error::Size(_) | Error::NotMappable | Error::Name => Errno::INVAL,
            Error::Memory(_) | Error::Brackets => Errno::NOMEM,
            Error::Quota { .. } => Errno::DQUOT,
            Error::Direction { .. } => Errno::ACCESS,
            Error::Interrupted => Errno::INTR,
            Error::Busy => Errno::AGAIN,
            Error::Io(error) => Errno::from_io_error(error).unwrap_or(Errno::IO),
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Error::Io(errno.into())
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            // Kinds are what a caller restarts on, so they follow the errno.
            other => io::Error::new(io::Error::from(other.errno()).kind(), other),
        }
    }
}
