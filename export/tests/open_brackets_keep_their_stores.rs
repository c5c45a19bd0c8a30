//! Contract, point 4: what a program stores in its open bracket is not overwritten by another's begin,
//! also where that brings over at once what a device wrote, and the store comes in the midst of it.

mod common;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use common::{ME, OTHER, PAGE, range, whole};
use dmabuf_core::{Access, Granule, Range};
use dmabuf_export::{Buffer, Heap, HeapKind, Mappings};

const STORED: u8 = 7;

/// A page cache of which another program stores to page 0 once, while the framework is busy with it.
#[derive(Debug, Default)]
struct Cache {
    buffer: OnceLock<Buffer>,
    stores: AtomicBool,
    shot_down: AtomicU64,
    refreshed: AtomicU64,
}

impl Cache {
    fn meanwhile(&self) {
        if self.stores.swap(false, Relaxed) {
            let buffer = self.buffer.get().expect("the test has set it");
            let mut page = vec![0; PAGE as usize];
            buffer.fault(OTHER, 0, &mut page).unwrap();
            page[..10].fill(STORED);
            buffer.store(0, &page).unwrap();
        }
    }
}

impl Mappings for Cache {
    fn write_back(&self, _: Range) -> io::Result<Vec<Range>> {
        self.meanwhile();
        Ok(Vec::new())
    }

    fn refresh(&self, _: Range, _: BorrowedFd<'_>) -> io::Result<()> {
        self.refreshed.fetch_add(1, Relaxed);
        self.meanwhile();
        Ok(())
    }

    fn shoot_down(&self, _: Range) -> io::Result<()> {
        self.shot_down.fetch_add(1, Relaxed);
        self.meanwhile();
        Ok(())
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
fn while_another_bracket_brings_over_what_a_device_wrote() {
    let cache = Arc::new(Cache::default());
    let reservation = Heap::new(HeapKind::Tracked).reserve(0).unwrap();
    let mappings: Arc<dyn Mappings> = Arc::clone(&cache) as _;
    let buffer = reservation.allocate(4 * PAGE, mappings).map_err(|refused| refused.error).unwrap();
    cache.buffer.set(buffer.clone()).unwrap();
    let device = buffer.attach("device", Access::Write);
    let frame = vec![1; 4 * PAGE as usize];

    // Everything is touched each time, so faults stop being worth it.
    while cache.refreshed.load(Relaxed) == 0 {
        device.write(0, &frame).unwrap();
        buffer.begin(ME, Access::Read, whole(&buffer), None).unwrap();
        buffer.fault(ME, 0, &mut vec![0; 4 * PAGE as usize]).unwrap();
        buffer.end(ME, Access::Read, whole(&buffer)).unwrap();
    }
    // Now and then a bracket leaves its pages to be faulted in all the same: the other's is one.
    loop {
        let shot_down = cache.shot_down.load(Relaxed);
        device.write(0, &frame).unwrap();
        buffer.begin(OTHER, Access::ReadWrite, range(0, PAGE), None).unwrap();
        if cache.shot_down.load(Relaxed) > shot_down {
            break;
        }
        buffer.end(OTHER, Access::ReadWrite, range(0, PAGE)).unwrap();
    }

    cache.stores.store(true, Relaxed);
    buffer.begin(ME, Access::Read, whole(&buffer), None).unwrap();
    let mut seen = vec![0; 10];
    buffer.fault(OTHER, 0, &mut seen).unwrap();
    assert_eq!(seen, [STORED; 10], "the other's store is gone");
    buffer.end(OTHER, Access::ReadWrite, range(0, PAGE)).unwrap();
    buffer.attach("display", Access::Read).read(0, &mut seen).unwrap();
    assert_eq!(seen, [STORED; 10], "the device does not see it");
}
