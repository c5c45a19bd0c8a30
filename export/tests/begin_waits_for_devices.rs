//! Contract, point 8: a begin waits for device accesses in flight that conflict with it, goes on when
//! they have ended, and can be interrupted.
#![allow(unsafe_code)]

mod common;

use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use common::{ME, allocate, range};
use dmabuf_core::Access::{self, Read, ReadWrite, Write};
use dmabuf_export::{Buffer, Error, HeapKind};
use rustix::io::Errno;

/// A begin that has to wait gives up at once.
const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

#[test]
fn only_what_conflicts_waits() {
    for kind in common::MAPPABLE {
        for device_access in [Read, Write, ReadWrite] {
            for access in [Read, Write, ReadWrite] {
                let buffer = allocate(kind, 1);
                let device = buffer.attach("device", ReadWrite);
                let flight = device.begin(device_access, range(100, 200)).unwrap();
                let beside = [range(0, 100), range(200, 300)];
                for r in beside {
                    buffer.begin(ME, access, r, AT_ONCE).unwrap();
                }
                let begun = buffer.begin(ME, access, range(199, 300), AT_ONCE);
                if (device_access, access) == (Read, Read) {
                    begun.unwrap();
                } else {
                    let error = begun.unwrap_err();
                    assert!(matches!(error, Error::Busy), "{error}");
                    assert_eq!(error.errno(), Errno::AGAIN);
                }
                drop(flight);
                buffer.begin(ME, access, range(199, 300), AT_ONCE).unwrap();
            }
        }
    }
}

#[test]
fn each_of_several_accesses_is_waited_for() {
    let buffer = allocate(HeapKind::Bounce, 1);
    let device = buffer.attach("device", ReadWrite);
    let flights = [(); 2].map(|()| device.begin(Write, range(0, 10)).unwrap());
    let busy = || matches!(buffer.begin(ME, Read, range(0, 10), AT_ONCE), Err(Error::Busy));
    for flight in flights {
        assert!(busy());
        drop(flight);
    }
    assert!(!busy());
}

/// A thread that begins a bracket while a device writes.
fn beginner(buffer: &Buffer, thread: &'static AtomicI32) -> thread::JoinHandle<Result<(), Error>> {
    let buffer = buffer.clone();
    thread::spawn(move || {
        thread.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Release);
        buffer.begin(ME, Access::Read, range(0, 100), None)
    })
}

/// Whether a thread sleeps: the `S` behind its name, in proc_pid_stat(5).
fn sleeps(thread: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S")))
}

#[test]
fn it_goes_on_when_the_device_has_ended() {
    static THREAD: AtomicI32 = AtomicI32::new(0);
    static ENDED: AtomicBool = AtomicBool::new(false);
    let buffer = allocate(HeapKind::Bounce, 1);
    let flight = buffer.attach("device", Write).begin(Write, range(50, 60)).unwrap();
    let thread = beginner(&buffer, &THREAD);
    let thread = thread::spawn(move || (thread.join().unwrap(), ENDED.load(Ordering::Acquire)));
    while !thread.is_finished() && !sleeps(THREAD.load(Ordering::Acquire)) {
        thread::yield_now();
    }
    flight.write(50, &[7]).unwrap();
    ENDED.store(true, Ordering::Release);
    drop(flight);
    let (begun, ended) = thread.join().unwrap();
    begun.unwrap();
    assert!(ended, "it did not wait");
    let mut seen = [0];
    rustix::io::pread(buffer.cpu().unwrap(), &mut seen, 50).unwrap();
    assert_eq!(seen, [7]);
}

#[test]
fn a_signal_interrupts_it() {
    static THREAD: AtomicI32 = AtomicI32::new(0);
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: An all-zero sigaction is one without flags, and so without SA_RESTART, and with an
    // empty mask; its handler does nothing, which is safe in any context.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    let buffer = allocate(HeapKind::Bounce, 1);
    let flight = buffer.attach("device", Write).begin(Write, range(0, 1)).unwrap();
    let thread = beginner(&buffer, &THREAD);
    // Signals that come before it waits are lost, so they keep coming.
    while !thread.is_finished() {
        // SAFETY: The thread is not joined yet, so its handle is good.
        unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
        thread::yield_now();
    }
    let error = thread.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert_eq!(error.errno(), Errno::INTR);
    assert_eq!(buffer.owners(), [], "no bracket has begun");
    drop(flight);
    buffer.begin(ME, Read, range(0, 100), AT_ONCE).unwrap();
}

#[test]
fn a_limit_past_the_end_of_time_is_none() {
    let buffer = allocate(HeapKind::Bounce, 1);
    buffer.begin(ME, Read, range(0, 1), Some(Duration::MAX)).unwrap();
}
