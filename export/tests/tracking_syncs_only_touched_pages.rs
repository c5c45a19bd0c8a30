//! Row 11: assuming the worst is the floor. Above it the framework knows which pages were really
//! touched, also when the program names neither direction nor range.

mod common;
#[path = "common/page_cache.rs"]
mod page_cache;

use common::{ME, Mapping, PAGE, allocate, kernel_watches, range, whole};
use dmabuf_core::Access;
use dmabuf_export::{Buffer, HeapKind};
use page_cache::PageCache;

fn bracket(buffer: &Buffer, f: impl FnOnce()) {
    buffer.begin(ME, Access::ReadWrite, whole(buffer), None).unwrap();
    f();
    buffer.end(ME, Access::ReadWrite, whole(buffer)).unwrap();
}

#[test]
fn three_pages_of_a_thousand() {
    if !kernel_watches() {
        return;
    }
    for kind in [HeapKind::Tracked, HeapKind::Checked] {
        let buffer = allocate(kind, 1000);
        let mapping = Mapping::new(&buffer);
        for round in 1..=3 {
            bracket(&buffer, || {
                for page in [3, 500, 999] {
                    mapping.store(range(page * PAGE + 17, page * PAGE + 18), round as u8);
                }
            });
            let stats = buffer.stats();
            assert_eq!(stats.bytes_cleaned, round * 3 * PAGE, "{kind}");
            assert_eq!(stats.bytes_invalidated, 0, "{kind}: no device wrote anything");
            assert_eq!(stats.bytes_elided, round * (1000 + 997) * PAGE, "{kind}");
        }
        let device = buffer.attach("device", Access::ReadWrite);
        device.write(700 * PAGE, &[1; 10]).unwrap();
        let before = buffer.stats();
        bracket(&buffer, || assert_eq!(mapping.load(range(700 * PAGE, 700 * PAGE + 2)), [1; 2]));
        let after = buffer.stats();
        assert_eq!(after.bytes_invalidated - before.bytes_invalidated, PAGE, "{kind}");
        assert_eq!(after.bytes_cleaned, before.bytes_cleaned, "{kind}: nothing was stored");
    }
}

#[test]
fn every_second_page_of_a_thousand() {
    if !kernel_watches() {
        return;
    }
    let buffer = allocate(HeapKind::Tracked, 1000);
    let mapping = Mapping::new(&buffer);
    bracket(&buffer, || {
        for page in (0..1000).step_by(2) {
            mapping.store(range(page * PAGE, page * PAGE + 1), 1);
        }
    });
    assert_eq!(buffer.stats().bytes_cleaned, 500 * PAGE);
}

#[test]
fn a_page_that_the_cpu_left_alone_keeps_what_a_device_wrote_in_the_meantime() {
    if !kernel_watches() {
        return;
    }
    let buffer = allocate(HeapKind::Tracked, 3);
    let mapping = Mapping::new(&buffer);
    let device = buffer.attach("device", Access::ReadWrite);
    bracket(&buffer, || {
        mapping.store(range(0, 10), 1);
        device.write(PAGE, &[2; 10]).unwrap();
    });
    let mut seen = [0; 10];
    device.read(PAGE, &mut seen).unwrap();
    assert_eq!(seen, [2; 10]);
}

#[test]
fn stores_through_a_mapping_that_is_gone_are_found() {
    let buffer = allocate(HeapKind::Tracked, 4);
    let stays = Mapping::new(&buffer);
    bracket(&buffer, || {
        let goes = Mapping::of(&buffer, range(PAGE, 3 * PAGE));
        goes.store(range(2 * PAGE, 2 * PAGE + 5), 1);
        stays.store(range(3 * PAGE, 3 * PAGE + 5), 2);
    });
    let mut seen = [0; PAGE as usize + 5];
    buffer.attach("device", Access::Read).read(2 * PAGE, &mut seen).unwrap();
    assert_eq!((&seen[..5], &seen[PAGE as usize..]), (&[1; 5][..], &[2; 5][..]));
    if kernel_watches() {
        assert_eq!(buffer.stats().bytes_cleaned, 2 * PAGE);
    }
}

/// Without knowledge the worst is assumed: tracking is never a reason to lose a store.
#[test]
fn stores_through_a_mapping_of_which_nobody_told_are_not_lost() {
    for kind in [HeapKind::Tracked, HeapKind::Checked] {
        let buffer = allocate(kind, 2);
        let mapping = Mapping::untold(&buffer, whole(&buffer));
        bracket(&buffer, || mapping.store(range(PAGE, PAGE + 5), 1));
        let mut seen = [0; 5];
        buffer.attach("device", Access::Read).read(PAGE, &mut seen).unwrap();
        assert_eq!(seen, [1; 5], "{kind}");
        assert_eq!(buffer.violations(), [], "{kind}: nobody is blamed for what nobody knows");
    }
}

/// A write(2) past the page cache stores less than a page without having faulted it in.
#[test]
fn a_store_to_a_part_of_a_page_brings_the_rest_of_it() {
    let (cache, buffer) = PageCache::allocate(HeapKind::Tracked, 3 * PAGE, None);
    let device = buffer.attach("device", Access::ReadWrite);
    device.write(0, &vec![1; 3 * PAGE as usize]).unwrap();
    bracket(&buffer, || {
        // Within a page, and over parts of two.
        buffer.store(10, &[2; 10]).unwrap();
        buffer.store(2 * PAGE - 5, &[2; 10]).unwrap();
    });
    let mut expected = vec![1; 3 * PAGE as usize];
    expected[10..20].fill(2);
    expected[2 * PAGE as usize - 5..][..10].fill(2);
    let mut seen = vec![0; 3 * PAGE as usize];
    device.read(0, &mut seen).unwrap();
    assert!(seen == expected);
    cache.release();
}
