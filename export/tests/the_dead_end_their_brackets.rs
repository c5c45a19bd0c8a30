//! Contract, point 7: who dies inside a bracket ends it. What it wrote becomes visible to devices,
//! and nobody else's brackets are touched.

mod common;

use common::{MAPPABLE, ME, Mapping, OTHER, PAGE, allocate, kernel_watches, range};
use dmabuf_core::Access;
use dmabuf_export::{HeapKind, Violation};

#[test]
fn what_they_wrote_is_visible_and_others_go_on() {
    for kind in MAPPABLE {
        let buffer = allocate(kind, 3);
        let mapping = Mapping::new(&buffer);
        let device = buffer.attach("device", Access::Read);
        buffer.begin(ME, Access::Write, range(0, 100), None).unwrap();
        buffer.begin(ME, Access::ReadWrite, range(PAGE, PAGE + 100), None).unwrap();
        buffer.begin(ME, Access::ReadWrite, range(PAGE, PAGE + 100), None).unwrap();
        buffer.begin(OTHER, Access::Write, range(2 * PAGE, 3 * PAGE), None).unwrap();
        mapping.store(range(0, 100), 1);
        mapping.store(range(PAGE, PAGE + 100), 2);
        mapping.store(range(2 * PAGE, 2 * PAGE + 100), 3);
        assert_eq!(buffer.owners(), [ME, OTHER]);
        buffer.abandon(ME).unwrap();
        assert_eq!(buffer.owners(), [OTHER], "{kind}");
        let mut seen = [0; 2];
        device.read(99, &mut seen).unwrap();
        assert_eq!(seen, [1, 0], "{kind}");
        device.read(PAGE + 99, &mut seen).unwrap();
        assert_eq!(seen, [2, 0], "{kind}");
        buffer.end(OTHER, Access::Write, range(2 * PAGE, 3 * PAGE)).unwrap();
        device.read(2 * PAGE + 98, &mut seen).unwrap();
        assert_eq!(seen, [3, 3], "{kind}");
        buffer.abandon(ME).unwrap();
        assert_eq!(buffer.owners(), []);
    }
}

#[test]
fn checked_tells_which_brackets_were_left_open_and_no_stray() {
    if !kernel_watches() {
        return;
    }
    let buffer = allocate(HeapKind::Checked, 2);
    let mapping = Mapping::new(&buffer);
    buffer.begin(ME, Access::Write, range(0, 100), None).unwrap();
    mapping.store(range(0, 100), 1);
    buffer.abandon(ME).unwrap();
    let [Violation::LeftOpen { bracket }] = buffer.violations()[..] else {
        panic!("{:?}", buffer.violations())
    };
    assert_eq!((bracket.owner, bracket.access, bracket.range), (ME, Access::Write, range(0, 100)));
}

/// What a dead owner's brackets cost is theirs once, however often he began them.
#[test]
fn a_bracket_begun_many_times_moves_its_bytes_once() {
    let buffer = allocate(HeapKind::Bounce, 4);
    for _ in 0..1000 {
        buffer.begin(ME, Access::Write, range(0, PAGE), None).unwrap();
    }
    buffer.abandon(ME).unwrap();
    assert_eq!(buffer.stats().bytes_cleaned, PAGE);
    assert!(buffer.owners().is_empty());
}
