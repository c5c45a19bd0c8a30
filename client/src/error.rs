//! What can go wrong, said so that the reader knows what to do next.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use dmabuf_core::{Access, Range};
use rustix::io::Errno;

use crate::frame::BadFrame;
use crate::heap::{HeapFailure, Refusal};
use crate::parcel::BadParcel;
use crate::{advice, fence};

/// Why a buffer could not be allocated, opened, mapped or accessed.
///
/// The message names the reason and the next step. [`Error::errno`] is the system's own number.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path could not be opened: `open(2)`.
    #[error("cannot open {}: {source}{}", path.display(), advice::opening(path, source))]
    Open {
        /// What was to be opened.
        path: PathBuf,
        /// What `open(2)` said.
        source: io::Error,
    },

    /// The descriptor does not say what it is: `fstat(2)`, `fstatfs(2)` or `fcntl(2)` failed.
    #[error("cannot tell what the descriptor is: {0}; is it open, and not by O_PATH?")]
    Inspect(#[source] io::Error),

    /// The descriptor is neither a dma-buf nor plain memory, so no bracket could ever be begun.
    #[error(
        "the descriptor is no dma-buf: its file system is neither the kernel's dma-buf one nor the \
         dmabuf service's, and it is no memfd; pass the descriptor of the buffer itself"
    )]
    NotABuffer,

    /// A range without bytes: one that is given empty or backwards, or a whole buffer of size 0.
    #[error(
        "the range is empty; if the whole buffer was meant, it has no bytes yet: a served buffer \
         gets its size by ftruncate, once"
    )]
    EmptyRange,

    /// A range that is not inside of what it is taken from. Mainline's errno for it is EINVAL.
    #[error("bytes {start:#x}..{end:#x} are not there: accessible are {within:#x?}")]
    OutOfBounds {
        /// The first byte asked for.
        start: u64,
        /// One past the last byte asked for.
        end: u64,
        /// The bytes there are: of the buffer, of the mapping, or of the view.
        within: std::ops::Range<u64>,
    },

    /// The exporter does not let programs map this buffer: `mmap(2)` gave EINVAL or ENODEV.
    #[error(
        "the buffer cannot be mapped: its exporter has no mmap ({source}); reach its bytes by \
         another route, with DmaBuf::bytes"
    )]
    Unmappable {
        /// What `mmap(2)` said.
        source: io::Error,
    },

    /// The descriptor is not open for writing, or not at all for reading: `mmap(2)` gave EACCES.
    #[error(
        "the descriptor's access mode does not allow the mapping ({source}); open it read-write \
         (O_RDWR, DRM_RDWR), or only read: MapOptions::read_only"
    )]
    AccessMode {
        /// What `mmap(2)` said.
        source: io::Error,
    },

    /// The memory is sealed against writing, or the system forbids the mapping: `mmap(2)` gave EPERM.
    #[error(
        "the mapping is forbidden ({source}): a memfd may be sealed with F_SEAL_WRITE or \
         F_SEAL_FUTURE_WRITE; map it with MapOptions::read_only"
    )]
    Sealed {
        /// What `mmap(2)` said.
        source: io::Error,
    },

    /// No address space, or too many mappings: `mmap(2)` gave ENOMEM.
    #[error(
        "no room for a mapping of {len} bytes ({source}): free memory, or raise the limit that was \
         met (ulimit -v, sysctl vm.max_map_count, vm.overcommit_memory)"
    )]
    NoRoom {
        /// The length of the mapping in bytes.
        len: u64,
        /// What `mmap(2)` said.
        source: io::Error,
    },

    /// Too much memory is locked: `mmap(2)` gave EAGAIN.
    #[error(
        "the mapping of {len} bytes would lock too much memory ({source}): raise ulimit -l, or do \
         without mlockall(MCL_FUTURE)"
    )]
    Locked {
        /// The length of the mapping in bytes.
        len: u64,
        /// What `mmap(2)` said.
        source: io::Error,
    },

    /// The mapping failed for a reason that `mmap(2)` does not explain in general.
    #[error("the buffer cannot be mapped: {source}")]
    Map {
        /// What `mmap(2)` said.
        source: io::Error,
    },

    /// Stores were asked for in a mapping that was made with `MapOptions::read_only`.
    #[error(
        "the mapping is read-only; map the buffer without MapOptions::read_only to store to it"
    )]
    ReadOnlyMapping,

    /// The bracket did not begin: no byte may be touched.
    #[error("the {access} bracket over {range} did not begin: {source}{}", bracket_hint(source))]
    Begin {
        /// The bracket's direction.
        access: Access,
        /// The bracket's range in the buffer.
        range: Range,
        /// What the exporter said; never EINTR or EAGAIN, which are restarted.
        source: io::Error,
    },

    /// The bracket did not end as it should: what was stored may not have reached the devices.
    #[error("the {access} bracket over {range} did not end: {source}{}", bracket_hint(source))]
    End {
        /// The bracket's direction.
        access: Access,
        /// The bracket's range in the buffer.
        range: Range,
        /// What the exporter said; never EINTR or EAGAIN, which are restarted.
        source: io::Error,
    },

    /// The buffer did not take the name.
    #[error("the buffer cannot be named {name:?}: {source}{}", advice::naming(source))]
    Name {
        /// The name.
        name: String,
        /// What the exporter said, or the kernel's documentation says to the like.
        source: io::Error,
    },

    /// The fences did not signal in time.
    #[error("devices have not finished with the buffer after {after:?}")]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },

    /// Fences could not be waited for, exported, imported or told of.
    #[error("cannot {what} the fences: {source}{}", fence::hint(source))]
    Fence {
        /// What was to be done with them.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },

    /// A frame cannot be what it is said to be.
    #[error("the frame's description is wrong: {0}")]
    Frame(#[from] BadFrame),

    /// What is to be sent, or what came, is no good.
    #[error("the parcel is refused: {0}")]
    Parcel(#[from] BadParcel),

    /// The socket failed.
    #[error("the socket that buffers go over: {0}")]
    Socket(#[source] io::Error),

    /// The path is no heap.
    #[error(
        "{} is no heap: it is neither a node of /dev/dma_heap, nor /dev/udmabuf, nor the directory \
         of a served heap, MOUNT/NAME (told by /sys/dev/char and the file system)",
        path.display()
    )]
    NotAHeap {
        /// What was taken for a heap.
        path: PathBuf,
    },

    /// The heap is not like what is needed, or it is not known to be.
    #[error("it is not known to be {what}; Heap::open takes it all the same")]
    Unsuitable {
        /// The property that is missing.
        what: &'static str,
    },

    /// None of the heaps that were asked for can be used.
    #[error("no heap will do{}", each(.0))]
    NoHeap(Vec<HeapFailure>),

    /// The heap did not allocate.
    #[error("{heap} does not allocate {size} bytes: {source}{}", advice::allocating(source))]
    Allocate {
        /// The heap's name.
        heap: String,
        /// The size that was asked for, in bytes.
        size: u64,
        /// What the heap said.
        source: io::Error,
    },

    /// udmabuf makes no dma-buf of this memory.
    #[error("udmabuf refuses: {0}")]
    Udmabuf(#[from] Refusal),

    /// No route led to the buffer's bytes.
    #[error("no route leads to the buffer's bytes{}", each(.0))]
    NoRoute(Vec<RouteFailure>),
}

/// Why one [`Route`](crate::Route) did not lead to a buffer's bytes.
#[derive(Debug, thiserror::Error)]
#[error("{route}: {error}")]
pub struct RouteFailure {
    /// The route's name.
    pub route: String,
    /// Why it failed.
    #[source]
    pub error: io::Error,
}

impl Error {
    /// The system's error number: what a system call said, or what mainline says to the like;
    /// `None` if there is none.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::NotABuffer | Error::NotAHeap { .. } => Some(Errno::NOTTY.raw_os_error()),
            Error::EmptyRange | Error::OutOfBounds { .. } | Error::Frame(_) | Error::Parcel(_) => {
                Some(Errno::INVAL.raw_os_error())
            }
            Error::TimedOut { .. } => Some(Errno::TIMEDOUT.raw_os_error()),
            Error::ReadOnlyMapping => Some(Errno::ACCESS.raw_os_error()),
            Error::Udmabuf(refusal) => Some(refusal.errno().raw_os_error()),
            Error::NoRoute(_) | Error::NoHeap(_) | Error::Unsuitable { .. } => None,
            Error::Inspect(source)
            | Error::Socket(source)
            | Error::Open { source, .. }
            | Error::Allocate { source, .. }
            | Error::Name { source, .. }
            | Error::Fence { source, .. }
            | Error::Unmappable { source }
            | Error::AccessMode { source }
            | Error::Sealed { source }
            | Error::NoRoom { source, .. }
            | Error::Locked { source, .. }
            | Error::Map { source }
            | Error::Begin { source, .. }
            | Error::End { source, .. } => source.raw_os_error(),
        }
    }

    /// The reason behind an errno of `mmap(2)` for `len` bytes from the buffer's start, shared.
    /// Offset, length and flags are known to be good, which leaves one reason for most.
    pub(crate) fn from_mmap(errno: Errno, len: u64) -> Error {
        let source = errno.into();
        match errno {
            Errno::INVAL | Errno::NODEV => Error::Unmappable { source },
            Errno::ACCESS => Error::AccessMode { source },
            Errno::PERM => Error::Sealed { source },
            Errno::NOMEM => Error::NoRoom { len, source },
            Errno::AGAIN => Error::Locked { len, source },
            _ => Error::Map { source },
        }
    }
}

impl From<Error> for io::Error {
    /// Keeps the whole [`Error`] inside, under the kind of its errno.
    fn from(error: Error) -> io::Error {
        let kind = error.errno().map(|errno| io::Error::from_raw_os_error(errno).kind());
        io::Error::new(kind.unwrap_or(io::ErrorKind::Other), error)
    }
}

fn bracket_hint(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOTTY) => "; the file answers no bracket ioctl, so it is no dma-buf",
        Some(Errno::NOTCONN | Errno::CONNABORTED) => "; the service of the buffer is gone",
        Some(Errno::NODEV) => "; the exporter's device is gone",
        _ => "",
    }
}

fn each(failures: &[impl fmt::Display]) -> String {
    failures.iter().map(|failure| format!("; {failure}")).collect()
}
