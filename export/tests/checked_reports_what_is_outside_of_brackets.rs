//! `checked` finds what a plain heap tolerates: accesses that no bracket covers, and ENDs that match
//! no START; and it blames nobody else.

mod common;
#[path = "common/page_cache.rs"]
mod page_cache;

use common::{ME, Mapping, OTHER, PAGE, allocate, kernel_watches, range};
use dmabuf_core::ledger::Mistake;
use dmabuf_core::{Access, Owner, Range};
use dmabuf_export::{Buffer, HeapKind, Mappings, Violation};
use page_cache::PageCache;

fn this_process() -> Owner {
    Owner(u64::from(std::process::id()))
}

fn stray(owner: Owner, access: Access, range: Range) -> Violation {
    Violation::Access { owner, access, range }
}

/// A checked buffer of eight pages, mapped; `None` where the kernel does not watch.
fn checked() -> Option<(Buffer, Mapping)> {
    kernel_watches().then(|| {
        let buffer = allocate(HeapKind::Checked, 8);
        let mapping = Mapping::new(&buffer);
        (buffer, mapping)
    })
}

#[test]
fn a_correct_program_is_not_reported() {
    let Some((buffer, mapping)) = checked() else { return };
    for access in [Access::Write, Access::ReadWrite] {
        buffer.begin(ME, access, range(100, 5000), None).unwrap();
        mapping.store(range(100, 5000), 1);
        buffer.begin(OTHER, access, range(0, PAGE), None).unwrap();
        mapping.store(range(0, 10), 2);
        buffer.end(ME, access, range(100, 5000)).unwrap();
        mapping.store(range(10, 20), 3);
        buffer.end(OTHER, access, range(0, PAGE)).unwrap();
    }
    buffer.begin(ME, Access::Read, range(0, 8 * PAGE), None).unwrap();
    mapping.load(range(0, 8 * PAGE));
    buffer.end(ME, Access::Read, range(0, 8 * PAGE)).unwrap();
    buffer.attach("device", Access::Write).write(0, &[1; 100]).unwrap();
    assert_eq!((buffer.violations(), buffer.stats().violations), (vec![], 0));
}

#[test]
fn a_store_before_between_beside_and_after_brackets() {
    let Some((buffer, mapping)) = checked() else { return };
    let bracket = || {
        buffer.begin(ME, Access::Write, range(0, 10), None).unwrap();
        mapping.store(range(0, 10), 1);
        mapping.store(range(5 * PAGE, 5 * PAGE + 1), 1);
        buffer.end(ME, Access::Write, range(0, 10)).unwrap();
    };
    let mut expected = Vec::new();
    mapping.store(range(2 * PAGE + 5, 2 * PAGE + 6), 1);
    expected.push(stray(this_process(), Access::Write, range(2 * PAGE, 3 * PAGE)));
    assert_eq!(buffer.violations(), expected);
    bracket();
    expected.push(stray(this_process(), Access::Write, range(5 * PAGE, 6 * PAGE)));
    assert_eq!(buffer.violations(), expected);
    mapping.store(range(0, 1), 2);
    bracket();
    // The same page is told once.
    mapping.store(range(2 * PAGE, 2 * PAGE + 1), 2);
    expected.insert(0, stray(this_process(), Access::Write, range(0, PAGE)));
    assert_eq!(buffer.violations(), expected);
    assert_eq!(buffer.stats().violations, 3);
}

#[test]
fn a_store_beside_somebody_elses_open_bracket() {
    let Some((buffer, mapping)) = checked() else { return };
    buffer.begin(OTHER, Access::Write, range(PAGE, 2 * PAGE), None).unwrap();
    mapping.store(range(0, 1), 1);
    mapping.store(range(7 * PAGE, 7 * PAGE + 1), 1);
    let expected = [0, 7]
        .map(|page| stray(this_process(), Access::Write, range(page * PAGE, (page + 1) * PAGE)));
    assert_eq!(buffer.violations(), expected);
}

#[test]
fn a_store_in_a_bracket_that_only_reads() {
    let Some((buffer, mapping)) = checked() else { return };
    buffer.begin(ME, Access::Read, range(PAGE, 3 * PAGE), None).unwrap();
    mapping.store(range(PAGE, 3 * PAGE), 1);
    buffer.end(ME, Access::Read, range(PAGE, 3 * PAGE)).unwrap();
    assert_eq!(buffer.violations(), [stray(this_process(), Access::Write, range(PAGE, 3 * PAGE))]);
}

#[test]
fn an_end_that_names_less_makes_no_strays_of_the_rest() {
    let Some((buffer, mapping)) = checked() else { return };
    buffer.begin(ME, Access::Write, range(0, 4 * PAGE), None).unwrap();
    mapping.store(range(0, 4 * PAGE), 1);
    buffer.end(ME, Access::Write, range(0, 10)).unwrap();
    assert_eq!(buffer.violations(), []);
}

#[test]
fn ends_that_match_no_start() {
    let mistake = |mistake, count| Violation::Mistake { owner: ME, mistake, count };
    for kind in common::MAPPABLE {
        let buffer = allocate(kind, 2);
        let (r, elsewhere) = (range(0, 10), range(PAGE, PAGE + 10));
        // Tolerated by all, as mainline does on most exporters.
        buffer.end(ME, Access::Read, r).unwrap();
        buffer.end(ME, Access::Read, r).unwrap();
        buffer.begin(ME, Access::Read, r, None).unwrap();
        buffer.end(ME, Access::Write, r).unwrap();
        buffer.begin(ME, Access::Write, r, None).unwrap();
        buffer.end(ME, Access::Write, elsewhere).unwrap();
        buffer.begin(OTHER, Access::Write, r, None).unwrap();
        buffer.end(ME, Access::Write, r).unwrap();
        assert_eq!(buffer.owners(), [OTHER], "{kind}: an END ends nobody else's bracket");
        if kind == HeapKind::Checked {
            let expected = [
                mistake(Mistake::NotBegun, 3),
                mistake(Mistake::OtherDirection { begun: Access::Read }, 1),
                mistake(Mistake::OtherRange { begun: r }, 1),
            ];
            assert_eq!(buffer.violations(), expected);
            assert_eq!(buffer.stats().violations, 5);
        } else {
            assert_eq!(buffer.violations(), [], "{kind}");
        }
    }
}

#[test]
fn cpu_and_device_writing_a_page_at_once() {
    let Some((buffer, mapping)) = checked() else { return };
    let device = buffer.attach("device", Access::Write);
    buffer.begin(ME, Access::Write, range(0, PAGE), None).unwrap();
    let flight = device.begin(Access::Write, range(100, 200)).unwrap();
    mapping.store(range(0, 10), 1);
    drop(flight);
    buffer.end(ME, Access::Write, range(0, PAGE)).unwrap();
    assert_eq!(buffer.violations(), [Violation::Conflict { range: range(0, PAGE) }]);
    // One after the other is none.
    let before = buffer.stats().violations;
    device.write(0, &[1; 100]).unwrap();
    buffer.begin(ME, Access::Write, range(0, PAGE), None).unwrap();
    mapping.store(range(0, 10), 1);
    buffer.end(ME, Access::Write, range(0, 5)).unwrap();
    device.write(0, &vec![2; PAGE as usize]).unwrap();
    assert_eq!(buffer.stats().violations, before);
}

#[test]
fn a_stray_store_does_not_cost_what_a_device_wrote() {
    let Some((buffer, mapping)) = checked() else { return };
    mapping.store(range(0, 10), 1);
    let device = buffer.attach("device", Access::ReadWrite);
    device.write(0, &[2; 10]).unwrap();
    buffer.begin(ME, Access::Read, range(0, 10), None).unwrap();
    assert_eq!(mapping.load(range(0, 10)), [2; 10]);
    let mut seen = [0; 10];
    device.read(0, &mut seen).unwrap();
    assert_eq!(seen, [2; 10]);
}

#[test]
fn through_a_page_cache_it_tells_which_process_and_loads_too() {
    let (cache, buffer) = PageCache::allocate(HeapKind::Checked, 4 * PAGE, None);
    buffer.begin(ME, Access::ReadWrite, range(0, 10), None).unwrap();
    cache.store(ME, range(0, 10), 1);
    cache.load(OTHER, range(PAGE, PAGE + 10));
    cache.store(OTHER, range(2 * PAGE, 2 * PAGE + 10), 1);
    buffer.end(ME, Access::ReadWrite, range(0, 10)).unwrap();
    // Ended, so the page faults again.
    cache.load(OTHER, range(0, 1));
    // The system writes pages back when it likes, and does not say whose stores they hold.
    cache.write_back(range(0, 4 * PAGE)).unwrap();
    let expected = [
        stray(OTHER, Access::Read, range(0, 2 * PAGE)),
        stray(OTHER, Access::ReadWrite, range(2 * PAGE, 3 * PAGE)),
    ];
    assert_eq!(buffer.violations(), expected);
    cache.release();
}
