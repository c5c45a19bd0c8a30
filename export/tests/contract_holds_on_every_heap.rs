//! design.md's contract, points 1 to 7, on each heap that can be mapped: through mappings of this
//! process, and through a page cache such as a file system has. The reference is core's.

mod common;
#[path = "../../core/tests/contract/mod.rs"]
mod contract;
#[path = "common/page_cache.rs"]
mod page_cache;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use common::{Mapping, PAGE, range};
use contract::{EndRange, Event, Home, Looked, holds, stories};
use dmabuf_core::{Access, Owner, Range};
use dmabuf_export::{Attachment, Buffer, DeviceAccess, Heap, HeapKind, Violation};
use page_cache::PageCache;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

const SIZE: u64 = 3 * PAGE;

/// How programs get at the bytes.
enum Programs {
    /// A mapping of all of it, and one of its second and third page.
    Mapped {
        whole: Mapping,
        behind: Mapping,
    },
    Cached(Arc<PageCache>),
}

struct Exported {
    buffer: Buffer,
    programs: Programs,
    device: Attachment,
}

impl Exported {
    fn mapped(kind: HeapKind) -> Exported {
        let buffer = Heap::new(kind).allocate(SIZE).unwrap();
        let whole = Mapping::new(&buffer);
        let behind = Mapping::of(&buffer, range(PAGE, SIZE));
        Exported::new(buffer, Programs::Mapped { whole, behind })
    }

    fn cached(kind: HeapKind, chaos: u64) -> Exported {
        let (cache, buffer) = PageCache::allocate(kind, SIZE, Some(chaos));
        Exported::new(buffer, Programs::Cached(cache))
    }

    fn new(buffer: Buffer, programs: Programs) -> Exported {
        let device = buffer.attach("device", Access::ReadWrite);
        Exported { buffer, programs, device }
    }
}

impl Drop for Exported {
    fn drop(&mut self) {
        if let Programs::Cached(cache) = &self.programs {
            cache.release();
        }
    }
}

impl Home for Exported {
    type Flight = DeviceAccess;

    fn begin(&mut self, owner: Owner, access: Access, range: Range) {
        self.buffer.begin(owner, access, range, Some(Duration::ZERO)).unwrap();
    }

    fn end(&mut self, owner: Owner, access: Access, range: Range) {
        self.buffer.end(owner, access, range).unwrap();
    }

    fn abandon(&mut self, owner: Owner) {
        self.buffer.abandon(owner).unwrap();
    }

    fn store(&mut self, range: Range, value: u8) {
        let buffer = &self.buffer;
        match &mut self.programs {
            Programs::Mapped { behind, .. } if range.start() >= PAGE && value.is_multiple_of(2) => {
                behind.store(range, value);
                if value.is_multiple_of(4) {
                    // It goes while the bracket is open, and another comes.
                    *behind = Mapping::of(buffer, common::range(PAGE, SIZE));
                }
            }
            Programs::Mapped { whole, .. } => whole.store(range, value),
            Programs::Cached(cache) => cache.store(Owner(0), range, value),
        }
    }

    fn load(&mut self, range: Range) -> Vec<u8> {
        match &self.programs {
            Programs::Mapped { whole, .. } => whole.load(range),
            Programs::Cached(cache) => cache.load(Owner(0), range),
        }
    }

    fn device_begin(&mut self, access: Access, range: Range) -> DeviceAccess {
        self.device.begin(access, range).unwrap()
    }

    fn device_write(&mut self, flight: &mut DeviceAccess, range: Range, value: u8) {
        flight.write(range.start(), &vec![value; range.len() as usize]).unwrap();
    }

    fn device_read(&mut self, flight: &mut DeviceAccess, range: Range) -> Vec<u8> {
        let mut bytes = vec![0; range.len() as usize];
        flight.read(range.start(), &mut bytes).unwrap();
        bytes
    }

    fn device_end(&mut self, flight: DeviceAccess) {
        drop(flight);
    }
}

fn run(mut test: impl FnMut(&[Event], u64) -> Result<Looked, TestCaseError>) {
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() };
    let (bytes, promised) = (Cell::new(0), Cell::new(0));
    let test = std::cell::RefCell::new(&mut test);
    let result = TestRunner::new(config).run(
        &(stories(SIZE, PAGE / 2, 50), any::<u64>()),
        |(story, chaos)| {
            let looked = (test.borrow_mut())(&story, chaos)?;
            bytes.set(bytes.get() + looked.bytes);
            promised.set(promised.get() + looked.promised);
            Ok(())
        },
    );
    if let Err(error) = result {
        panic!("{error}");
    }
    // Stories in which nothing is promised would prove nothing.
    let (bytes, promised) = (bytes.get(), promised.get());
    assert!(promised * 4 > bytes, "of {bytes} bytes that were looked at {promised} were promised");
}

fn mapped(kind: HeapKind) {
    run(|story, _| {
        let mut home = Exported::mapped(kind);
        let granule = home.buffer.capability().granule;
        holds(&mut home, SIZE, granule, story)
    });
}

fn cached(kind: HeapKind) {
    run(|story, chaos| {
        let mut home = Exported::cached(kind, chaos);
        let granule = home.buffer.capability().granule;
        holds(&mut home, SIZE, granule, story)
    });
}

#[test]
fn coherent_mapped() {
    mapped(HeapKind::Coherent);
}

#[test]
fn bounce_mapped() {
    mapped(HeapKind::Bounce);
}

#[test]
fn tracked_mapped() {
    mapped(HeapKind::Tracked);
}

#[test]
fn checked_mapped() {
    mapped(HeapKind::Checked);
}

#[test]
fn coherent_through_a_page_cache() {
    cached(HeapKind::Coherent);
}

#[test]
fn bounce_through_a_page_cache() {
    cached(HeapKind::Bounce);
}

#[test]
fn tracked_through_a_page_cache() {
    cached(HeapKind::Tracked);
}

#[test]
fn checked_through_a_page_cache() {
    cached(HeapKind::Checked);
}

/// Programs that keep to the rules are not reported, whatever else happens.
#[test]
fn checked_blames_no_correct_program() {
    run(|story, _| {
        let mut home = Exported::mapped(HeapKind::Checked);
        let correct: Vec<Event> = story
            .iter()
            .filter(|event| !matches!(event, Event::UnmatchedEnd { .. } | Event::Mismatched { .. }))
            .map(|event| match event {
                Event::End { bracket, .. } => {
                    Event::End { bracket: *bracket, range: EndRange::Same }
                }
                event => *event,
            })
            .collect();
        let granule = home.buffer.capability().granule;
        let looked = holds(&mut home, SIZE, granule, &correct)?;
        let of_programs = |violation: &Violation| {
            matches!(violation, Violation::Access { .. } | Violation::Mistake { .. })
        };
        let blamed: Vec<_> = home.buffer.violations().into_iter().filter(of_programs).collect();
        prop_assert!(blamed.is_empty(), "{:?}", blamed);
        Ok(looked)
    });
}

/// Runs a story that random ones rarely tell in each home there is.
fn holds_everywhere(story: &[Event]) {
    for kind in common::MAPPABLE {
        for chaos in 0..20 {
            for mut home in [Exported::mapped(kind), Exported::cached(kind, chaos * 0x9e37_79b9)] {
                let granule = home.buffer.capability().granule;
                if let Err(error) = holds(&mut home, SIZE, granule, story) {
                    panic!("{kind}: {error}");
                }
            }
        }
    }
}

const STORE: Event = Event::Store { bracket: 0, part: (0, 255), value: 1 };

fn begin(range: Range) -> Event {
    Event::Begin { owner: 0, access: Access::ReadWrite, range }
}

/// What an END does not name stays dirty in a cache no longer than the bracket.
#[test]
fn a_smaller_end_does_not_cost_what_a_device_writes_later() {
    holds_everywhere(&[
        begin(range(0, SIZE)),
        STORE,
        Event::End { bracket: 0, range: EndRange::Part(0, 1) },
        Event::DeviceWriteAtOnce { range: range(0, SIZE), value: 2 },
    ]);
}

#[test]
fn a_larger_end_does_not_cost_what_a_device_wrote_beside_it() {
    // Written whole often enough that nobody looks any more what was stored.
    let mut story =
        [begin(range(0, PAGE)), STORE, Event::End { bracket: 0, range: EndRange::Same }].repeat(6);
    story.extend([
        begin(range(0, PAGE)),
        Event::DeviceWriteAtOnce { range: range(PAGE, SIZE), value: 2 },
        Event::End { bracket: 0, range: EndRange::Whole },
    ]);
    holds_everywhere(&story);
}

#[test]
fn a_device_that_reads_does_not_undo_what_another_writes() {
    holds_everywhere(&[
        begin(range(0, SIZE)),
        STORE,
        Event::End { bracket: 0, range: EndRange::Part(0, 1) },
        Event::DeviceBegin { access: Access::Write, range: range(PAGE, 2 * PAGE) },
        Event::DeviceWrite { flight: 0, part: (0, 255), value: 2 },
        Event::DeviceBegin { access: Access::Read, range: range(0, SIZE) },
    ]);
}
