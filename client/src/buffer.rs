//! A buffer: a file descriptor, and what is known of it before anything is mapped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use dmabuf_core::{Access, CpuAccess, Range};
use rustix::fs::{self, Mode, OFlags};

use crate::bracket::Brackets;
use crate::device::Respondent;
use crate::{Bytes, Capability, Error, Kind, MapOptions, Mapping, Route, kind};

/// A buffer that devices and programs share.
///
/// A clone is the same buffer behind the same descriptor, which closes with the last clone and the
/// last [`Mapping`].
#[derive(Clone, Debug)]
pub struct DmaBuf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fd: OwnedFd,
    size: u64,
    kind: Kind,
    capability: Capability,
    brackets: Brackets,
    respondent: Respondent,
}

impl DmaBuf {
    /// The buffer behind a descriptor, however it came here: a heap, `SCM_RIGHTS`, V4L2, DRM.
    ///
    /// Every open file is accepted, so that it can be told what it is; a [`Kind::Other`] is refused
    /// only when it is to be mapped.
    ///
    /// # Errors
    ///
    /// [`Error::Inspect`].
    pub fn from_fd(fd: OwnedFd) -> Result<DmaBuf, Error> {
        let stat = fs::fstat(&fd).map_err(|errno| Error::Inspect(errno.into()))?;
        let (kind, answer) = kind::tell(fd.as_fd())?;
        let query = answer.as_ref().map(|answer| &answer.query);
        let capability = Capability::ask(fd.as_fd(), kind, query)?;
        let brackets = Brackets::new(kind, query.is_some());
        let respondent = answer.map_or(Respondent::Itself, |answer| answer.by);
        let size = stat.st_size.try_into().unwrap_or(0);
        Ok(DmaBuf(Arc::new(Inner { fd, size, kind, capability, brackets, respondent })))
    }

    /// Opens a served buffer by its path: read-write where its permissions allow that, read-only
    /// otherwise, which [`Capability::mmap`] then tells.
    ///
    /// # Errors
    ///
    /// [`Error::Open`] and [`Error::Inspect`].
    pub fn open(path: impl AsRef<Path>) -> Result<DmaBuf, Error> {
        let path = path.as_ref();
        let open = |mode| fs::open(path, mode | OFlags::CLOEXEC, Mode::empty());
        let fd = match open(OFlags::RDWR) {
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::ROFS) => open(OFlags::RDONLY),
            opened => opened,
        };
        DmaBuf::from_fd(
            fd.map_err(|errno| Error::Open { path: path.to_owned(), source: errno.into() })?,
        )
    }

    /// The size in bytes: `fstat(2)`.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// What the descriptor is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What can be done with the buffer; known before it is mapped, and never changing.
    pub fn capability(&self) -> &Capability {
        &self.0.capability
    }

    /// Maps the whole buffer for loads and stores.
    ///
    /// # Errors
    ///
    /// As [`Mapping::new`].
    pub fn map(&self) -> Result<Mapping, Error> {
        self.map_with(&MapOptions::new())
    }

    /// Maps the buffer as the options say.
    ///
    /// # Errors
    ///
    /// As [`Mapping::new`], and [`Error::NotABuffer`].
    pub fn map_with(&self, options: &MapOptions) -> Result<Mapping, Error> {
        match self.0.kind {
            Kind::Other => Err(Error::NotABuffer),
            Kind::Kernel | Kind::Served | Kind::Memfd => Mapping::new(self.clone(), options),
        }
    }

    /// The buffer's bytes, by the first of the routes that leads there. [`Route::standard`] are
    /// the ones that this crate knows of itself.
    ///
    /// # Errors
    ///
    /// [`Error::NoRoute`], with the reason of each route.
    pub fn bytes<'a>(&self, routes: impl IntoIterator<Item = Route<'a>>) -> Result<Bytes, Error> {
        Bytes::find(self, routes)
    }
}

impl AsFd for DmaBuf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

/// The ioctls as they are: an error is the system call's, EINTR and EAGAIN among them. A
/// [`Mapping`]'s guards restart those.
///
/// Where the exporter has no brackets over a range, they are over the whole buffer. A memfd's have
/// nothing to do.
impl CpuAccess for DmaBuf {
    type Error = io::Error;

    fn begin_cpu_access(&self, access: Access, range: Range) -> io::Result<()> {
        let send = |sync| self.0.respondent.sync(self.as_fd(), sync);
        Ok(self.0.brackets.begin(access, range, self.0.size, send)?)
    }

    fn end_cpu_access(&self, access: Access, range: Range) -> io::Result<()> {
        let send = |sync| self.0.respondent.sync(self.as_fd(), sync);
        Ok(self.0.brackets.end(access, range, self.0.size, send)?)
    }
}
