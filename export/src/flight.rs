//! Device accesses in flight, and waiting for them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dmabuf_core::{Access, Range};
use rustix::io::Errno;
use rustix::thread::futex;

use crate::error::{Error, Result};

/// The device accesses that have begun and not ended.
///
/// Waiting is done on a futex and not on a condition variable, since a signal has to interrupt it.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    accesses: Mutex<Vec<(Access, Range)>>,
    /// Changes whenever an access ends.
    ended: AtomicU32,
}

impl Flight {
    pub(crate) fn begin(&self, access: Access, range: Range) {
        self.lock().push((access, range));
    }

    pub(crate) fn end(&self, access: Access, range: Range) {
        let mut accesses = self.lock();
        if let Some(index) = accesses.iter().position(|&other| other == (access, range)) {
            accesses.swap_remove(index);
        }
        drop(accesses);
        self.ended.fetch_add(1, Ordering::Release);
        // Waking fails only for a bad address.
        let _ = futex::wake(&self.ended, futex::Flags::PRIVATE, i32::MAX as u32);
    }

    /// Whether an access in flight forbids a bracket of `access` over `range`.
    pub(crate) fn conflicts(&self, access: Access, range: Range) -> bool {
        self.lock().iter().any(|&(other, its)| other.conflicts(access) && its.overlaps(range))
    }

    /// Waits until no access in flight conflicts; for at most `limit`, if there is one.
    pub(crate) fn wait(&self, access: Access, range: Range, limit: Option<Duration>) -> Result<()> {
        // A limit past the end of time is none.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let seen = self.ended.load(Ordering::Acquire);
            if !self.conflicts(access, range) {
                return Ok(());
            }
            let left =
                match deadline.map(|deadline| deadline.checked_duration_since(Instant::now())) {
                    Some(None) => return Err(Error::Busy),
                    Some(Some(left)) => left.try_into().ok(),
                    None => None,
                };
            match futex::wait(&self.ended, futex::Flags::PRIVATE, seen, left.as_ref()) {
                Ok(()) | Err(Errno::AGAIN | Errno::TIMEDOUT) => {}
                Err(Errno::INTR) => return Err(Error::Interrupted),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Access, Range)>> {
        self.accesses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
