//! What to do about caches, run by run, when an access begins or ends.
//!
//! The three policies of the review that this project answers are all here:
//!
//! - *assume the worst*: a bracket without direction and range is a read-write one of the whole
//!   buffer, and all of it is cleaned or invalidated even if nobody touched a byte;
//! - *hints*: direction and range cut the work down ([`Plan::begin`] and [`Plan::end`]);
//! - *tracked*: what was really written, as a [`Tracker`] knows it, and no more
//!   ([`Plan::begin_tracked`] and [`Plan::end_tracked`]).
//!
//! A plan is made before anything is done and borrows what it was made from; whoever carries it out
//! tells the tracker afterwards.

use core::ops::Deref;

use super::ledger::{self, Ledger, Slot};
use super::tracker::{Runs, Tracker};
use super::{Access, Granule, Range};

/// What lies between the CPU's view of a buffer and the devices'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Nothing: both see the same bytes at once.
    Coherent,
    /// One memory behind caches of which devices know nothing. To clean writes dirty lines back,
    /// and only those.
    Caches {
        /// The line that moves as one.
        line: Granule,
    },
    /// Two memories. To clean copies every byte to the devices' one, to invalidate copies it back.
    Copies,
}

/// What is done to a run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The CPU's bytes become the devices'.
    Clean,
    /// The devices' bytes become the CPU's.
    Invalidate,
    /// First the one, then the other: nobody's bytes are lost where both may have some.
    CleanInvalidate,
}

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// What to do.
    pub op: Op,
    /// The bytes to do it to.
    pub range: Range,
}

/// The runs of an access, in ascending order; neighbours with the same operation are one run.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    source: Source<'a>,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    Nothing,
    Hinted(Hinted<'a>),
    Tracked {
        op: Op,
        runs: Runs<'a>,
    },
    /// The first and the last granule of a device's write, where the CPU's bytes beside it are new.
    Edges {
        first: Option<Range>,
        last: Option<Range>,
    },
}

impl<'a> Plan<'a> {
    /// Before a bracket of `access` over `range` begins, by its hints alone.
    ///
    /// A read needs the devices' bytes; a write needs nothing, but that its edges do not drag old
    /// bytes along. Bytes in brackets that write, open in `ledger`, are not overwritten: two
    /// memories leave them alone, caches clean them first. The bracket itself is not in the ledger
    /// yet.
    pub fn begin<S: Deref<Target = [Slot]>>(
        memory: Memory,
        size: u64,
        access: Access,
        range: Range,
        ledger: &'a Ledger<S>,
    ) -> Plan<'a> {
        let op = access.reads().then_some(Op::Invalidate);
        Plan::hinted(memory, size, range, op, ledger.slots())
    }

    /// When a bracket of `access` over `range` ends, by its hints alone: a write is cleaned, a read
    /// costs nothing.
    pub fn end(memory: Memory, size: u64, access: Access, range: Range) -> Plan<'a> {
        if access.writes() {
            Plan::one(memory, size, Op::Clean, range)
        } else {
            Plan::nothing()
        }
    }

    /// Before a device accesses `range`, by hints alone.
    ///
    /// Brackets have made the memory ready; only caches may still hold dirty lines from outside of
    /// any bracket, which would be written back over what a device writes.
    pub fn device_begin<S: Deref<Target = [Slot]>>(
        memory: Memory,
        size: u64,
        access: Access,
        range: Range,
        ledger: &'a Ledger<S>,
    ) -> Plan<'a> {
        match memory {
            Memory::Caches { .. } if access.reads() => Plan::one(memory, size, Op::Clean, range),
            Memory::Caches { .. } => {
                Plan::hinted(memory, size, range, Some(Op::Invalidate), ledger.slots())
            }
            Memory::Coherent | Memory::Copies => Plan::nothing(),
        }
    }

    /// Before a bracket over `range` begins, where devices' writes are tracked: what they wrote and
    /// the CPU has not seen, for every direction, since a page that is stored to moves as a whole.
    pub fn begin_tracked<S: Deref<Target = [u64]>>(
        memory: Memory,
        range: Range,
        tracker: &'a Tracker<S>,
    ) -> Plan<'a> {
        Plan::tracked(memory, Op::Invalidate, tracker.device_newer(range))
    }

    /// When a bracket of `access` over `range` ends, where the CPU's writes are tracked: the pages
    /// that were stored to.
    pub fn end_tracked<S: Deref<Target = [u64]>>(
        memory: Memory,
        access: Access,
        range: Range,
        tracker: &'a Tracker<S>,
    ) -> Plan<'a> {
        if access.writes() {
            Plan::tracked(memory, Op::Clean, tracker.cpu_newer(range))
        } else {
            Plan::nothing()
        }
    }

    /// Before a device accesses `range`, where the CPU's writes are tracked: what it reads is
    /// cleaned, and so is a granule of which it writes only a part. Caches are cleaned of all that
    /// it writes too, or they would write dirty lines back over it later.
    ///
    /// If it writes, tell [`Tracker::device_wrote`] already now: what the CPU stored earlier and the
    /// device writes over must not be cleaned for another device meanwhile.
    pub fn device_begin_tracked<S: Deref<Target = [u64]>>(
        memory: Memory,
        access: Access,
        range: Range,
        tracker: &'a Tracker<S>,
    ) -> Plan<'a> {
        if memory == Memory::Coherent {
            return Plan::nothing();
        }
        if access.reads() || memory != Memory::Copies {
            return Plan::tracked(memory, Op::Clean, tracker.cpu_newer(range));
        }
        let partly = |byte: u64| {
            let byte = Range::new(byte, 1).ok()?;
            tracker.cpu_newer(byte).next().filter(|&granule| !range.contains(granule))
        };
        let first = partly(range.start());
        let last = partly(range.end() - 1).filter(|&last| Some(last) != first);
        Plan { source: Source::Edges { first, last } }
    }

    /// After a device accessed `range`, where the CPU's writes are tracked: caches get rid of lines
    /// that the CPU stored to meanwhile. Both wrote there at once, which is a program's mistake; but
    /// it must not cost the bytes that a device writes there later.
    pub fn device_end_tracked<S: Deref<Target = [u64]>>(
        memory: Memory,
        access: Access,
        range: Range,
        tracker: &'a Tracker<S>,
    ) -> Plan<'a> {
        match memory {
            Memory::Caches { .. } if access.writes() => {
                Plan::tracked(memory, Op::CleanInvalidate, tracker.cpu_newer(range))
            }
            _ => Plan::nothing(),
        }
    }

    fn nothing() -> Plan<'a> {
        Plan { source: Source::Nothing }
    }

    fn one(memory: Memory, size: u64, op: Op, range: Range) -> Plan<'a> {
        // Nobody else's brackets matter to an operation that writes dirty bytes back.
        match memory {
            Memory::Coherent => Plan::nothing(),
            Memory::Copies => Plan::hinted(memory, size, range, Some(op), &[]),
            Memory::Caches { line } => {
                Plan::hinted(memory, size, range.align_out(line, size), Some(op), &[])
            }
        }
    }

    fn hinted(
        memory: Memory,
        size: u64,
        range: Range,
        inside: Option<Op>,
        open: &'a [Slot],
    ) -> Plan<'a> {
        let line = match memory {
            Memory::Coherent => return Plan::nothing(),
            Memory::Caches { line } => line,
            Memory::Copies => Granule::BYTE,
        };
        let aligned = range.align_out(line, size);
        let shared = match memory {
            Memory::Caches { .. } => Some(Op::CleanInvalidate),
            _ => None,
        };
        let next = aligned.start();
        Plan { source: Source::Hinted(Hinted { size, line, range, inside, shared, open, next }) }
    }

    fn tracked(memory: Memory, op: Op, runs: Runs<'a>) -> Plan<'a> {
        match memory {
            Memory::Coherent => Plan::nothing(),
            _ => Plan { source: Source::Tracked { op, runs } },
        }
    }
}

impl Iterator for Plan<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        match &mut self.source {
            Source::Nothing => None,
            Source::Hinted(hinted) => hinted.next(),
            Source::Tracked { op, runs } => runs.next().map(|range| Run { op: *op, range }),
            Source::Edges { first, last } => {
                first.take().or_else(|| last.take()).map(|range| Run { op: Op::Clean, range })
            }
        }
    }
}

/// A plan that follows from direction and range.
#[derive(Clone, Debug)]
struct Hinted<'a> {
    size: u64,
    line: Granule,
    range: Range,
    /// For lines that are in the range and in nobody else's writing bracket.
    inside: Option<Op>,
    /// For lines only partly in the range, and instead of `inside` for those in an open bracket that
    /// writes.
    shared: Option<Op>,
    open: &'a [Slot],
    next: u64,
}

impl Hinted<'_> {
    fn next(&mut self) -> Option<Run> {
        let end = self.range.align_out(self.line, self.size).end();
        let mut run: Option<Run> = None;
        while self.next < end {
            let (op, until) = self.piece(self.next, end);
            match (&mut run, op) {
                (None, Some(op)) => {
                    let range = Range::between(self.next, until).ok()?;
                    run = Some(Run { op, range });
                }
                (Some(run), Some(op)) if run.op == op => {
                    run.range = Range::between(run.range.start(), until).ok()?;
                }
                (Some(_), _) => break,
                (None, None) => {}
            }
            self.next = until;
        }
        run
    }

    /// What to do from `at` on, a line's start, and until where that holds.
    fn piece(&self, at: u64, end: u64) -> (Option<Op>, u64) {
        let mut until = end;
        let mut op = self.inside;
        let first_line_end = at.saturating_add(self.line.bytes()).min(end);
        if at < self.range.start() || self.range.end() < first_line_end {
            op = self.shared;
            until = first_line_end;
        } else if self.range.end() < end {
            // Stop before the last line, of which the range holds only a part.
            until = self.range.end() & !(self.line.bytes() - 1);
        }
        let writing = ledger::open(self.open).filter(|open| open.access.writes());
        for open in writing.map(|open| open.range.align_out(self.line, self.size)) {
            if open.start() <= at && at < open.end() {
                op = op.and(self.shared);
                until = until.min(open.end());
            } else if at < open.start() {
                until = until.min(open.start());
            }
        }
        (op, until)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec;
    use std::vec::Vec;

    use super::super::ledger::{Bracket, Owner, Rules};
    use super::super::tracker;
    use super::*;
    use Access::{Read, ReadWrite, Write};

    const LINE: Granule = match Granule::new(64) {
        Some(line) => line,
        None => panic!(),
    };
    const CACHES: Memory = Memory::Caches { line: LINE };
    const SIZE: u64 = 1000;

    fn range(start: u64, end: u64) -> Range {
        Range::between(start, end).unwrap()
    }

    fn ledger(open: &[(Access, Range)]) -> Ledger<Vec<Slot>> {
        let mut ledger = Ledger::new(Rules::Lenient, vec![Slot::default(); open.len()]);
        for &(access, range) in open {
            ledger.begin(Bracket { owner: Owner(9), access, range }).unwrap();
        }
        ledger
    }

    fn runs(plan: Plan<'_>) -> Vec<(Op, u64, u64)> {
        plan.map(|run| (run.op, run.range.start(), run.range.end())).collect()
    }

    #[test]
    fn coherent_memory_needs_nothing() {
        let none = ledger(&[]);
        let r = range(0, SIZE);
        assert_eq!(Plan::begin(Memory::Coherent, SIZE, ReadWrite, r, &none).count(), 0);
        assert_eq!(Plan::end(Memory::Coherent, SIZE, ReadWrite, r).count(), 0);
    }

    #[test]
    fn a_read_invalidates_and_a_write_cleans_exactly_the_bytes_named() {
        let (none, r) = (ledger(&[]), range(10, 20));
        let begin = |access| runs(Plan::begin(Memory::Copies, SIZE, access, r, &none));
        let end = |access| runs(Plan::end(Memory::Copies, SIZE, access, r));
        assert_eq!(begin(Read), [(Op::Invalidate, 10, 20)]);
        assert_eq!(begin(Write), []);
        assert_eq!(begin(ReadWrite), [(Op::Invalidate, 10, 20)]);
        assert_eq!(end(Read), []);
        assert_eq!(end(Write), [(Op::Clean, 10, 20)]);
        assert_eq!(end(ReadWrite), [(Op::Clean, 10, 20)]);
    }

    #[test]
    fn two_memories_leave_other_open_writes_alone() {
        let open = ledger(&[(Write, range(20, 30)), (Read, range(0, 100)), (Write, range(25, 40))]);
        let plan = Plan::begin(Memory::Copies, SIZE, Read, range(0, 100), &open);
        assert_eq!(runs(plan), [(Op::Invalidate, 0, 20), (Op::Invalidate, 40, 100)]);
    }

    #[test]
    fn caches_clean_the_lines_that_a_range_only_partly_covers() {
        let none = ledger(&[]);
        let begin =
            |access, start, end| runs(Plan::begin(CACHES, SIZE, access, range(start, end), &none));
        let edges = [(Op::CleanInvalidate, 0, 64), (Op::Invalidate, 64, 128)];
        assert_eq!(begin(Read, 10, 128), edges);
        let whole = [(Op::CleanInvalidate, 0, 64), (Op::Invalidate, 64, 128)];
        assert_eq!(begin(Read, 10, 150)[..2], whole);
        assert_eq!(begin(Read, 10, 150)[2..], [(Op::CleanInvalidate, 128, 192)]);
        assert_eq!(begin(Read, 10, 20), [(Op::CleanInvalidate, 0, 64)]);
        assert_eq!(begin(Write, 64, 150), [(Op::CleanInvalidate, 128, 192)]);
        assert_eq!(begin(Write, 64, 128), []);
        assert_eq!(begin(Read, 900, 1000)[0], (Op::CleanInvalidate, 896, 960));
        assert_eq!(begin(Read, 900, 1000)[1], (Op::Invalidate, 960, 1000));
        assert_eq!(runs(Plan::end(CACHES, SIZE, Write, range(10, 130))), [(Op::Clean, 0, 192)]);
    }

    #[test]
    fn caches_clean_lines_of_other_open_writes_before_they_invalidate() {
        let open = ledger(&[(ReadWrite, range(130, 140))]);
        let plan = Plan::begin(CACHES, SIZE, Read, range(0, 256), &open);
        let expected =
            [(Op::Invalidate, 0, 128), (Op::CleanInvalidate, 128, 192), (Op::Invalidate, 192, 256)];
        assert_eq!(runs(plan), expected);
        let write = |start, end| runs(Plan::begin(CACHES, SIZE, Write, range(start, end), &open));
        assert_eq!(write(0, 256), []);
        assert_eq!(write(128, 132), [(Op::CleanInvalidate, 128, 192)]);
    }

    #[test]
    fn a_device_write_through_caches_saves_its_neighbours() {
        let none = ledger(&[]);
        let plan = |access| runs(Plan::device_begin(CACHES, SIZE, access, range(10, 128), &none));
        assert_eq!(plan(Write), [(Op::CleanInvalidate, 0, 64), (Op::Invalidate, 64, 128)]);
        assert_eq!(plan(Read), [(Op::Clean, 0, 128)]);
        assert_eq!(plan(ReadWrite), [(Op::Clean, 0, 128)]);
    }

    #[test]
    fn tracking_syncs_what_was_written_and_nothing_else() {
        let size = 10 * 4096;
        let storage = vec![0; tracker::words(size, Granule::PAGE).unwrap()];
        let mut tracker = Tracker::new(size, Granule::PAGE, storage).unwrap();
        tracker.cpu_wrote(range(4096, 4097));
        tracker.device_wrote(range(5 * 4096, 7 * 4096));
        let whole = range(0, size);
        let end = |access| runs(Plan::end_tracked(Memory::Copies, access, whole, &tracker));
        assert_eq!(end(Write), [(Op::Clean, 4096, 8192)]);
        assert_eq!(end(Read), []);
        let begin = runs(Plan::begin_tracked(Memory::Copies, whole, &tracker));
        assert_eq!(begin, [(Op::Invalidate, 5 * 4096, 7 * 4096)]);
        let device =
            |access, r| runs(Plan::device_begin_tracked(Memory::Copies, access, r, &tracker));
        assert_eq!(device(Read, whole), [(Op::Clean, 4096, 8192)]);
        assert_eq!(device(Write, range(4100, 4200)), [(Op::Clean, 4096, 8192)]);
        assert_eq!(device(Write, range(0, 4100)), [(Op::Clean, 4096, 8192)]);
        assert_eq!(device(Write, whole), []);
    }
}
