//! The plans keep the contract over memories that misbehave as real ones do.
//!
//! A write-back cache with lines of 64 bytes evicts dirty lines and fills others speculatively
//! whenever it likes, also between two steps of a plan; cleaning writes back only dirty lines, whole,
//! and invalidating drops them. The other memory is a pair between which bytes are copied. Each is
//! driven by hints, and by tracking.

mod contract;

use contract::{holds, stories, EndRange, Event, Home, Looked};
use dmabuf_core::ledger::{Rules, Slot};
use dmabuf_core::plan::{Memory, Op, Run};
use dmabuf_core::tracker::{self, Tracker};
use dmabuf_core::{Access, Bracket, Granule, Ledger, Owner, Plan, Range};
use proptest::prelude::*;

const LINE: u64 = 64;
/// A page, but small, so that stories meet in it.
const PAGE: Granule = Granule::new(256).unwrap();
/// The last line and the last page are cut off.
const SIZE: u64 = 1000;

#[derive(Clone, Copy, Debug)]
struct Line {
    bytes: [u8; LINE as usize],
    dirty: bool,
}

#[derive(Debug)]
enum Sides {
    /// The devices' memory, and the lines of it that are cached.
    Caches {
        memory: Vec<u8>,
        lines: Vec<Option<Line>>,
    },
    Copies {
        cpu: Vec<u8>,
        device: Vec<u8>,
    },
}

#[derive(Debug)]
struct Simulated {
    kind: Memory,
    sides: Sides,
    ledger: Ledger<Vec<Slot>>,
    tracker: Option<Tracker<Vec<u64>>>,
    /// What the cache does next when nobody asks it to.
    chaos: u64,
}

impl Simulated {
    fn new(kind: Memory, tracked: bool, chaos: u64) -> Simulated {
        let memory = vec![0; SIZE as usize];
        let sides = match kind {
            Memory::Copies => Sides::Copies { cpu: memory.clone(), device: memory },
            _ => Sides::Caches { memory, lines: vec![None; SIZE.div_ceil(LINE) as usize] },
        };
        let words = vec![0; tracker::words(SIZE, PAGE).unwrap()];
        Simulated {
            kind,
            sides,
            ledger: Ledger::new(Rules::Lenient, vec![Slot::default(); 100]),
            tracker: tracked.then(|| Tracker::new(SIZE, PAGE, words).unwrap()),
            chaos: chaos | 1,
        }
    }

    fn granule(&self) -> Granule {
        match self.kind {
            _ if self.tracker.is_some() => PAGE,
            Memory::Caches { line } => line,
            _ => Granule::BYTE,
        }
    }

    /// Evicts and fills a few lines, or none.
    fn misbehave(&mut self) {
        for _ in 0..4 {
            self.chaos ^= self.chaos << 13;
            self.chaos ^= self.chaos >> 7;
            self.chaos ^= self.chaos << 17;
            let line = (self.chaos >> 8) as usize % SIZE.div_ceil(LINE) as usize;
            match self.chaos % 4 {
                0 => {
                    self.clean(line);
                    self.drop_line(line);
                }
                1 | 2 => drop(self.filled(line)),
                _ => {}
            }
        }
    }

    fn filled(&mut self, index: usize) -> Option<&mut Line> {
        let Sides::Caches { memory, lines } = &mut self.sides else { return None };
        let line = lines[index].get_or_insert_with(|| {
            let mut bytes = [0; LINE as usize];
            let start = index * LINE as usize;
            let there = &memory[start..memory.len().min(start + LINE as usize)];
            bytes[..there.len()].copy_from_slice(there);
            Line { bytes, dirty: false }
        });
        Some(line)
    }

    fn clean(&mut self, index: usize) {
        let Sides::Caches { memory, lines } = &mut self.sides else { return };
        if let Some(line) = lines[index].as_mut().filter(|line| line.dirty) {
            let start = index * LINE as usize;
            let end = memory.len().min(start + LINE as usize);
            memory[start..end].copy_from_slice(&line.bytes[..end - start]);
            line.dirty = false;
        }
    }

    fn drop_line(&mut self, index: usize) {
        if let Sides::Caches { lines, .. } = &mut self.sides {
            lines[index] = None;
        }
    }

    /// Does what a plan says, and tells the tracker.
    fn carry_out(&mut self, runs: Vec<Run>) {
        let mut last = 0;
        for Run { op, range } in runs {
            assert!(last <= range.start(), "runs ascend and do not overlap");
            last = range.end();
            if let Sides::Copies { cpu, device } = &mut self.sides {
                let bytes = range.start() as usize..range.end() as usize;
                match op {
                    Op::Clean => device[bytes.clone()].copy_from_slice(&cpu[bytes]),
                    Op::Invalidate => cpu[bytes.clone()].copy_from_slice(&device[bytes]),
                    Op::CleanInvalidate => panic!("two memories cannot hold the newest of both"),
                }
            } else {
                let whole = |at: u64| at % LINE == 0 || at == SIZE;
                assert!(whole(range.start()) && whole(range.end()), "{range} is whole lines");
                for line in range.start() / LINE..range.end().div_ceil(LINE) {
                    self.misbehave();
                    if op != Op::Invalidate {
                        self.clean(line as usize);
                    }
                    // An eviction between the two steps of one line would only do the first again.
                    if op != Op::Clean {
                        self.drop_line(line as usize);
                    }
                }
            }
            if let Some(tracker) = &mut self.tracker {
                tracker.synced(range);
            }
        }
        self.misbehave();
    }

    fn give_to_devices(&mut self, bracket: Bracket) {
        let Bracket { access, range, .. } = bracket;
        let runs = match &self.tracker {
            Some(tracker) => Plan::end_tracked(self.kind, access, range, tracker).collect(),
            None => Plan::end(self.kind, SIZE, access, range).collect(),
        };
        self.carry_out(runs);
    }
}

impl Home for Simulated {
    type Flight = (Access, Range);

    fn begin(&mut self, owner: Owner, access: Access, range: Range) {
        let runs = match &self.tracker {
            Some(tracker) => Plan::begin_tracked(self.kind, range, tracker).collect(),
            None => Plan::begin(self.kind, SIZE, access, range, &self.ledger).collect(),
        };
        self.carry_out(runs);
        self.ledger.begin(Bracket { owner, access, range }).unwrap();
    }

    fn end(&mut self, owner: Owner, access: Access, range: Range) {
        let ended = self.ledger.end(Bracket { owner, access, range });
        self.give_to_devices(ended.sync);
    }

    fn abandon(&mut self, owner: Owner) {
        while let Some(bracket) = self.ledger.abandon(owner) {
            self.give_to_devices(bracket);
        }
    }

    fn store(&mut self, range: Range, value: u8) {
        for byte in range.start()..range.end() {
            if byte % 7 == 0 {
                self.misbehave();
            }
            if let Sides::Copies { cpu, .. } = &mut self.sides {
                cpu[byte as usize] = value;
            } else {
                let line = self.filled((byte / LINE) as usize).unwrap();
                line.bytes[(byte % LINE) as usize] = value;
                line.dirty = true;
            }
        }
        if let Some(tracker) = &mut self.tracker {
            tracker.cpu_wrote(range);
        }
    }

    fn load(&mut self, range: Range) -> Vec<u8> {
        let mut seen = Vec::new();
        for byte in range.start()..range.end() {
            if byte % 31 == 0 {
                self.misbehave();
            }
            seen.push(match &self.sides {
                Sides::Copies { cpu, .. } => cpu[byte as usize],
                _ => self.filled((byte / LINE) as usize).unwrap().bytes[(byte % LINE) as usize],
            });
        }
        seen
    }

    fn device_begin(&mut self, access: Access, range: Range) -> (Access, Range) {
        let runs = match &self.tracker {
            Some(tracker) => {
                Plan::device_begin_tracked(self.kind, access, range, tracker).collect()
            }
            None => Plan::device_begin(self.kind, SIZE, access, range, &self.ledger).collect(),
        };
        self.carry_out(runs);
        if let (Some(tracker), true) = (&mut self.tracker, access.writes()) {
            tracker.device_wrote(range);
        }
        (access, range)
    }

    fn device_write(&mut self, _: &mut (Access, Range), range: Range, value: u8) {
        self.misbehave();
        let (Sides::Copies { device: memory, .. } | Sides::Caches { memory, .. }) = &mut self.sides;
        memory[range.start() as usize..range.end() as usize].fill(value);
        self.misbehave();
    }

    fn device_read(&mut self, _: &mut (Access, Range), range: Range) -> Vec<u8> {
        self.misbehave();
        let (Sides::Copies { device: memory, .. } | Sides::Caches { memory, .. }) = &self.sides;
        memory[range.start() as usize..range.end() as usize].to_vec()
    }

    fn device_end(&mut self, (access, range): (Access, Range)) {
        if let Some(tracker) = &self.tracker {
            let runs = Plan::device_end_tracked(self.kind, access, range, tracker).collect();
            self.carry_out(runs);
        }
        if let (Some(tracker), true) = (&mut self.tracker, access.writes()) {
            tracker.device_wrote(range);
        }
    }
}

const CACHES: Memory = Memory::Caches { line: Granule::new(LINE as u32).unwrap() };

fn keeps_the_contract(memory: Memory, tracked: bool) {
    let mut looked = Looked::default();
    let config = ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let cases = (stories(SIZE, LINE, 60), any::<u64>());
    let told = std::cell::RefCell::new(&mut looked);
    let result = runner.run(&cases, |(story, chaos)| {
        let mut home = Simulated::new(memory, tracked, chaos);
        let granule = home.granule();
        let seen = holds(&mut home, SIZE, granule, &story)?;
        let mut told = told.borrow_mut();
        told.bytes += seen.bytes;
        told.promised += seen.promised;
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // Stories in which nothing is promised would prove nothing.
    assert!(looked.promised * 4 > looked.bytes, "{looked:?}");
}

#[test]
fn caches_by_hints() {
    keeps_the_contract(CACHES, false);
}

#[test]
fn caches_tracked() {
    keeps_the_contract(CACHES, true);
}

#[test]
fn copies_by_hints() {
    keeps_the_contract(Memory::Copies, false);
}

#[test]
fn copies_tracked() {
    keeps_the_contract(Memory::Copies, true);
}

/// Runs a story that once went wrong, or that random ones rarely tell, in many moods of the cache.
fn always_keeps_it(memory: Memory, tracked: bool, story: &[Event]) {
    for chaos in 0..100u64 {
        let mut home = Simulated::new(memory, tracked, chaos.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let granule = home.granule();
        if let Err(error) = holds(&mut home, SIZE, granule, story) {
            panic!("{error}");
        }
    }
}

fn range(start: u64, end: u64) -> Range {
    Range::between(start, end).unwrap()
}

fn begin(access: Access, range: Range) -> Event {
    Event::Begin { owner: 0, access, range }
}

const STORE: Event = Event::Store { bracket: 0, part: (0, 255), value: 1 };
const END: Event = Event::End { bracket: 0, range: EndRange::Same };

#[test]
fn a_write_does_not_drag_along_the_old_bytes_behind_it() {
    let device = Event::DeviceWriteAtOnce { range: range(64, 200), value: 2 };
    let story = [device, begin(Access::Write, range(0, 150)), STORE, END];
    always_keeps_it(CACHES, false, &story);
    always_keeps_it(CACHES, true, &story);
}

#[test]
fn a_device_that_reads_does_not_undo_what_another_writes() {
    let story = [
        begin(Access::ReadWrite, range(0, 512)),
        STORE,
        // Of what was stored, only the first bytes are named.
        Event::End { bracket: 0, range: EndRange::Part(0, 1) },
        Event::DeviceBegin { access: Access::Write, range: range(256, 512) },
        Event::DeviceWrite { flight: 0, part: (0, 255), value: 2 },
        Event::DeviceBegin { access: Access::Read, range: range(0, 1000) },
    ];
    for memory in [CACHES, Memory::Copies] {
        always_keeps_it(memory, false, &story);
        always_keeps_it(memory, true, &story);
    }
}

#[test]
fn a_mistake_does_not_cost_bytes_that_are_written_after_it() {
    let story = [
        begin(Access::Write, range(62, 137)),
        Event::DeviceBegin { access: Access::Write, range: range(0, SIZE) },
        STORE,
        Event::DeviceEnd { flight: 0 },
        END,
        Event::DeviceWriteAtOnce { range: range(0, SIZE), value: 2 },
    ];
    for memory in [CACHES, Memory::Copies] {
        always_keeps_it(memory, false, &story);
        always_keeps_it(memory, true, &story);
    }
}
