//! Row 12: brackets, coherent mappings and page faults stand side by side. Who leaves the brackets
//! out sees it on `bounce`, gets away with it on `coherent`, and is told by `checked`.

mod common;

use common::{ME, Mapping, PAGE, allocate, kernel_watches, range};
use dmabuf_core::Access;
use dmabuf_export::{HeapKind, Violation};

#[test]
fn what_is_not_bracketed_is_stale_but_on_coherent_memory() {
    for kind in common::MAPPABLE {
        let buffer = allocate(kind, 1);
        let mapping = Mapping::new(&buffer);
        let device = buffer.attach("device", Access::ReadWrite);
        let fresh = kind == HeapKind::Coherent;
        device.write(0, &[1; 10]).unwrap();
        assert_eq!(mapping.load(range(0, 1)) == [1], fresh, "{kind}");
        mapping.store(range(100, 101), 2);
        let mut seen = [0];
        device.read(100, &mut seen).unwrap();
        assert_eq!(seen == [2], fresh, "{kind}");
    }
}

#[test]
fn the_wrong_direction_and_too_small_a_range_are_stale_too() {
    let buffer = allocate(HeapKind::Bounce, 1);
    let mapping = Mapping::new(&buffer);
    let device = buffer.attach("device", Access::ReadWrite);
    let mut seen = [9; 4];
    buffer.begin(ME, Access::Read, range(0, PAGE), None).unwrap();
    mapping.store(range(0, 4), 1);
    buffer.end(ME, Access::Read, range(0, PAGE)).unwrap();
    device.read(0, &mut seen).unwrap();
    assert_eq!(seen, [0; 4], "stores of a read stay on the CPU's side");
    buffer.begin(ME, Access::Write, range(0, 2), None).unwrap();
    mapping.store(range(0, 4), 2);
    buffer.end(ME, Access::Write, range(0, 2)).unwrap();
    device.read(0, &mut seen).unwrap();
    assert_eq!(seen, [2, 2, 0, 0], "stores beside the range stay on the CPU's side");
}

#[test]
fn checked_tells_who_did_it_and_where() {
    if !kernel_watches() {
        return;
    }
    let buffer = allocate(HeapKind::Checked, 3);
    let mapping = Mapping::new(&buffer);
    mapping.store(range(PAGE + 100, PAGE + 101), 2);
    let [violation] = buffer.violations()[..] else { panic!("{:?}", buffer.violations()) };
    assert!(matches!(violation, Violation::Access { .. }));
    assert_eq!(violation.owner().map(|owner| owner.0), Some(u64::from(std::process::id())));
    assert_eq!(violation.range(), Some(range(PAGE, 2 * PAGE)));
    assert_eq!(violation.access(), Some(Access::Write));
    assert_eq!(buffer.stats().violations, 1);
}
