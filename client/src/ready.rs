//! Waiting for a file without blocking a thread of the caller's, under any runtime.
//!
//! One thread of this crate's, started by the first future that has to wait, sleeps in epoll(7)
//! and wakes them all.

#[cfg(feature = "tokio")]
mod on_tokio;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFlags, epoll};
use rustix::io::Errno;

use crate::{Error, fence};

/// A future that is done when a file is ready: when a buffer's fences, or a sync_file's, have
/// signalled. Made by [`DmaBuf::ready`](crate::DmaBuf::ready) and
/// [`SyncFile::signalled`](crate::SyncFile::signalled).
///
/// It needs no runtime. Dropping it gives up the wait. A child of fork(2) has no thread to wake it.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Ready<F> {
    file: F,
    events: PollFlags,
    registration: Option<Registration>,
}

impl<F: AsFd> Ready<F> {
    pub(crate) fn new(file: F, events: PollFlags) -> Ready<F> {
        Ready { file, events, registration: None }
    }
}

impl<F: AsFd + Unpin> Future for Ready<F> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        if fence::is_ready(this.file.as_fd(), this.events)? {
            this.registration = None;
            return Poll::Ready(Ok(()));
        }
        let waker = context.waker().clone();
        let armed = match &this.registration {
            Some(registration) => registration.arm(waker),
            None => Registration::new(&this.file, this.events, waker)
                .map(|registration| this.registration = Some(registration)),
        };
        match armed {
            // What became ready meanwhile, the reactor finds at once.
            Ok(()) => Poll::Pending,
            Err(errno) => Poll::Ready(Err(Error::Fence { what: "wait", source: errno.into() })),
        }
    }
}

/// A file that the reactor watches for one future.
#[derive(Debug)]
struct Registration {
    reactor: &'static Reactor,
    /// A descriptor of its own: epoll takes each only once.
    fd: OwnedFd,
    events: epoll::EventFlags,
    key: u64,
}

impl Registration {
    fn new(file: impl AsFd, events: PollFlags, waker: Waker) -> Result<Registration, Errno> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let reactor = Reactor::get()?;
        let fd = rustix::io::fcntl_dupfd_cloexec(file, 0)?;
        let readiness = match events {
            PollFlags::OUT => epoll::EventFlags::OUT,
            _ => epoll::EventFlags::IN,
        };
        let events = readiness | epoll::EventFlags::ONESHOT;
        let key = NEXT.fetch_add(1, Relaxed);
        let registration = Registration { reactor, fd, events, key };
        reactor.wakers().insert(key, waker);
        let data = epoll::EventData::new_u64(key);
        epoll::add(&reactor.epoll, &registration.fd, data, events)?;
        Ok(registration)
    }

    /// Wakes this one when the file is ready, and nobody else.
    fn arm(&self, waker: Waker) -> Result<(), Errno> {
        self.reactor.wakers().insert(self.key, waker);
        let data = epoll::EventData::new_u64(self.key);
        epoll::modify(&self.reactor.epoll, &self.fd, data, self.events)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Others may hold the file open, and it would be watched until they close it.
        let _ = epoll::delete(&self.reactor.epoll, &self.fd);
        self.reactor.wakers().remove(&self.key);
    }
}

#[derive(Debug)]
struct Reactor {
    epoll: OwnedFd,
    wakers: Mutex<HashMap<u64, Waker>>,
}

impl Reactor {
    /// The reactor, whose thread runs; or why it could not be started.
    fn get() -> Result<&'static Reactor, Errno> {
        static REACTOR: OnceLock<Result<Reactor, Errno>> = OnceLock::new();
        static THREAD: OnceLock<Result<(), Errno>> = OnceLock::new();
        let reactor = REACTOR.get_or_init(|| {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            Ok(Reactor { epoll, wakers: Mutex::default() })
        });
        let reactor = reactor.as_ref().map_err(|&errno| errno)?;
        let started = THREAD.get_or_init(|| {
            let builder = thread::Builder::new().name("dmabuf fences".to_owned());
            let spawned = builder.spawn(|| reactor.run());
            spawned.map(drop).map_err(|error| errno_of(&error))
        });
        started.map(|()| reactor)
    }

    fn run(&self) {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                // Neither the descriptor nor the memory ever goes, so no other error is possible.
                Err(errno) => unreachable!("epoll_wait: {errno}"),
            }
            for event in &events {
                let key = event.data.u64();
                let waker = self.wakers().remove(&key);
                // Not while the lock is held: waking may poll or drop a future.
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
    }

    fn wakers(&self) -> MutexGuard<'_, HashMap<u64, Waker>> {
        // Only whole insertions and removals happen under the lock.
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::AGAIN, Errno::from_raw_os_error)
}
