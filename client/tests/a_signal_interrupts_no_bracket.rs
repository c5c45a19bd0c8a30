//! A bracket that waits for a device is interrupted by signals, and begins all the same: it is
//! asked for again each time.
#![allow(unsafe_code)]

mod support;
#[path = "support/vgem.rs"]
mod vgem;

use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use std::thread::{self, JoinHandle};

use dmabuf::{Access, CpuAccess, Range};
use rustix::io::Errno;
use vgem::Vgem;

/// Signals that a thread of this process has taken.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// Has SIGUSR1 interrupt system calls: without SA_RESTART, or the kernel would restart them itself.
fn catch() {
    extern "C" fn count(_: i32) {
        TAKEN.fetch_add(1, SeqCst);
    }
    // SAFETY: The struct is ours, and zeros are a value of it; the handler only adds to a number.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as extern "C" fn(i32) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
}

/// A thread that says which it is before it does something.
fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> (JoinHandle<T>, i32) {
    static THREAD: AtomicI32 = AtomicI32::new(0);
    let handle = thread::spawn(move || {
        THREAD.store(rustix::thread::gettid().as_raw_pid(), SeqCst);
        f()
    });
    while THREAD.load(SeqCst) == 0 {
        thread::yield_now();
    }
    (handle, THREAD.swap(0, SeqCst))
}

/// Waits until the thread sleeps in the kernel, interrupts it there, and waits until it has noticed.
/// False if it has ended.
fn interrupt<T>(thread: &JoinHandle<T>, id: i32) -> bool {
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?;
        stat.rsplit(") ").next()?.chars().next()
    };
    while state() != Some('S') {
        if thread.is_finished() {
            return false;
        }
        thread::yield_now();
    }
    let before = TAKEN.load(SeqCst);
    // SAFETY: The handle is of a thread that has not been joined.
    assert_eq!(unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) }, 0);
    while TAKEN.load(SeqCst) == before {
        thread::yield_now();
    }
    true
}

#[test]
fn a_bracket_that_waits_for_a_device_is_asked_for_again_after_each_signal() {
    let Some(vgem) = Vgem::open() else { return };
    catch();
    let buffer = vgem.allocate();
    let fence = buffer.fence(true);

    // The exporter's own answer is EINTR, at the first signal.
    let bare = buffer.buffer.clone();
    let whole = Range::new(0, bare.size()).unwrap();
    let (waiting, id) = spawn(move || bare.begin_cpu_access(Access::Read, whole));
    assert!(interrupt(&waiting, id), "it waits");
    let error = waiting.join().unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::INTR.raw_os_error()));

    // The client's bracket goes on waiting, and begins when the device is done.
    let mapping = buffer.buffer.map().unwrap();
    let (waiting, id) = spawn(move || {
        let guard = mapping.read(..)?;
        let first = guard.load::<u8>(0)?;
        guard.end()?;
        Ok::<_, dmabuf::Error>(first)
    });
    for _ in 0..20 {
        assert!(interrupt(&waiting, id), "it ended before the device was done");
    }
    assert!(!waiting.is_finished());
    fence.signal();
    assert_eq!(waiting.join().unwrap().unwrap(), 0);
}
