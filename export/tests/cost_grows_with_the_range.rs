//! Row 6: a bracket costs what its range is long, however large the buffer, and leaves alone what is
//! beside it.

mod common;

use common::{ME, Mapping, OTHER, PAGE, allocate, range};
use dmabuf_core::Access;
use dmabuf_export::HeapKind;

#[test]
fn bytes_synced_are_bytes_named() {
    for pages in [1, 100] {
        let buffer = allocate(HeapKind::Bounce, pages);
        let mut total = 0;
        for len in [1, 64, 1000, PAGE] {
            buffer.begin(ME, Access::ReadWrite, range(0, len), None).unwrap();
            buffer.end(ME, Access::ReadWrite, range(0, len)).unwrap();
            total += len;
            let stats = buffer.stats();
            assert_eq!((stats.bytes_invalidated, stats.bytes_cleaned), (total, total));
        }
    }
}

#[test]
fn an_end_that_names_less_costs_less_and_one_that_names_more_costs_no_more() {
    let buffer = allocate(HeapKind::Bounce, 1);
    for (begun, ended, cleaned) in [
        (range(0, 1000), range(10, 20), 10),
        (range(0, 1000), range(0, PAGE), 1000),
        (range(0, 1000), range(900, 1100), 100),
    ] {
        let before = buffer.stats().bytes_cleaned;
        buffer.begin(ME, Access::Write, begun, None).unwrap();
        buffer.end(ME, Access::Write, ended).unwrap();
        assert_eq!(buffer.stats().bytes_cleaned - before, cleaned, "{begun} ended as {ended}");
    }
}

#[test]
fn what_others_are_storing_is_neither_overwritten_nor_paid_for() {
    let buffer = allocate(HeapKind::Bounce, 1);
    let mapping = Mapping::new(&buffer);
    buffer.begin(OTHER, Access::Write, range(100, 200), None).unwrap();
    mapping.store(range(100, 200), 7);
    buffer.begin(ME, Access::Read, range(0, 1000), None).unwrap();
    assert_eq!(buffer.stats().bytes_invalidated, 900);
    assert_eq!(mapping.load(range(100, 200)), [7; 100]);
}

#[test]
fn what_devices_write_beside_it_survives() {
    let buffer = allocate(HeapKind::Bounce, 1);
    let mapping = Mapping::new(&buffer);
    let device = buffer.attach("device", Access::ReadWrite);
    buffer.begin(ME, Access::ReadWrite, range(100, 200), None).unwrap();
    mapping.store(range(100, 200), 7);
    device.write(0, &[1; 100]).unwrap();
    device.write(200, &[2; 100]).unwrap();
    buffer.end(ME, Access::ReadWrite, range(100, 200)).unwrap();
    let mut seen = [0; 300];
    device.read(0, &mut seen).unwrap();
    assert_eq!(seen[..], [[1; 100], [7; 100], [2; 100]].concat());
}
