//! The wait by tokio's own reactor.
#![allow(unsafe_code)]

use std::os::fd::AsFd;

use rustix::event::PollFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Ready;
use crate::{Error, fence};

impl<F: AsFd> Ready<F> {
    /// The same wait by tokio's own reactor, without a thread of this crate's.
    ///
    /// # Errors
    ///
    /// [`Error::Fence`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub async fn on_tokio(self) -> Result<(), Error> {
        let failed = |source| Error::Fence { what: "wait", source };
        let interest = match self.events {
            PollFlags::OUT => Interest::WRITABLE,
            _ => Interest::READABLE,
        };
        // A descriptor of its own, as tokio takes each only once.
        let fd = self.file.as_fd().try_clone_to_owned().map_err(failed)?;
        // SAFETY: An `OwnedFd` is one open descriptor until it is dropped, which only the
        // `AsyncFd` does.
        let fd = unsafe { AsyncFd::register_with_interest(fd, interest) };
        let fd = fd.map_err(|error| failed(error.into_parts().1))?;
        loop {
            let mut guard = fd.ready(interest).await.map_err(failed)?;
            if fence::is_ready(fd.get_ref().as_fd(), self.events)? {
                return Ok(());
            }
            guard.clear_ready();
        }
    }
}
