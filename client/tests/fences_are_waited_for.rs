//! What a device still does with a buffer is waited for, for as long as the caller wants, blocking
//! or not; and fences travel between buffers as sync_files.

mod support;
#[path = "support/vgem.rs"]
mod vgem;

use std::fs::File;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use dmabuf::{Access, DmaBuf, Error, FenceStatus, SyncFile};
use rustix::io::Errno;
use support::{heaps, kernel_heaps, memfd};
use vgem::Vgem;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Option<Duration> = Some(Duration::from_secs(5));

/// A runtime of one future: it sleeps until it is woken.
struct Sleeper(thread::Thread, AtomicUsize);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, SeqCst);
        self.0.unpark();
    }
}

/// The future's output, and how often it was polled.
fn block_on<F: Future>(future: F) -> (F::Output, usize) {
    let sleeper = Arc::new(Sleeper(thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&sleeper));
    let mut future = pin!(future);
    for polls in 1.. {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return (output, polls);
        }
        thread::park();
    }
    unreachable!()
}

#[track_caller]
fn timed_out<T>(result: Result<T, Error>) {
    let error = result.map(drop).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert_eq!(error.errno(), Some(Errno::TIMEDOUT.raw_os_error()));
}

#[test]
fn an_idle_buffer_is_not_waited_for() {
    let mut buffers = vec![DmaBuf::from_fd(memfd(4096)).unwrap()];
    buffers.extend(heaps().iter().map(|heap| heap.allocate(4096).unwrap()));
    for buffer in buffers {
        for access in [Access::Read, Access::Write, Access::ReadWrite] {
            assert!(buffer.is_ready(access).unwrap());
            buffer.wait(access, None).unwrap();
            let (ready, polls) = block_on(buffer.ready(access));
            ready.unwrap();
            assert_eq!(polls, 1);
        }
        if buffer.capability().mmap != Some(dmabuf::Mmap::Never) {
            buffer.map().unwrap().within(SHORT).read_write(..).unwrap().end().unwrap();
        }
    }
}

#[test]
fn a_writers_fence_holds_readers_and_a_readers_fence_only_writers() {
    let Some(vgem) = Vgem::open() else { return };
    let buffer = vgem.allocate();
    let mapping = buffer.buffer.map().unwrap();
    let reading = buffer.fence(false);
    assert!(buffer.buffer.is_ready(Access::Read).unwrap());
    assert!(!buffer.buffer.is_ready(Access::Write).unwrap());
    mapping.within(SHORT).read(..).unwrap().end().unwrap();
    timed_out(mapping.within(SHORT).write(..));
    reading.signal();
    mapping.within(SHORT).write(..).unwrap().end().unwrap();

    let writing = buffer.fence(true);
    let start = Instant::now();
    timed_out(buffer.buffer.wait(Access::Read, Some(SHORT)));
    assert!(start.elapsed() >= SHORT);
    timed_out(mapping.within(SHORT).read(..));
    writing.signal();
    mapping.within(SHORT).read(..).unwrap().end().unwrap();
}

#[test]
fn a_wait_ends_when_the_fence_signals() {
    let Some(vgem) = Vgem::open() else { return };
    let buffer = vgem.allocate();
    let fence = buffer.fence(true);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| buffer.buffer.wait(Access::ReadWrite, LONG));
        thread::sleep(SHORT);
        assert!(!waiting.is_finished());
        fence.signal();
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn a_future_is_woken_when_the_fence_signals() {
    let Some(vgem) = Vgem::open() else { return };
    let (a, b) = (vgem.allocate(), vgem.allocate());
    let fences = [a.fence(true), b.fence(true)];
    // Two waits for one buffer, and one that is given up.
    let given_up = b.buffer.ready(Access::Read);
    thread::scope(|scope| {
        let waits = [&a, &b, &b].map(|buffer| {
            let ready = buffer.buffer.ready(Access::Read);
            scope.spawn(|| block_on(ready))
        });
        let mut given_up = pin!(given_up);
        let waker = Waker::noop();
        assert!(given_up.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        assert!(given_up.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        thread::sleep(SHORT);
        assert!(waits.iter().all(|wait| !wait.is_finished()));
        let [first, second] = fences;
        first.signal();
        let [a, b, c] = waits;
        let (ready, polls) = a.join().unwrap();
        ready.unwrap();
        assert_eq!(polls, 2, "it sleeps in between");
        assert!(!b.is_finished());
        second.signal();
        for wait in [b, c] {
            wait.join().unwrap().0.unwrap();
        }
    });
}

#[test]
fn tokio_waits_for_fences_too() {
    let Some(vgem) = Vgem::open() else { return };
    let buffer = vgem.allocate();
    let fence = buffer.fence(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let late = tokio::time::timeout(SHORT, buffer.buffer.ready(Access::Read).on_tokio());
        assert!(late.await.is_err());
        let waiting = tokio::spawn(buffer.buffer.ready(Access::Read).on_tokio());
        tokio::time::sleep(SHORT).await;
        assert!(!waiting.is_finished());
        fence.signal();
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap().unwrap();
    });
}

#[test]
fn a_fence_travels_from_one_exporters_buffer_to_anothers() {
    let Some(vgem) = Vgem::open() else { return };
    for heap in kernel_heaps() {
        let (from, to) = (vgem.allocate(), heap.allocate(4096).unwrap());
        let fence = from.fence(true);
        let exported = from.buffer.export_fences(Access::Read).unwrap();
        let info = exported.info().unwrap();
        assert_eq!(info.status, FenceStatus::Active);
        assert_eq!(info.fences.len(), 1);
        assert_eq!(info.fences[0].driver, "vgem");
        assert!(info.fences[0].timestamp.is_zero());

        to.import_fences(Access::Write, &exported).unwrap();
        assert!(!to.is_ready(Access::Read).unwrap(), "{}", heap.name());
        timed_out(exported.wait(Some(SHORT)));
        exported.set_deadline(Instant::now() + SHORT).unwrap();
        fence.signal();
        exported.wait(LONG).unwrap();
        to.wait(Access::ReadWrite, LONG).unwrap();
        let info = exported.info().unwrap();
        assert_eq!(info.status, FenceStatus::Signalled);
        assert!(!info.fences[0].timestamp.is_zero());
        block_on(exported.signalled()).0.unwrap();
    }
}

#[test]
fn a_merged_sync_file_waits_for_both() {
    let Some(vgem) = Vgem::open() else { return };
    let (a, b) = (vgem.allocate(), vgem.allocate());
    let (first, second) = (a.fence(true), b.fence(true));
    let both = {
        let a = a.buffer.export_fences(Access::Read).unwrap();
        a.merge(&b.buffer.export_fences(Access::Read).unwrap(), "both").unwrap()
    };
    let info = both.info().unwrap();
    assert_eq!((info.name.as_str(), info.fences.len()), ("both", 2));
    first.signal();
    timed_out(both.wait(Some(SHORT)));
    assert!(!both.is_signalled().unwrap());
    second.signal();
    both.wait(LONG).unwrap();
    assert!(SyncFile::from_fd(both.into()).unwrap().is_signalled().unwrap());
}

#[test]
fn what_has_no_fences_says_so_and_what_is_none_is_refused() {
    let buffer = DmaBuf::from_fd(memfd(4096)).unwrap();
    let error = buffer.export_fences(Access::Read).unwrap_err();
    assert!(error.to_string().contains("since Linux 6.0"), "{error}");
    let null = File::open("/dev/null").unwrap();
    let error = SyncFile::from_fd(null.into()).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOTTY.raw_os_error()));
    let (pipe, _writer) = std::io::pipe().unwrap();
    let pipe = DmaBuf::from_fd(pipe.into()).unwrap();
    assert!(matches!(pipe.wait(Access::Read, None), Err(Error::NotABuffer)));
}
