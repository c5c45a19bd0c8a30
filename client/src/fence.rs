//! Waiting for what devices still do with a buffer: implicit fences, by poll(2).
//!
//! `Documentation/driver-api/dma-buf.rst`, "Implicit Fence Poll Support".

use std::io;
use std::ops::RangeBounds;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::direction::{Direction, Read, ReadWrite, Write};
use crate::{
    Access, DmaBuf, Error, Guard, Kind, Mappable, Mapping, ReadGuard, ReadWriteGuard, Ready,
    SyncFile, WriteGuard, ioctl,
};

/// What poll(2) reports once an access of this direction conflicts with no fence: loads wait for
/// devices that write, stores for all.
pub(crate) fn events(access: Access) -> PollFlags {
    match access {
        Access::Read => PollFlags::IN,
        Access::Write | Access::ReadWrite => PollFlags::OUT,
    }
}

/// Waits until the file reports one of `events`; for ever without a timeout.
pub(crate) fn wait(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    timeout: Option<Duration>,
) -> Result<(), Error> {
    // A deadline that the clock cannot express is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut files = [PollFd::from_borrowed_fd(fd, events)];
        match poll(&mut files, left.as_ref()) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::Fence { what: "wait", source: errno.into() }),
            Ok(0) => return Err(Error::TimedOut { after: timeout.unwrap_or_default() }),
            Ok(_) if files[0].revents().intersects(events) => return Ok(()),
            Ok(_) => return Err(Error::Fence { what: "wait", source: Errno::IO.into() }),
        }
    }
}

/// Whether the file reports one of `events` now.
pub(crate) fn is_ready(fd: BorrowedFd<'_>, events: PollFlags) -> Result<bool, Error> {
    match wait(fd, events, Some(Duration::ZERO)) {
        Ok(()) => Ok(true),
        Err(Error::TimedOut { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// **No fence is not the same as idle**: a driver without implicit synchronization adds none, as
/// NVIDIA's does, and then none of these waits.
impl DmaBuf {
    /// Whether a bracket of this direction would not have to wait for a fence, now.
    ///
    /// # Errors
    ///
    /// [`Error::NotABuffer`] and [`Error::Fence`].
    pub fn is_ready(&self, access: Access) -> Result<bool, Error> {
        is_ready(self.pollable()?, events(access))
    }

    /// Waits until the devices' fences that conflict with such an access have signalled: those of
    /// writers for loads, all of them for stores. `None` waits for ever.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::NotABuffer`] and [`Error::Fence`].
    pub fn wait(&self, access: Access, timeout: Option<Duration>) -> Result<(), Error> {
        wait(self.pollable()?, events(access), timeout)
    }

    /// The same as a future, for any runtime.
    pub fn ready(&self, access: Access) -> Ready<DmaBuf> {
        Ready::new(self.clone(), events(access))
    }

    /// The buffer's fences, as they are now, as a sync_file: those that an access of this direction
    /// would have to wait for. `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`, since Linux 6.0.
    ///
    /// # Errors
    ///
    /// [`Error::Fence`].
    pub fn export_fences(&self, access: Access) -> Result<SyncFile, Error> {
        let failed = |errno: Errno| Error::Fence { what: "export", source: errno.into() };
        if self.kind() != Kind::Kernel {
            return Err(failed(Errno::NOTTY));
        }
        ioctl::export_sync_file(self.as_fd(), access).map(SyncFile::new).map_err(failed)
    }

    /// Adds a fence to the buffer: later accesses that conflict with one of this direction wait for
    /// it. `DMA_BUF_IOCTL_IMPORT_SYNC_FILE`, since Linux 6.0.
    ///
    /// # Errors
    ///
    /// [`Error::Fence`].
    pub fn import_fences(&self, access: Access, fences: &SyncFile) -> Result<(), Error> {
        let failed = |errno: Errno| Error::Fence { what: "import", source: errno.into() };
        if self.kind() != Kind::Kernel {
            return Err(failed(Errno::NOTTY));
        }
        ioctl::import_sync_file(self.as_fd(), access, fences.as_fd()).map_err(failed)
    }

    fn pollable(&self) -> Result<BorrowedFd<'_>, Error> {
        match self.kind() {
            Kind::Other => Err(Error::NotABuffer),
            Kind::Kernel | Kind::Served | Kind::Memfd => Ok(self.as_fd()),
        }
    }
}

impl<B: Mappable> Mapping<B> {
    /// Brackets that begin when the devices' fences have signalled, or fail after `timeout`.
    ///
    /// A bracket waits for fences in any case, but for as long as it takes.
    pub fn within(&self, timeout: Duration) -> Within<'_, B> {
        Within { mapping: self, timeout }
    }
}

/// Begins brackets in a given time: [`Mapping::within`].
///
/// A fence that is added to the buffer after the wait and before the bracket is waited for by the
/// bracket itself, however long that takes.
#[derive(Debug)]
pub struct Within<'m, B: Mappable = DmaBuf> {
    mapping: &'m Mapping<B>,
    timeout: Duration,
}

impl<'m, B: Mappable> Within<'m, B> {
    /// [`Mapping::read`].
    ///
    /// # Errors
    ///
    /// As [`Mapping::read`]; [`Error::TimedOut`] and [`Error::Fence`].
    pub fn read(&self, range: impl RangeBounds<u64>) -> Result<ReadGuard<'m, B>, Error> {
        self.begin::<Read>(range)
    }

    /// [`Mapping::write`].
    ///
    /// # Errors
    ///
    /// As [`Mapping::write`]; [`Error::TimedOut`] and [`Error::Fence`].
    pub fn write(&self, range: impl RangeBounds<u64>) -> Result<WriteGuard<'m, B>, Error> {
        self.begin::<Write>(range)
    }

    /// [`Mapping::read_write`].
    ///
    /// # Errors
    ///
    /// As [`Mapping::read_write`]; [`Error::TimedOut`] and [`Error::Fence`].
    pub fn read_write(&self, range: impl RangeBounds<u64>) -> Result<ReadWriteGuard<'m, B>, Error> {
        self.begin::<ReadWrite>(range)
    }

    fn begin<D: Direction>(&self, range: impl RangeBounds<u64>) -> Result<Guard<'m, B, D>, Error> {
        let range = self.mapping.accessible::<D>(range)?;
        wait(self.mapping.buffer().as_fd(), events(D::ACCESS), Some(self.timeout))?;
        Guard::begin(self.mapping, range)
    }
}

/// What may help when a fence call fails.
pub(crate) fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOTTY) => {
            "; dma-bufs of the kernel have sync_files since Linux 6.0, served ones and memfds never"
        }
        _ => "",
    }
}
