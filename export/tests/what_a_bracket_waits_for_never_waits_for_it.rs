//! While a bracket begins or ends it waits for mappings: for pages to be written back and shot down.
//! Whoever serves those must get answers meanwhile: faults, stores, devices, and who asks what is.

mod common;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use common::{ME, OTHER, PAGE, range, whole};
use dmabuf_core::{Access, Granule, Range};
use dmabuf_export::{Buffer, Heap, Mappings};

/// Mappings during whose work another thread does all that must not wait.
#[derive(Debug, Default)]
struct Busy {
    buffer: OnceLock<Buffer>,
    done: AtomicU64,
}

impl Busy {
    fn meanwhile(&self) -> io::Result<()> {
        let buffer = self.buffer.get().expect("the test has set it").clone();
        let (done, all_done) = mpsc::channel();
        std::thread::spawn(move || {
            buffer.fault(OTHER, 0, &mut vec![0; PAGE as usize]).unwrap();
            buffer.store(0, &vec![1; PAGE as usize]).unwrap();
            let device = buffer.attach("device", Access::ReadWrite);
            device.write(3 * PAGE, &[1; 10]).unwrap();
            device.read(0, &mut [0; 10]).unwrap();
            let _ = (buffer.stats(), buffer.violations(), buffer.owners(), buffer.capability());
            buffer.set_name("busy").unwrap();
            done.send(buffer.name()).unwrap();
        });
        // The time is no measure: it only turns a deadlock into a failure.
        let name = all_done.recv_timeout(Duration::from_secs(60));
        assert_eq!(name.expect("somebody waits for the bracket"), "busy");
        self.done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Mappings for Busy {
    fn write_back(&self, _: Range) -> io::Result<Vec<Range>> {
        self.meanwhile().map(|()| Vec::new())
    }

    fn refresh(&self, _: Range, _: BorrowedFd<'_>) -> io::Result<()> {
        self.meanwhile()
    }

    fn shoot_down(&self, _: Range) -> io::Result<()> {
        self.meanwhile()
    }

    fn cache(&self) -> Option<Granule> {
        Some(Granule::PAGE)
    }

    fn faults(&self) -> bool {
        true
    }

    fn mapped(&self, _: usize, _: u64, _: usize) {}

    fn unmapping(&self, _: usize) {}
}

#[test]
fn faults_stores_devices_and_questions_are_answered() {
    for kind in common::MAPPABLE {
        let busy = Arc::new(Busy::default());
        let mappings: Arc<dyn Mappings> = Arc::clone(&busy) as _;
        let reservation = Heap::new(kind).reserve(0).unwrap();
        let buffer = reservation.allocate(4 * PAGE, mappings).unwrap();
        busy.buffer.set(buffer.clone()).unwrap();
        buffer.attach("device", Access::Write).write(2 * PAGE, &[1; 10]).unwrap();
        buffer.begin(ME, Access::ReadWrite, whole(&buffer), None).unwrap();
        buffer.end(ME, Access::ReadWrite, whole(&buffer)).unwrap();
        buffer.begin(ME, Access::Write, range(0, 10), None).unwrap();
        buffer.abandon(ME).unwrap();
        assert!(busy.done.load(Ordering::Relaxed) >= 3, "{kind}");
    }
}
