//! The contract of design.md, points 1 to 7, as a reference that knows nothing of how it is kept.
//!
//! For each byte it says what a load in a bracket and what a read by a device must give, or that
//! nothing is promised. [`holds`] runs a story of events through a [`Home`] and compares. The homes'
//! crates include this file, so that all of them are held to the same reading of the contract.

use dmabuf_core::{Access, Granule, Owner, Range};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// What keeps the contract, or fails to.
pub trait Home {
    /// A device access in flight.
    type Flight;

    fn begin(&mut self, owner: Owner, access: Access, range: Range);
    fn end(&mut self, owner: Owner, access: Access, range: Range);
    fn abandon(&mut self, owner: Owner);
    fn store(&mut self, range: Range, value: u8);
    fn load(&mut self, range: Range) -> Vec<u8>;
    fn device_begin(&mut self, access: Access, range: Range) -> Self::Flight;
    fn device_write(&mut self, flight: &mut Self::Flight, range: Range, value: u8);
    fn device_read(&mut self, flight: &mut Self::Flight, range: Range) -> Vec<u8>;
    fn device_end(&mut self, flight: Self::Flight);
}

/// One thing that happens. Where it cannot (there is no such bracket, or it would have to wait) it
/// is left out.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    Begin {
        owner: u64,
        access: Access,
        range: Range,
    },
    /// A store in an open bracket, to the part of its range that `part` is.
    Store {
        bracket: usize,
        part: (u8, u8),
        value: u8,
    },
    Load {
        bracket: usize,
    },
    /// An END as its START was, or of a part of its range, or of the whole buffer.
    End {
        bracket: usize,
        range: EndRange,
    },
    /// An END without a START.
    UnmatchedEnd {
        access: Access,
        range: Range,
    },
    /// An END in another direction, of another range, than its START; with stores in between.
    Mismatched {
        begun: (Access, Range),
        ended: (Access, Range),
    },
    Abandon {
        owner: u64,
    },
    DeviceBegin {
        access: Access,
        range: Range,
    },
    DeviceWrite {
        flight: usize,
        part: (u8, u8),
        value: u8,
    },
    DeviceRead {
        flight: usize,
    },
    DeviceEnd {
        flight: usize,
    },
    /// Begins, writes all of it and ends, as one.
    DeviceWriteAtOnce {
        range: Range,
        value: u8,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum EndRange {
    Same,
    Part(u8, u8),
    Whole,
}

/// Who sends the ENDs that match nothing: an owner who has no other brackets.
const SLOPPY: Owner = Owner(99);

fn access() -> impl Strategy<Value = Access> {
    prop::sample::select(vec![Access::Read, Access::Write, Access::ReadWrite])
}

/// Ranges that often meet each other, at granules and beside them.
fn range(size: u64, granule: u64) -> impl Strategy<Value = Range> {
    let granules = size / granule;
    let aligned = (0..granules, 1..=granules).prop_map(move |(first, count)| {
        Range::between(first * granule, ((first + count) * granule).min(size)).unwrap()
    });
    let beside = (0..size, 1u64..40)
        .prop_map(move |(start, len)| Range::between(start, (start + len).min(size)).unwrap());
    let any = (0..size, 0..size).prop_map(|(a, b)| Range::between(a.min(b), a.max(b) + 1).unwrap());
    prop_oneof![
        1 => Just(Range::new(0, size).unwrap()),
        3 => aligned,
        3 => beside,
        3 => any,
    ]
}

/// Stories about a buffer of `size` bytes. Ranges lie at multiples of `grain`, and beside them.
pub fn stories(size: u64, grain: u64, longest: usize) -> impl Strategy<Value = Vec<Event>> {
    let range = move || range(size, grain);
    let part = || (any::<u8>(), any::<u8>());
    let end = prop_oneof![
        6 => Just(EndRange::Same),
        2 => part().prop_map(|(a, b)| EndRange::Part(a, b)),
        1 => Just(EndRange::Whole),
    ];
    let event = prop_oneof![
        6 => (0u64..3, access(), range())
            .prop_map(|(owner, access, range)| Event::Begin { owner, access, range }),
        8 => (any::<usize>(), part(), 1u8..)
            .prop_map(|(bracket, part, value)| Event::Store { bracket, part, value }),
        4 => any::<usize>().prop_map(|bracket| Event::Load { bracket }),
        6 => (any::<usize>(), end).prop_map(|(bracket, range)| Event::End { bracket, range }),
        1 => (access(), range())
            .prop_map(|(access, range)| Event::UnmatchedEnd { access, range }),
        1 => (access(), range(), access(), range())
            .prop_map(|(a, b, c, d)| Event::Mismatched { begun: (a, b), ended: (c, d) }),
        1 => (0u64..3).prop_map(|owner| Event::Abandon { owner }),
        2 => (access(), range())
            .prop_map(|(access, range)| Event::DeviceBegin { access, range }),
        3 => (any::<usize>(), part(), 1u8..)
            .prop_map(|(flight, part, value)| Event::DeviceWrite { flight, part, value }),
        3 => any::<usize>().prop_map(|flight| Event::DeviceRead { flight }),
        3 => any::<usize>().prop_map(|flight| Event::DeviceEnd { flight }),
        3 => (range(), 1u8..)
            .prop_map(|(range, value)| Event::DeviceWriteAtOnce { range, value }),
    ];
    prop::collection::vec(event, 1..longest)
}

/// A part of `range`, by two numbers.
fn part(range: Range, (a, b): (u8, u8)) -> Range {
    let at = |n: u8| range.start() + range.len() * u64::from(n) / 256;
    Range::between(at(a.min(b)), at(a.max(b)) + 1).unwrap()
}

#[derive(Debug)]
struct Open {
    owner: Owner,
    access: Access,
    range: Range,
    begun: u64,
    /// Which bytes of the buffer were stored to in it.
    stored: Vec<bool>,
}

#[derive(Debug)]
struct InFlight {
    access: Access,
    range: Range,
    /// What it wrote, by the offset in the buffer.
    written: Vec<Option<u8>>,
}

/// What is promised. `None` promises nothing.
#[derive(Debug)]
struct Contract {
    size: u64,
    granule: Granule,
    /// What loads in brackets see.
    cpu: Vec<Option<u8>>,
    /// What devices read.
    device: Vec<Option<u8>>,
    /// When a device last had it in its hands to write.
    written_at: Vec<u64>,
    /// By the granule: a program let the CPU and a device write it at the same time.
    mistaken: Vec<bool>,
    open: Vec<Open>,
    flights: Vec<InFlight>,
    now: u64,
}

fn bytes(range: Range) -> std::ops::Range<usize> {
    range.start() as usize..range.end() as usize
}

impl Contract {
    fn new(size: u64, granule: Granule) -> Contract {
        Contract {
            size,
            granule,
            cpu: vec![Some(0); size as usize],
            device: vec![Some(0); size as usize],
            written_at: vec![0; size as usize],
            mistaken: vec![false; size.div_ceil(granule.bytes()) as usize],
            open: Vec::new(),
            flights: Vec::new(),
            now: 0,
        }
    }

    fn aligned(&self, range: Range) -> Range {
        range.align_out(self.granule, self.size)
    }

    fn granules(&self, range: Range) -> std::ops::Range<usize> {
        let granule = self.granule.bytes();
        (range.start() / granule) as usize..range.end().div_ceil(granule) as usize
    }

    fn is_mistaken(&self, byte: usize) -> bool {
        self.mistaken[byte / self.granule.bytes() as usize]
    }

    /// Nothing is promised for any granule that both touch.
    fn both_write(&mut self, a: Range, b: Range) {
        let Some(both) = self.aligned(a).intersect(self.aligned(b)) else { return };
        let granules = self.granules(both);
        self.mistaken[granules].fill(true);
        self.cpu[bytes(both)].fill(None);
        self.device[bytes(both)].fill(None);
    }

    /// Takes the mark from granules that are not written from both sides any more. What they hold
    /// stays unknown until somebody writes it.
    fn settle(&mut self) {
        let mut written = vec![false; self.mistaken.len()];
        let brackets = self.open.iter().map(|open| (open.access, open.range));
        let flights = self.flights.iter().map(|flight| (flight.access, flight.range));
        for (_, range) in brackets.chain(flights).filter(|(access, _)| access.writes()) {
            written[self.granules(range)].fill(true);
        }
        for (mistaken, written) in self.mistaken.iter_mut().zip(written) {
            *mistaken &= written;
        }
    }

    fn waits(&self, access: Access, range: Range) -> bool {
        let mut flights = self.flights.iter();
        flights.any(|flight| flight.access.conflicts(access) && flight.range.overlaps(range))
    }

    fn begin(&mut self, owner: Owner, access: Access, range: Range) {
        self.now += 1;
        if access.reads() {
            let mut written_to = vec![false; self.size as usize];
            for open in self.open.iter().filter(|open| open.access.writes()) {
                written_to[bytes(open.range)].fill(true);
            }
            for byte in bytes(range).filter(|&byte| !written_to[byte]) {
                self.cpu[byte] = self.device[byte];
            }
        } else {
            // Without reading, the old bytes are given up.
            self.cpu[bytes(range)].fill(None);
            self.device[bytes(range)].fill(None);
        }
        if access.writes() {
            self.meets_devices(range);
        }
        let stored = vec![false; self.size as usize];
        self.open.push(Open { owner, access, range, begun: self.now, stored });
    }

    fn store(&mut self, bracket: usize, range: Range, value: u8) {
        for byte in bytes(range) {
            self.open[bracket].stored[byte] = true;
            self.cpu[byte] = Some(value).filter(|_| !self.is_mistaken(byte));
            self.device[byte] = None;
        }
    }

    fn must_load(&self, bracket: usize, byte: usize) -> Option<u8> {
        self.cpu[byte].filter(|_| self.written_at[byte] <= self.open[bracket].begun)
    }

    /// The bracket ends, and its END names `range`.
    fn end(&mut self, bracket: usize, range: Range) {
        let open = self.open.remove(bracket);
        for byte in bytes(open.range).filter(|&byte| open.stored[byte]) {
            if !range.contains(Range::new(byte as u64, 1).unwrap()) {
                self.cpu[byte] = None;
            }
            self.device[byte] = self.cpu[byte].filter(|_| !self.is_mistaken(byte));
        }
        self.settle();
    }

    /// An END that its START does not match says that bytes were stored to: they are not what they
    /// were, in whole granules.
    fn mismatched_end(&mut self, access: Access, range: Range) {
        if access.writes() {
            let aligned = self.aligned(range);
            self.device[bytes(aligned)].fill(None);
            self.meets_devices(range);
        }
    }

    /// The CPU writes `range`, and devices that do so now are at it at the same time.
    fn meets_devices(&mut self, range: Range) {
        let flights: Vec<_> = self.flights.iter().map(|f| (f.access, f.range)).collect();
        for (_, flight) in flights.into_iter().filter(|(access, _)| access.writes()) {
            self.both_write(range, flight);
        }
    }

    fn device_begin(&mut self, access: Access, range: Range) {
        self.now += 1;
        if access.writes() {
            self.written_at[bytes(range)].fill(self.now);
            self.cpu[bytes(range)].fill(None);
            if !access.reads() {
                self.device[bytes(range)].fill(None);
            }
            let open: Vec<_> = self.open.iter().map(|open| (open.access, open.range)).collect();
            for (_, open) in open.into_iter().filter(|(access, _)| access.writes()) {
                self.both_write(range, open);
            }
        }
        let written = vec![None; self.size as usize];
        self.flights.push(InFlight { access, range, written });
    }

    fn must_read(&self, flight: usize, byte: usize) -> Option<u8> {
        let at = Range::new(byte as u64, 1).unwrap();
        let mut others = self.flights.iter().enumerate().filter(|&(other, _)| other != flight);
        if others.any(|(_, other)| other.access.writes() && other.range.contains(at)) {
            return None;
        }
        self.flights[flight].written[byte].filter(|_| !self.is_mistaken(byte)).or(self.device[byte])
    }

    /// Whether two devices would write the same bytes, which is not the contract's business.
    fn devices_clash(&self, access: Access, range: Range) -> bool {
        let mut flights = self.flights.iter();
        access.writes()
            && flights.any(|flight| flight.access.writes() && flight.range.overlaps(range))
    }

    fn device_end(&mut self, flight: usize) {
        let flight = self.flights.remove(flight);
        for byte in bytes(flight.range) {
            if let Some(value) = flight.written[byte] {
                self.device[byte] = Some(value).filter(|_| !self.is_mistaken(byte));
            }
        }
        self.settle();
    }
}

/// How much of what was looked at was promised: a story in which nothing is shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looked {
    pub bytes: u64,
    pub promised: u64,
}

/// Runs `story` in `home`, a new buffer of `size` bytes, and compares all that is read with what is
/// promised.
pub fn holds<H: Home>(
    home: &mut H,
    size: u64,
    granule: Granule,
    story: &[Event],
) -> Result<Looked, TestCaseError> {
    let mut story_so_far = Story {
        home,
        contract: Contract::new(size, granule),
        flights: Vec::new(),
        looked: Looked::default(),
    };
    story.iter().try_for_each(|event| story_so_far.happens(event))?;
    story_so_far.finish()
}

struct Story<'a, H: Home> {
    home: &'a mut H,
    contract: Contract,
    flights: Vec<H::Flight>,
    looked: Looked,
}

impl<H: Home> Story<'_, H> {
    fn happens(&mut self, event: &Event) -> Result<(), TestCaseError> {
        let brackets = self.contract.open.len();
        let flights = self.contract.flights.len();
        match *event {
            Event::Begin { owner, access, range } if !self.contract.waits(access, range) => {
                self.begin(Owner(owner), access, range);
            }
            Event::Store { bracket, part: which, value } if brackets > 0 => {
                let bracket = bracket % brackets;
                let open = &self.contract.open[bracket];
                if open.access.writes() {
                    self.store(bracket, part(open.range, which), value);
                }
            }
            Event::Load { bracket } if brackets > 0 => self.load(bracket % brackets)?,
            Event::End { bracket, range } if brackets > 0 => {
                let bracket = bracket % brackets;
                let begun = &self.contract.open[bracket];
                let (owner, access) = (begun.owner, begun.access);
                let range = match range {
                    EndRange::Part(a, b) if self.is_alone(bracket) => part(begun.range, (a, b)),
                    EndRange::Whole if self.is_alone(bracket) => self.whole(),
                    _ => begun.range,
                };
                self.home.end(owner, access, range);
                self.contract.end(bracket, range);
            }
            Event::UnmatchedEnd { access, range } => {
                self.home.end(SLOPPY, access, range);
                self.contract.mismatched_end(access, range);
            }
            Event::Mismatched { begun: (access, range), ended }
                if !self.contract.waits(access, range) =>
            {
                self.mismatched(access, range, ended)?;
            }
            Event::Abandon { owner } => {
                self.home.abandon(Owner(owner));
                while let Some(bracket) =
                    self.contract.open.iter().position(|open| open.owner == Owner(owner))
                {
                    let range = self.contract.open[bracket].range;
                    self.contract.end(bracket, range);
                }
            }
            Event::DeviceBegin { access, range } => self.device_begin(access, range),
            Event::DeviceWrite { flight, part: which, value } if flights > 0 => {
                let flight = flight % flights;
                let InFlight { access, range, .. } = self.contract.flights[flight];
                if access.writes() {
                    self.device_write(flight, part(range, which), value);
                }
            }
            Event::DeviceRead { flight } if flights > 0 => self.device_read(flight % flights)?,
            Event::DeviceEnd { flight } if flights > 0 => self.device_end(flight % flights),
            Event::DeviceWriteAtOnce { range, value } => {
                self.device_begin(Access::Write, range);
                if self.contract.flights.len() > flights {
                    self.device_write(flights, range, value);
                    self.device_end(flights);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends everything, and looks at every byte from both sides.
    fn finish(mut self) -> Result<Looked, TestCaseError> {
        while !self.flights.is_empty() {
            self.device_end(0);
        }
        while let Some(Open { owner, access, range, .. }) = self.contract.open.first() {
            self.home.end(*owner, *access, *range);
            let range = *range;
            self.contract.end(0, range);
        }
        let whole = self.whole();
        self.device_begin(Access::Read, whole);
        self.device_read(0)?;
        self.device_end(0);
        self.begin(Owner(0), Access::Read, whole);
        self.load(0)?;
        Ok(self.looked)
    }

    fn whole(&self) -> Range {
        Range::new(0, self.contract.size).unwrap()
    }

    /// Whether an END of this owner and direction can only mean this bracket.
    fn is_alone(&self, bracket: usize) -> bool {
        let open = &self.contract.open;
        let alike = |other: &&Open| {
            (other.owner, other.access) == (open[bracket].owner, open[bracket].access)
        };
        open.iter().filter(alike).count() == 1
    }

    fn begin(&mut self, owner: Owner, access: Access, range: Range) {
        self.home.begin(owner, access, range);
        self.contract.begin(owner, access, range);
    }

    fn mismatched(
        &mut self,
        access: Access,
        range: Range,
        ended: (Access, Range),
    ) -> Result<(), TestCaseError> {
        self.begin(SLOPPY, access, range);
        let bracket = self.contract.open.len() - 1;
        if access.writes() {
            self.store(bracket, part(range, (100, 200)), 77);
        }
        self.load(bracket)?;
        self.home.end(SLOPPY, ended.0, ended.1);
        // Some of the stores may be visible and others not.
        let worst = access.union(ended.0);
        self.contract.mismatched_end(worst, ended.1);
        self.contract.mismatched_end(worst, range);
        let nowhere = Range::new(self.contract.size, 1).unwrap();
        self.contract.end(bracket, nowhere);
        Ok(())
    }

    fn store(&mut self, bracket: usize, range: Range, value: u8) {
        self.home.store(range, value);
        self.contract.store(bracket, range, value);
    }

    fn load(&mut self, bracket: usize) -> Result<(), TestCaseError> {
        let Open { access, range, owner, .. } = self.contract.open[bracket];
        if !access.reads() {
            return Ok(());
        }
        let seen = self.home.load(range);
        for (byte, seen) in bytes(range).zip(seen) {
            let must = self.contract.must_load(bracket, byte);
            self.look(seen, must, || {
                format!("{owner:?} in {access} bracket {range} loads {byte:#x}")
            })?;
        }
        Ok(())
    }

    fn device_begin(&mut self, access: Access, range: Range) {
        if !self.contract.devices_clash(access, range) {
            self.flights.push(self.home.device_begin(access, range));
            self.contract.device_begin(access, range);
        }
    }

    fn device_write(&mut self, flight: usize, range: Range, value: u8) {
        self.home.device_write(&mut self.flights[flight], range, value);
        for byte in bytes(range) {
            self.contract.flights[flight].written[byte] = Some(value);
        }
    }

    fn device_read(&mut self, flight: usize) -> Result<(), TestCaseError> {
        let InFlight { access, range, .. } = self.contract.flights[flight];
        if !access.reads() {
            return Ok(());
        }
        let seen = self.home.device_read(&mut self.flights[flight], range);
        for (byte, seen) in bytes(range).zip(seen) {
            let must = self.contract.must_read(flight, byte);
            self.look(seen, must, || format!("a device in {access} of {range} reads {byte:#x}"))?;
        }
        Ok(())
    }

    fn device_end(&mut self, flight: usize) {
        self.home.device_end(self.flights.remove(flight));
        self.contract.device_end(flight);
    }

    fn look(
        &mut self,
        seen: u8,
        must: Option<u8>,
        who: impl FnOnce() -> String,
    ) -> Result<(), TestCaseError> {
        self.looked.bytes += 1;
        self.looked.promised += u64::from(must.is_some());
        match must {
            Some(must) if must != seen => {
                Err(TestCaseError::fail(format!("{}: sees {seen}, must see {must}", who())))
            }
            _ => Ok(()),
        }
    }
}
