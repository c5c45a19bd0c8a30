//! Tracking is worth its faults or it is left: a buffer that is always written whole is synced whole,
//! without looking; one that is hardly touched is always looked at.

mod common;
#[path = "common/page_cache.rs"]
mod page_cache;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{ME, PAGE, range, whole};
use dmabuf_core::{Access, CostModel, Granule, Range};
use dmabuf_export::{Buffer, Heap, HeapKind, Mappings};
use page_cache::PageCache;

/// Mappings to which the first pages of each range were stored to, and which count who looks.
#[derive(Debug)]
struct Looked {
    stored_pages: u64,
    times: AtomicU64,
}

impl Mappings for Looked {
    fn write_back(&self, range: Range) -> io::Result<Vec<Range>> {
        self.times.fetch_add(1, Ordering::Relaxed);
        let stored = Range::new(range.start(), self.stored_pages * PAGE).unwrap();
        Ok(stored.intersect(range).into_iter().collect())
    }

    fn refresh(&self, _: Range, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    fn shoot_down(&self, _: Range) -> io::Result<()> {
        Ok(())
    }

    fn cache(&self) -> Option<Granule> {
        None
    }

    fn faults(&self) -> bool {
        false
    }

    fn mapped(&self, _: usize, _: u64, _: usize) {}

    fn unmapping(&self, _: usize) {}
}

const PAGES: u64 = 100;
const BRACKETS: u64 = 320;

/// How often somebody looked, and how much was cleaned.
fn run(kind: HeapKind, stored_pages: u64) -> (u64, u64) {
    let looked = Arc::new(Looked { stored_pages, times: AtomicU64::new(0) });
    let mappings: Arc<dyn Mappings> = Arc::clone(&looked) as _;
    let reservation = Heap::new(kind).reserve(0).unwrap();
    let buffer = reservation.allocate(PAGES * PAGE, mappings).unwrap();
    for _ in 0..BRACKETS {
        buffer.begin(ME, Access::Write, whole(&buffer), None).unwrap();
        buffer.end(ME, Access::Write, whole(&buffer)).unwrap();
    }
    (looked.times.load(Ordering::Relaxed), buffer.stats().bytes_cleaned / PAGE)
}

#[test]
fn written_whole() {
    let (looks, cleaned) = run(HeapKind::Tracked, PAGES);
    let most = BRACKETS / u64::from(CostModel::PROBE) + u64::from(CostModel::PATIENCE);
    assert!((1..=most).contains(&looks), "{looks} of {BRACKETS}");
    assert_eq!(cleaned, BRACKETS * PAGES);
}

#[test]
fn hardly_touched() {
    assert_eq!(run(HeapKind::Tracked, 1), (BRACKETS, BRACKETS));
}

/// A program that only reads what a device writes, through a page cache: its faults count as well.
#[test]
fn read_whole() {
    let (cache, buffer) = PageCache::allocate(HeapKind::Tracked, PAGES * PAGE, None);
    let device = buffer.attach("camera", Access::Write);
    let frame = |buffer: &Buffer, read: Range| {
        device.write(0, &vec![1; (PAGES * PAGE) as usize]).unwrap();
        buffer.begin(ME, Access::Read, whole(buffer), None).unwrap();
        for page in read.start() / PAGE..read.end().div_ceil(PAGE) {
            cache.load(ME, range(page * PAGE, page * PAGE + 1));
        }
        buffer.end(ME, Access::Read, whole(buffer)).unwrap();
    };
    for _ in 0..100 {
        frame(&buffer, whole(&buffer));
    }
    let faults = buffer.stats().faults / PAGES;
    assert!((4..20).contains(&faults), "{faults} of 100 frames were faulted in");
    // Whoever comes to read little pays little again, after a while.
    let before = buffer.stats();
    for _ in 0..200 {
        frame(&buffer, range(0, PAGE));
    }
    let after = buffer.stats();
    let invalidated = (after.bytes_invalidated - before.bytes_invalidated) / PAGE;
    assert!(invalidated < 100 * PAGES, "{invalidated} pages for 200 of one page each");
    cache.release();
}
