//! What the tests share: memfds, and an exporter in the same process that records its calls.
#![allow(dead_code, reason = "each test uses its part")]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};

use dmabuf::heap::Source;
use dmabuf::{Access, CpuAccess, Heap, Range};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;

/// A memfd of `size` zeros that can be sealed.
pub fn memfd(size: u64) -> OwnedFd {
    let fd = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, size).unwrap();
    fd
}

/// The heaps that this machine lets us open.
pub fn heaps() -> Vec<Heap> {
    let heaps: Vec<_> = dmabuf::heap::list().iter().filter_map(|heap| heap.open().ok()).collect();
    if heaps.is_empty() {
        println!("skipped: no heap opens here");
    }
    heaps
}

/// Those of them whose buffers are the kernel's dma-bufs.
pub fn kernel_heaps() -> Vec<Heap> {
    let kernel = |heap: &Heap| heap.description().source != Source::Served;
    let heaps: Vec<_> = heaps().into_iter().filter(kernel).collect();
    if heaps.is_empty() {
        println!("skipped: no exporter of the kernel's is here");
    }
    heaps
}

/// A call that an exporter got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Mapped { offset: u64, len: usize },
    Begin(Access, u64, u64),
    End(Access, u64, u64),
    Unmapping,
}

/// An exporter whose memory is a memfd. It records every call, and answers the next ones with the
/// errors that it is told to.
pub struct Recorder {
    fd: OwnedFd,
    calls: Mutex<Vec<Call>>,
    errors: Mutex<Vec<Errno>>,
    mapped_at: Mutex<Cell<usize>>,
}

impl Recorder {
    pub fn new(size: u64) -> Recorder {
        Recorder {
            fd: memfd(size),
            calls: Mutex::default(),
            errors: Mutex::default(),
            mapped_at: Mutex::default(),
        }
    }

    /// The next begins and ends fail with these, in this order.
    pub fn fail_with(&self, errors: &[Errno]) {
        let mut errors = errors.to_vec();
        errors.reverse();
        *lock(&self.errors) = errors;
    }

    /// The calls since the last time.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut lock(&self.calls))
    }

    fn record(&self, call: Call) -> Result<(), io::Error> {
        lock(&self.calls).push(call);
        match lock(&self.errors).pop() {
            Some(errno) => Err(errno.into()),
            None => Ok(()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A buffer of a [`Recorder`]: a mapping owns it, and the test keeps the recorder.
pub struct Recorded<'a>(pub &'a Recorder);

impl AsFd for Recorded<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl CpuAccess for Recorded<'_> {
    type Error = io::Error;

    fn begin_cpu_access(&self, access: Access, range: Range) -> io::Result<()> {
        self.0.record(Call::Begin(access, range.start(), range.end()))
    }

    fn end_cpu_access(&self, access: Access, range: Range) -> io::Result<()> {
        self.0.record(Call::End(access, range.start(), range.end()))
    }

    fn mapped(&self, address: usize, offset: u64, len: usize) {
        assert_ne!(address, 0);
        lock(&self.0.mapped_at).set(address);
        lock(&self.0.calls).push(Call::Mapped { offset, len });
    }

    fn unmapping(&self, address: usize) {
        assert_eq!(address, lock(&self.0.mapped_at).get());
        lock(&self.0.calls).push(Call::Unmapping);
    }
}
