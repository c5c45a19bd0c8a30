//! What the engine knows of this process: buffers, where they are mapped, what is open on them. All
//! decisions are made here; [`super::calls`] and [`super::signal`] only ask.

use super::brackets::{Allowed, Bracket, Brackets, Direction, Ended, Range};
use super::filter::Span;
use super::log::{Found, Log};
use super::mapping::Mapping;
use super::pages::Pages;
use super::place::{HERE, Places, Registers, Site};
use super::sample::{Sample, Sampled};
use super::signal::SIGNALS;
use super::sys::{self, Action, PAGE};
use super::table::Table;
use super::window;
use crate::record::{self, NAME, NONE};
use crate::rules::Id;

/// What holds a buffer's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A dma-buf.
    Kernel,
    /// A served buffer.
    Served,
    /// The memfd that a udmabuf was made of.
    Memfd,
}

/// A bracket call that failed.
#[derive(Clone, Copy)]
enum Failed {
    /// None has.
    No,
    /// START, for good.
    Start { direction: Option<Direction>, range: Range, errno: i32 },
    /// A call that is to be called again.
    ToRestart {
        start: bool,
        direction: Direction,
        range: Range,
        errno: i32,
        thread: u32,
        site: Site,
    },
}

/// A buffer.
#[derive(Clone, Copy)]
pub struct Buffer {
    /// What it is.
    pub kind: Kind,
    /// What is told of it. For a memfd that is the dma-buf.
    pub told: record::Buffer,
    /// Device and inode of the file.
    key: [u64; 2],
    brackets: Brackets,
    failed: Failed,
    sample: Sample,
    last_end: u64,
    /// Counts what changes protections: what was known of pages before counts no more.
    generation: u32,
    /// Whether it was found out how fast loads are.
    timed: bool,
    /// Pages were left open, since then, for so long.
    left_open: Option<(u64, u64)>,
}

impl Buffer {
    /// What brackets allow with the page at this offset, and up to which offset the same.
    fn allowed(&self, page: u64) -> (Allowed, u64) {
        match self.kind {
            // No bracket is about it.
            Kind::Memfd => (Allowed::Nothing, u64::MAX),
            Kind::Kernel | Kind::Served => self.brackets.allowed(page),
        }
    }

    /// What an access is that brackets do not allow.
    fn stray(&self, write: bool, allowed: Allowed) -> Id {
        match (self.kind, write) {
            (Kind::Memfd, _) => Id::MemfdBehindUdmabuf,
            (_, false) => Id::OutsideRead,
            (_, true) if allowed == Allowed::Read => Id::WriteInReadBracket,
            (_, true) => Id::OutsideWrite,
        }
    }
}

/// Memory that is kept open for a thread, until its instruction or its call is over.
#[derive(Clone, Copy)]
struct Hold {
    thread: u32,
    start: usize,
    end: usize,
    allowed: Allowed,
    /// The call that it is for; 0 for an instruction.
    call: u64,
}

/// What a fault was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The program's own.
    NotOurs,
    /// Nothing: the instruction can be tried again.
    Again,
    /// The instruction can be tried again, and has to be told of when it is over.
    Step,
}

/// After so many traps of a page in a row it is left open for a while.
const TRAPS: u16 = 8;

/// How long at first, and at most: it doubles each time.
const LEFT_OPEN: u64 = 10_000_000;
const LEFT_OPEN_AT_MOST: u64 = 1_000_000_000;

/// Everything.
pub struct State {
    /// The record file.
    pub log: Log,
    /// Where the code of this program is.
    pub code: Table<Span, 16>,
    /// Where buffers are mapped outside of the window.
    pub outside: Table<Span, 64>,
    /// The program's actions for signals, by their number.
    pub actions: [Action; SIGNALS],
    /// Whether the second filter is there.
    pub watching: bool,
    /// Whether there are mappings to spare, so that pages can be put aside and come back.
    pub has_spare: bool,
    /// Whether the program may have the kernel access memory behind its back.
    pub asynchronous: bool,
    buffers: Table<Buffer, 1024>,
    mappings: Table<Mapping, 16384>,
    /// Those that a thread is about to unmap.
    unmapping: Table<(u32, Mapping), 1024>,
    holds: Table<Hold, 1024>,
    /// Threads in which the program handles a fault, and a second one would be the end.
    handling: Table<u32, 256>,
    /// Threads that go on after a wait with other signals blocked, and their own set.
    waited: Table<(u32, u64), 256>,
    pages: Pages,
    places: Places,
    sampled: Sampled,
    next_slot: usize,
    calls: u64,
    /// The length of the mapping of a buffer that failed last, and the buffer.
    failed_map: Option<(u64, usize)>,
}

impl State {
    /// Nothing known, and no memory.
    pub const fn new() -> State {
        State {
            log: Log::new(),
            code: Table::new(),
            outside: Table::new(),
            actions: [Action { handler: 0, flags: 0, restorer: 0, mask: 0 }; SIGNALS],
            watching: false,
            has_spare: false,
            asynchronous: false,
            buffers: Table::new(),
            mappings: Table::new(),
            unmapping: Table::new(),
            holds: Table::new(),
            handling: Table::new(),
            waited: Table::new(),
            pages: Pages::new(),
            places: Places::new(),
            sampled: Sampled::new(),
            next_slot: window::START,
            calls: 0,
            failed_map: None,
        }
    }

    /// Gets memory.
    pub fn prepare(&mut self) -> Result<(), sys::Errno> {
        self.code.prepare()?;
        self.outside.prepare()?;
        self.buffers.prepare()?;
        self.mappings.prepare()?;
        self.unmapping.prepare()?;
        self.holds.prepare()?;
        self.handling.prepare()?;
        self.waited.prepare()?;
        self.pages.prepare()?;
        self.places.prepare()?;
        self.sampled.prepare()
    }

    /// What a child has to forget: other threads, and that open brackets are its own to end.
    pub fn after_fork(&mut self) {
        self.log.start_anew();
        self.holds.clear();
        self.handling.clear();
        self.waited.clear();
        self.unmapping.clear();
        // What is not there any more has to be forgotten: somebody else gets the addresses.
        let mut index = 0;
        while let Some(mapping) = self.mappings.get(index) {
            if mapping.is_inherited() {
                index += 1;
            } else {
                self.mappings.swap_remove(index);
            }
        }
        for index in 0..self.buffers.len() {
            let buffer = &mut self.buffers[index];
            buffer.brackets.iter_mut().for_each(|bracket| bracket.excused = true);
            buffer.failed = Failed::No;
            buffer.sample.stop();
            self.apply(index);
        }
    }

    /// Takes down where the program is.
    pub fn here(&mut self, registers: &Registers) {
        self.places.take(registers, &self.code);
    }

    /// Whether this thread is in the program's handler of a fault, or has left it with the signal
    /// blocked.
    pub fn handles_fault(&self) -> bool {
        let thread = sys::thread();
        self.handling.contains(&thread)
    }

    /// It is, or is not any more.
    pub fn set_handles_fault(&mut self, handles: bool) {
        if !handles && self.handling.is_empty() {
            return;
        }
        let thread = sys::thread();
        match self.handling.iter().position(|&other| other == thread) {
            Some(index) if !handles => self.handling.swap_remove(index),
            // Where there is no room, a fault in the handler calls it again.
            None if handles => drop(self.handling.push(thread)),
            _ => {}
        }
    }

    /// Remembers which signals this thread has blocked once the handlers of those that came while
    /// it waited with others have run; false if that cannot be.
    pub fn note_mask_after_wait(&mut self, mask: u64) -> bool {
        self.mask_after_wait();
        self.waited.push((sys::thread(), mask)).is_some()
    }

    /// What was remembered, once.
    pub fn mask_after_wait(&mut self) -> Option<u64> {
        if self.waited.is_empty() {
            return None;
        }
        let thread = sys::thread();
        let index = self.waited.iter().position(|&(other, _)| other == thread)?;
        let (_, mask) = self.waited[index];
        self.waited.swap_remove(index);
        Some(mask)
    }

    /// Whether calls are trapped that come from where programs are that are not independent of their
    /// position.
    pub fn traps_low(&self) -> bool {
        self.code.iter().any(|span| !span.holds_nothing_below(super::start::LOW))
    }

    // --- buffers -------------------------------------------------------------------------------

    /// The buffer with this device and inode.
    pub fn find(&self, device: u64, inode: u64) -> Option<usize> {
        self.buffers.iter().position(|buffer| buffer.key == [device, inode])
    }

    /// Whether it is of this kind.
    pub fn is(&self, buffer: usize, kind: Kind) -> bool {
        self.buffers[buffer].kind == kind
    }

    /// What is told of it.
    pub fn told(&self, buffer: usize) -> record::Buffer {
        self.buffers[buffer].told
    }

    /// Remembers a buffer; one that is long gone makes room.
    pub fn add(&mut self, kind: Kind, key: [u64; 2], told: record::Buffer) -> Option<usize> {
        if let Some(known) = self.find(key[0], key[1]) {
            return Some(known);
        }
        let new = Buffer {
            kind,
            told,
            key,
            brackets: Brackets::new(),
            failed: Failed::No,
            sample: Sample::new(),
            last_end: NONE,
            generation: 0,
            timed: false,
            left_open: None,
        };
        if let Some(index) = self.buffers.push(new) {
            return Some(index);
        }
        let gone = (0..self.buffers.len())
            .find(|&index| !self.is_mapped(index) && self.buffers[index].brackets.len() == 0);
        match gone {
            Some(index) => {
                self.buffers[index] = new;
                Some(index)
            }
            None => {
                self.log.limit(record::limit::BUFFERS, self.buffers.len() as u64, &[]);
                None
            }
        }
    }

    /// Whether any part of it is mapped.
    pub fn is_mapped(&self, buffer: usize) -> bool {
        self.mappings.iter().any(|mapping| mapping.buffer == buffer)
    }

    /// Whether it has a bracket that this process has to end.
    pub fn is_open(&self, buffer: usize) -> bool {
        self.buffers[buffer].brackets.iter().any(|bracket| !bracket.excused)
    }

    /// Whether any buffer has one.
    pub fn any_open(&self) -> bool {
        (0..self.buffers.len()).any(|index| self.is_open(index))
    }

    // --- protections ---------------------------------------------------------------------------

    /// What may be done now with the page at this address, and up to which address the same holds.
    fn effective(&self, mapping: &Mapping, page: usize) -> (Allowed, usize) {
        let buffer = &self.buffers[mapping.buffer];
        let (mut allowed, until) = buffer.allowed(mapping.offset_of(page));
        if let Some(most) = buffer.sample.holds_back() {
            allowed = allowed.min(most);
        }
        let mut until = mapping.address_of(until);
        for hold in self.holds.iter() {
            if hold.start <= page && page < hold.end {
                allowed = allowed.max(hold.allowed);
                until = until.min(hold.end);
            } else if page < hold.start {
                until = until.min(hold.start);
            }
        }
        (allowed.min(mapping.allowed()), until)
    }

    /// Sets what may be done with a part of a mapping.
    fn protect(&mut self, index: usize, start: usize, end: usize) {
        let mapping = self.mappings[index];
        let (mut page, end) = (start.max(mapping.start), end.min(mapping.end));
        while page < end {
            let (allowed, until) = self.effective(&mapping, page);
            let until = until.min(end);
            // What can fail is the number of mappings that a process may have: then a page stays
            // as it is, and is looked at again when it traps.
            let _ = self.allow(index, page, until, allowed);
            page = until;
        }
    }

    /// The same where it is alike for all of the part. Once the process can have no more mappings,
    /// no pages are aside any more.
    fn allow(&mut self, index: usize, start: usize, end: usize, allowed: Allowed) -> sys::Result {
        let aside = self.has_spare;
        let set = self.mappings[index].allow(start, end, allowed, aside);
        if set.is_ok() || !self.give_up_spare() {
            return set;
        }
        self.mappings[index].allow(start, end, allowed, false)
    }

    /// Has all pages be in their place again, if there are mappings to spare that make it possible.
    fn give_up_spare(&mut self) -> bool {
        if !core::mem::take(&mut self.has_spare) {
            return false;
        }
        window::give_up_spare();
        for mapping in self.mappings.iter_mut() {
            // One that this is not enough for is tried again when it traps.
            let _ = mapping.bring_back();
        }
        true
    }

    /// Sets what may be done with everything that is mapped of a buffer.
    fn apply(&mut self, buffer: usize) {
        self.buffers[buffer].generation = self.buffers[buffer].generation.wrapping_add(1);
        self.buffers[buffer].left_open = None;
        for index in 0..self.mappings.len() {
            let mapping = self.mappings[index];
            if mapping.buffer == buffer {
                self.protect(index, mapping.start, mapping.end);
            }
        }
    }

    /// Sets what may be done with everything that is mapped of these bytes of a buffer. Where pages
    /// were left open that are elsewhere, with everything.
    fn apply_range(&mut self, buffer: usize, range: Range) {
        if self.buffers[buffer].left_open.is_some() || range == Range::WHOLE {
            return self.apply(buffer);
        }
        self.buffers[buffer].generation = self.buffers[buffer].generation.wrapping_add(1);
        let mask = !(PAGE as u64 - 1);
        let (first, end) = (range.start & mask, range.end.saturating_add(PAGE as u64 - 1) & mask);
        for index in 0..self.mappings.len() {
            let mapping = self.mappings[index];
            if mapping.buffer == buffer {
                self.protect(index, mapping.address_of(first), mapping.address_of(end));
            }
        }
    }

    /// Protects again what was left open for long enough.
    pub fn protect_again(&mut self) {
        if self.buffers.iter().all(|buffer| buffer.left_open.is_none()) {
            return;
        }
        let now = sys::now();
        for index in 0..self.buffers.len() {
            if let Some((since, time)) = self.buffers[index].left_open
                && now.saturating_sub(since) > time
            {
                self.apply(index);
                self.buffers[index].left_open = Some((u64::MAX, (2 * time).min(LEFT_OPEN_AT_MOST)));
            }
        }
    }

    // --- findings ------------------------------------------------------------------------------

    #[inline(never)]
    fn report(&mut self, rule: Id, buffer: usize, offset: u64, numbers: [u64; 2], site: Site) {
        let about = &self.buffers[buffer];
        let since_end = match about.last_end {
            NONE => NONE,
            last => sys::now().saturating_sub(last),
        };
        let found = Found { rule, buffer: about.told, offset, since_end, numbers };
        if let Some(place) = self.places.get(site) {
            self.log.finding(&found, place);
        }
    }

    /// As if the bracket had been begun: what follows from its absence is not told again.
    fn excuse(&mut self, buffer: usize, direction: Direction, range: Range) {
        let bracket = Bracket { direction, range, site: HERE, unmapped: None, excused: true };
        self.begin(buffer, bracket);
    }

    fn begin(&mut self, buffer: usize, bracket: Bracket) {
        if self.buffers[buffer].brackets.begin(bracket) {
            self.apply_range(buffer, bracket.range);
        } else {
            self.log.limit(
                record::limit::BRACKETS,
                self.buffers[buffer].brackets.len() as u64,
                &[],
            );
        }
    }

    fn forget(&mut self, bracket: &Bracket) {
        self.places.forget(bracket.site);
        if let Some(site) = bracket.unmapped {
            self.places.forget(site);
        }
    }

    /// A call that was to be called again was not, if this is not that call.
    fn settle(&mut self, buffer: usize, same: impl Fn(bool, Direction, Range) -> bool) {
        let Failed::ToRestart { start, direction, range, errno, thread, site } =
            self.buffers[buffer].failed
        else {
            return;
        };
        if thread != sys::thread() {
            return;
        }
        self.buffers[buffer].failed = Failed::No;
        if !same(start, direction, range) {
            self.not_restarted(buffer, start, direction, range, errno, site);
        }
        self.places.forget(site);
    }

    fn not_restarted(
        &mut self,
        buffer: usize,
        start: bool,
        direction: Direction,
        range: Range,
        errno: i32,
        site: Site,
    ) {
        self.report(Id::NotRestarted, buffer, NONE, [errno as u64, 0], site);
        if start {
            self.excuse(buffer, direction, range);
        } else if let Ended::Its(bracket) | Ended::OfAnotherDirection(bracket) =
            self.buffers[buffer].brackets.end(direction, range)
        {
            self.forget(&bracket);
            self.apply_range(buffer, bracket.range);
        }
    }

    // --- brackets ------------------------------------------------------------------------------

    /// A bracket call has failed. Where the program is has been taken down.
    pub fn bracket_failed(
        &mut self,
        buffer: usize,
        start: bool,
        direction: Option<Direction>,
        range: Range,
        errno: i32,
    ) {
        self.settle(buffer, |s, d, r| s == start && Some(d) == direction && r == range);
        self.buffers[buffer].failed = match direction {
            Some(direction) if errno == libc::EINTR || errno == libc::EAGAIN => {
                let (thread, site) = (sys::thread(), self.places.keep());
                Failed::ToRestart { start, direction, range, errno, thread, site }
            }
            _ if start => Failed::Start { direction, range, errno },
            _ => return,
        };
    }

    /// A bracket has begun.
    pub fn begun(&mut self, buffer: usize, direction: Direction, range: Range) {
        self.settle(buffer, |s, d, r| s && d == direction && r == range);
        if let Failed::Start { .. } = self.buffers[buffer].failed {
            self.buffers[buffer].failed = Failed::No;
        }
        let about = &self.buffers[buffer];
        if about.told.exporter_syncs_attachments_only() {
            self.report(Id::SyncWithoutEffect, buffer, NONE, [0; 2], HERE);
        }
        let alone = self.buffers[buffer].brackets.len() == 0;
        let site = self.places.keep();
        if self.buffers[buffer].sample.is_on() {
            // Another bracket, and nobody can tell which one a page was touched for.
            self.stop_sampling(buffer);
        } else if alone && !self.asynchronous {
            let way = self.places.get(site).map_or(0, |place| place.way);
            if self.sampled.is_due(way) {
                let whole = range == Range::WHOLE;
                let size = self.buffers[buffer].told.size;
                self.buffers[buffer].sample.begin(direction, whole, size.div_ceil(PAGE as u64));
            }
        }
        self.begin(buffer, Bracket { direction, range, site, unmapped: None, excused: false });
    }

    /// A page that the program has loaded from, if it is not known yet how fast that is; it stays
    /// open until [`timed`](Self::timed). Not of a served buffer, whose server may be slow.
    pub fn page_to_time(&mut self, buffer: usize) -> Option<(u64, usize)> {
        let about = &mut self.buffers[buffer];
        if about.timed || about.kind != Kind::Kernel || about.sample.numbers()[0] == 0 {
            return None;
        }
        about.timed = true;
        let index = self.mappings.iter().position(|mapping| mapping.buffer == buffer)?;
        let start = self.mappings[index].start;
        let end = start + PAGE;
        let call = self.new_call();
        let hold = Hold { thread: sys::thread(), start, end, allowed: Allowed::Read, call };
        if !self.hold(hold) {
            return None;
        }
        self.protect(index, start, end);
        Some((call, start))
    }

    /// How fast loads are is known now.
    pub fn timed(&mut self, buffer: usize, call: u64, is_uncached: bool) {
        self.returned(call);
        let latest = self.buffers[buffer].brackets.iter().next_back().map(|bracket| bracket.site);
        if let Some(site) = latest.filter(|_| is_uncached) {
            self.report(Id::UncachedReads, buffer, NONE, [0; 2], site);
        }
    }

    /// A bracket has ended, or was to end.
    pub fn ended(&mut self, buffer: usize, direction: Direction, range: Range) {
        self.settle(buffer, |s, d, r| !s && d == direction && r == range);
        let ended = self.buffers[buffer].brackets.end(direction, range);
        match ended {
            Ended::Its(bracket) => {
                if let Some(site) = bracket.unmapped {
                    self.report(Id::UnmappedInBracket, buffer, NONE, [0; 2], site);
                }
                self.look_at_sample(buffer, &bracket);
            }
            Ended::OfAnotherDirection(_) => {
                self.report(Id::EndOtherDirection, buffer, NONE, [0; 2], HERE);
            }
            Ended::None => self.report(Id::EndWithoutStart, buffer, NONE, [0; 2], HERE),
        }
        if self.buffers[buffer].brackets.len() > 0 {
            // What is held back is open for the others.
            self.stop_sampling(buffer);
        } else {
            self.buffers[buffer].sample.stop();
        }
        if let Ended::Its(bracket) | Ended::OfAnotherDirection(bracket) = ended {
            self.forget(&bracket);
            self.apply_range(buffer, bracket.range);
        }
        self.buffers[buffer].last_end = sys::now();
    }

    fn look_at_sample(&mut self, buffer: usize, bracket: &Bracket) {
        let sample = self.buffers[buffer].sample;
        if !sample.is_on() {
            return;
        }
        let numbers = sample.numbers();
        if sample.nothing_touched() {
            self.report(Id::NothingTouched, buffer, NONE, numbers, bracket.site);
        }
        if sample.few_of_whole() {
            self.report(Id::FewPagesOfWhole, buffer, NONE, numbers, bracket.site);
        }
        if sample.only_read_of_both() {
            self.report(Id::RwWhereOneWouldDo, buffer, NONE, numbers, bracket.site);
        }
    }

    /// Something is wrong with what is touched: how much is touched is not told as well.
    fn stop_sampling(&mut self, buffer: usize) {
        if self.buffers[buffer].sample.is_on() {
            self.buffers[buffer].sample.stop();
            self.apply(buffer);
        }
    }

    /// The process ends.
    pub fn exiting(&mut self) {
        for index in 0..self.buffers.len() {
            if let Failed::ToRestart { start: false, direction, range, errno, site, .. } =
                self.buffers[index].failed
            {
                self.buffers[index].failed = Failed::No;
                self.not_restarted(index, false, direction, range, errno, site);
            }
            self.never_ended(index);
        }
    }

    /// Nobody will end the brackets of this buffer.
    fn never_ended(&mut self, buffer: usize) {
        // One after the other: a copy of them all is more than a small stack holds.
        while let Some(site) = self.buffers[buffer].brackets.excuse_one() {
            self.report(Id::StartWithoutEnd, buffer, NONE, [0; 2], site);
        }
    }

    /// The last descriptor of a buffer is closed.
    pub fn closing(&mut self, buffer: usize) {
        if let Failed::ToRestart { start: false, .. } = self.buffers[buffer].failed {
            self.settle(buffer, |_, _, _| false);
        }
        if !self.is_open(buffer) {
            return;
        }
        if self.is_mapped(buffer) {
            self.report(Id::ClosedInBracket, buffer, NONE, [0; 2], HERE);
            self.buffers[buffer].brackets.iter_mut().for_each(|bracket| bracket.excused = true);
        } else {
            self.never_ended(buffer);
        }
    }

    // --- mappings ------------------------------------------------------------------------------

    /// Where to map so many bytes.
    pub fn slot(&mut self, len: usize) -> Option<usize> {
        let align = if len >= 2 << 20 { 2 << 20 } else { 64 << 10 };
        let len = len.checked_next_multiple_of(PAGE)?.checked_add(PAGE)?;
        let mut start = self.next_slot.next_multiple_of(align);
        if start.checked_add(len)? > window::MIDDLE {
            start = window::START;
        }
        let end = start.checked_add(len)?;
        (end <= window::MIDDLE).then(|| {
            self.next_slot = end;
            start
        })
    }

    /// A buffer has been mapped.
    pub fn mapped(
        &mut self,
        buffer: usize,
        start: usize,
        len: usize,
        offset: u64,
        protection: i32,
    ) {
        let end = start + len.next_multiple_of(PAGE);
        self.keep(Mapping::new(start, end, buffer, offset, protection));
    }

    fn keep(&mut self, mapping: Mapping) {
        let Mapping { start, end, buffer, .. } = mapping;
        let Some(index) = self.mappings.push(mapping) else {
            self.log.limit(record::limit::MAPPINGS, self.mappings.len() as u64, &[]);
            return;
        };
        for bracket in self.buffers[buffer].brackets.iter_mut() {
            if let Some(site) = bracket.unmapped.take() {
                self.places.forget(site);
            }
        }
        self.protect(index, start, end);
    }

    /// A mapping of a buffer has failed.
    pub fn map_failed(&mut self, buffer: usize, len: u64) {
        self.failed_map = Some((len, buffer));
    }

    /// Whether any mapping has a page in this range.
    pub fn overlaps(&self, start: usize, end: usize) -> bool {
        self.mappings.iter().any(|mapping| mapping.overlaps(start, end))
    }

    /// Has what is mapped there be there for a call that is about the mapping, not about what is in
    /// it.
    pub fn bring_back(&mut self, start: usize, end: usize) {
        for index in 0..self.mappings.len() {
            let mapping = &mut self.mappings[index];
            if mapping.overlaps(start, end) && mapping.bring_back().is_err() {
                self.give_up_spare();
            }
        }
    }

    /// Cuts mappings so that none reaches across this address.
    fn split(&mut self, address: usize) {
        for index in 0..self.mappings.len() {
            let mut mapping = self.mappings[index];
            if mapping.start < address && address < mapping.end {
                let second = mapping.split(address);
                if self.mappings.push(second).is_some() {
                    self.mappings[index] = mapping;
                }
                return;
            }
        }
    }

    /// What is mapped there is about to go. Where the program is has been taken down.
    pub fn unmapping(&mut self, start: usize, end: usize) {
        self.bring_back(start, end);
        self.split(start);
        self.split(end);
        let mut index = 0;
        while index < self.mappings.len() {
            let mapping = self.mappings[index];
            if mapping.start < start || mapping.end > end {
                index += 1;
                continue;
            }
            self.mappings.swap_remove(index);
            // Where there is no room, a call that fails has one mapping be forgotten.
            self.unmapping.push((sys::thread(), mapping));
            if self.is_mapped(mapping.buffer) {
                continue;
            }
            let State { buffers, places, .. } = self;
            for bracket in buffers[mapping.buffer].brackets.iter_mut() {
                if !bracket.excused && bracket.unmapped.is_none() {
                    bracket.unmapped = Some(places.keep());
                }
            }
        }
    }

    /// It is gone, or still there, since the call has failed.
    pub fn unmapped(&mut self, is_gone: bool) {
        let thread = sys::thread();
        let mut index = 0;
        while let Some(&(other, mapping)) = self.unmapping.get(index) {
            if other != thread {
                index += 1;
                continue;
            }
            self.unmapping.swap_remove(index);
            if !is_gone {
                self.still_mapped(&mapping);
            }
        }
    }

    /// What is left of a mapping after a call that was to replace it and has failed; it may have made
    /// room before.
    fn still_mapped(&mut self, mapping: &Mapping) {
        let (mut start, end) = (mapping.start, mapping.end);
        while start < end {
            let len = if sys::is_mapped(start, end - start) {
                end - start
            } else {
                let pages = (start..end).step_by(PAGE);
                pages.take_while(|&page| sys::is_mapped(page, PAGE)).count() * PAGE
            };
            if len > 0 {
                self.keep(mapping.part(start, start + len));
            }
            start += len + PAGE;
        }
    }

    /// Where in a range a mapping begins or ends first; its end if none does.
    pub fn boundary(&self, start: usize, end: usize) -> usize {
        let ends = self.mappings.iter().flat_map(|mapping| [mapping.start, mapping.end]);
        ends.filter(|&at| start < at && at < end).min().unwrap_or(end)
    }

    /// The program has given a range another protection, which was brought back before.
    pub fn protected(&mut self, start: usize, end: usize, protection: i32) {
        self.split(start);
        self.split(end);
        for index in 0..self.mappings.len() {
            let Mapping { start: first, end: last, buffer, offset, .. } = self.mappings[index];
            if start <= first && last <= end {
                self.mappings[index] = Mapping::new(first, last, buffer, offset, protection);
                self.protect(index, first, last);
            }
        }
    }

    /// A range is about to be moved: for the kernel it must not be in parts that the program knows
    /// nothing of. Whether any of it is mapped.
    pub fn join(&mut self, start: usize, end: usize) -> bool {
        // Of a range without bytes the mapping that it is in.
        let end = end.max(start + 1);
        self.bring_back(start, end);
        let mut any = false;
        for mapping in self.mappings.iter_mut().filter(|mapping| mapping.overlaps(start, end)) {
            any = true;
            let (start, end) = (mapping.start.max(start), mapping.end.min(end));
            // A call that fails leaves parts, and the move fails.
            let _ = mapping.hold_for_call(start, end.next_multiple_of(PAGE));
        }
        any
    }

    /// It was not: it is protected again.
    pub fn not_moved(&mut self, start: usize, end: usize) {
        let end = end.max(start + PAGE);
        for index in 0..self.mappings.len() {
            if self.mappings[index].overlaps(start, end) {
                self.mappings[index].call_is_over();
                self.protect(index, start, end);
            }
        }
    }

    /// A range has moved, or is mapped there as well; what was at its new place is gone already.
    pub fn moved(&mut self, from: usize, end: usize, to: usize, to_end: usize, stays: bool) {
        let known = self.mapping(from).map(|index| self.mappings[index]);
        if from == end
            && let Some(mapping) = known
        {
            let (buffer, offset) = (mapping.buffer, mapping.offset_of(from));
            self.mapped(buffer, to, to_end - to, offset, mapping.protection);
            return self.not_moved(from, end);
        }
        self.split(from);
        self.split(end);
        let (mut index, mut rest) = (0, self.mappings.len());
        while index < rest {
            self.mappings[index].call_is_over();
            let mapping = self.mappings[index];
            index += 1;
            if mapping.start < from || mapping.end > end {
                continue;
            }
            let start = to + (mapping.start - from);
            // What is longer than before is so at its end.
            let last = if mapping.end == end { to_end } else { to + (mapping.end - from) };
            let last = last.min(to_end);
            if stays {
                self.protect(index - 1, mapping.start, mapping.end);
                if start < last {
                    let (buffer, offset) = (mapping.buffer, mapping.offset);
                    self.mapped(buffer, start, last - start, offset, mapping.protection);
                }
            } else if start < last {
                self.mappings[index - 1] = mapping.at(start, last);
                self.protect(index - 1, start, last);
            } else {
                index -= 1;
                rest -= 1;
                self.mappings.swap_remove(index);
            }
        }
    }

    fn mapping(&self, address: usize) -> Option<usize> {
        self.mappings.iter().position(|mapping| mapping.holds(address))
    }

    // --- accesses ------------------------------------------------------------------------------

    /// A load or store has trapped: because of the protection of what is mapped there, or because
    /// nothing is.
    pub fn fault(
        &mut self,
        address: usize,
        is_mapped: bool,
        write: bool,
        registers: &Registers,
        again: bool,
    ) -> Fault {
        let needed = if write { Allowed::Write } else { Allowed::Read };
        let Some(index) = self.mapping(address) else {
            return Fault::NotOurs;
        };
        let mapping = self.mappings[index];
        if mapping.allowed() < needed || !is_mapped && !mapping.is_there(address) {
            return Fault::NotOurs;
        }
        let page = address & !(PAGE - 1);
        let (buffer, offset) = (mapping.buffer, mapping.offset_of(address));
        let in_brackets = self.buffers[buffer].allowed(mapping.offset_of(page)).0;
        if in_brackets >= needed {
            return self.touched(index, page, needed);
        }
        self.stop_sampling(buffer);
        if !again || !self.is_told(buffer, needed) {
            self.here(registers);
            if self.was_announced(buffer, offset) {
                return Fault::Again;
            }
            let rule = self.buffers[buffer].stray(write, in_brackets);
            self.report(rule, buffer, offset, [u64::from(write), 0], HERE);
        }
        let generation = self.buffers[buffer].generation;
        let Some(entry) = self.pages.entry(page, generation) else {
            // So many pages are open that one more does not matter.
            return self.open(index, page, needed);
        };
        entry.traps = entry.traps.saturating_add(1);
        if entry.traps > TRAPS {
            entry.open = entry.open.max(needed);
            let allowed = entry.open;
            let since = sys::now();
            let left = &mut self.buffers[buffer].left_open;
            *left = Some(match *left {
                Some((u64::MAX, time)) => (since, time),
                Some(known) => known,
                None => (since, LEFT_OPEN),
            });
            return self.open(index, page, allowed);
        }
        let hold =
            Hold { thread: sys::thread(), start: page, end: page + PAGE, allowed: needed, call: 0 };
        if !self.hold(hold) {
            return self.open(index, page, needed);
        }
        match self.protect_page(index, page) {
            Fault::Again => Fault::Step,
            other => other,
        }
    }

    /// Whether the instruction that this thread steps over has been told of already, for what it does
    /// elsewhere in this buffer: it may be on two pages, and move bytes from one buffer to another.
    fn is_told(&self, buffer: usize, needed: Allowed) -> bool {
        let thread = sys::thread();
        let mut holds =
            self.holds.iter().filter(|hold| hold.thread == thread && hold.call == 0).peekable();
        // Without any, what it had open was closed meanwhile.
        holds.peek().is_none()
            || holds.any(|hold| {
                hold.allowed >= needed
                    && self
                        .mapping(hold.start)
                        .is_some_and(|index| self.mappings[index].buffer == buffer)
            })
    }

    /// Keeps memory open; false if there is no room.
    fn hold(&mut self, hold: Hold) -> bool {
        if self.holds.push(hold).is_some() {
            return true;
        }
        // Threads end wherever they are.
        let mut index = 0;
        while let Some(hold) = self.holds.get(index) {
            if sys::is_alive(hold.thread) {
                index += 1;
            } else {
                self.holds.swap_remove(index);
            }
        }
        self.holds.push(hold).is_some()
    }

    /// Sets what may be done with one page, which may have been left open.
    fn protect_page(&mut self, index: usize, page: usize) -> Fault {
        let mapping = self.mappings[index];
        let generation = self.buffers[mapping.buffer].generation;
        let left_open = self.pages.open(page, generation);
        let allowed = self.effective(&mapping, page).0.max(left_open).min(mapping.allowed());
        self.open(index, page, allowed)
    }

    /// Sets it. Where the process can have no more mappings, so that it cannot be set for one page
    /// alone, for all, and nobody knows what else is touched; where that fails, nothing of the buffer
    /// is there.
    fn open(&mut self, index: usize, page: usize, allowed: Allowed) -> Fault {
        if self.allow(index, page, page + PAGE, allowed).is_ok() {
            return Fault::Again;
        }
        let Mapping { start, end, buffer, .. } = self.mappings[index];
        self.buffers[buffer].sample.stop();
        match self.allow(index, start, end, allowed) {
            Ok(_) => Fault::Again,
            Err(_) => Fault::NotOurs,
        }
    }

    /// A page is touched inside of a bracket: it is opened, and counted if that is wanted.
    fn touched(&mut self, index: usize, page: usize, needed: Allowed) -> Fault {
        let buffer = self.mappings[index].buffer;
        let generation = self.buffers[buffer].generation;
        if self.buffers[buffer].sample.is_on() {
            let entry = self.pages.entry(page, generation);
            let is_first = entry.as_ref().is_none_or(|entry| entry.open == Allowed::Nothing);
            if let Some(entry) = entry {
                entry.open = entry.open.max(needed);
            }
            let sample = &mut self.buffers[buffer].sample;
            let held_back = sample.holds_back();
            sample.touch(needed, is_first);
            if sample.holds_back() != held_back {
                self.apply(buffer);
            }
        }
        self.protect_page(index, page)
    }

    /// Whether the access is explained by a call that failed before; if so, that is reported.
    fn was_announced(&mut self, buffer: usize, offset: u64) -> bool {
        match self.buffers[buffer].failed {
            Failed::Start { direction, range, errno } => {
                self.buffers[buffer].failed = Failed::No;
                self.report(Id::FailedStartIgnored, buffer, offset, [errno as u64, 0], HERE);
                self.excuse(buffer, direction.unwrap_or(Direction::Both), range);
                true
            }
            Failed::ToRestart { start: true, direction, range, errno, site, .. } => {
                self.buffers[buffer].failed = Failed::No;
                self.not_restarted(buffer, true, direction, range, errno, site);
                self.places.forget(site);
                true
            }
            _ => false,
        }
    }

    /// An access has trapped that is near MAP_FAILED: the buffer that could not be mapped.
    pub fn failed_map(&self, address: usize) -> Option<usize> {
        let (len, buffer) = self.failed_map?;
        // MAP_FAILED is the address before 0: what is in the first page is NULL's, as far as one
        // can tell.
        let offset = (address as u64).wrapping_add(1);
        (address == usize::MAX || address >= PAGE && offset < len).then_some(buffer)
    }

    /// What mmap returned for this buffer when it failed was used as an address.
    pub fn failed_map_used(&mut self, buffer: usize, address: usize, registers: &Registers) {
        self.here(registers);
        self.report(Id::MapFailedUsed, buffer, (address as u64).wrapping_add(1), [0; 2], HERE);
    }

    /// The instruction of a thread is over: what was open for it is not any more.
    pub fn stepped(&mut self) -> bool {
        self.release(0)
    }

    /// A number for a call of a thread's, which is later than that of a call that it interrupts.
    pub fn new_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// A call of a thread is over, and so are those that interrupted it: from some of them a signal
    /// handler may have jumped away.
    pub fn returned(&mut self, call: u64) -> bool {
        self.release(call)
    }

    fn release(&mut self, call: u64) -> bool {
        let thread = sys::thread();
        let mut any = false;
        let mut index = 0;
        while index < self.holds.len() {
            let hold = self.holds[index];
            let is_over = if call == 0 { hold.call == 0 } else { hold.call >= call };
            if hold.thread != thread || !is_over {
                index += 1;
                continue;
            }
            any = true;
            self.holds.swap_remove(index);
            for at in 0..self.mappings.len() {
                if self.mappings[at].overlaps(hold.start, hold.end) {
                    if call == 0 {
                        self.protect_page(at, hold.start);
                    } else {
                        self.protect(at, hold.start, hold.end);
                    }
                }
            }
        }
        any
    }

    /// Opens memory for a call that loads from it or stores to it; pages that are open anyway are
    /// none of its business.
    pub fn open_for_call(&mut self, call: u64, start: usize, end: usize, allowed: Allowed) {
        let (start, end) = (start & !(PAGE - 1), end.saturating_add(PAGE - 1) & !(PAGE - 1));
        for at in 0..self.mappings.len() {
            let mapping = self.mappings[at];
            if mapping.start >= end || start >= mapping.end {
                continue;
            }
            // The call touches what it touches: that is not found out page by page.
            self.stop_sampling(mapping.buffer);
            let (start, end) = (start.max(mapping.start), end.min(mapping.end));
            let mut page = start;
            let mut is_open = true;
            while page < end && is_open {
                let (now, until) = self.effective(&mapping, page);
                is_open = now >= allowed.min(mapping.allowed());
                page = until;
            }
            if !is_open {
                let hold = Hold { thread: sys::thread(), start, end, allowed, call };
                if self.hold(hold) {
                    self.protect(at, start, end);
                } else {
                    // It stays open until protections change.
                    let _ = self.allow(at, start, end, allowed.min(mapping.allowed()));
                }
            }
        }
    }

    /// Opens for a call all of the mapping that has this address.
    pub fn open_whole(&mut self, call: u64, address: usize) {
        if let Some(index) = self.mapping(address) {
            let mapping = self.mappings[index];
            self.open_for_call(call, mapping.start, mapping.end, mapping.allowed());
        }
    }

    /// A call has loaded or stored these bytes: are they in brackets? Where the program is has been
    /// taken down. True once something is found, which is told once for a call.
    pub fn look_at_call(&mut self, start: usize, end: usize, write: bool) -> bool {
        let needed = if write { Allowed::Write } else { Allowed::Read };
        for at in 0..self.mappings.len() {
            let mapping = self.mappings[at];
            let (start, end) = (start.max(mapping.start), end.min(mapping.end));
            let mut address = start;
            while address < end {
                let page = address & !(PAGE - 1);
                let offset = mapping.offset_of(address);
                let buffer = mapping.buffer;
                let (allowed, until) = self.buffers[buffer].allowed(mapping.offset_of(page));
                if allowed < needed {
                    if !self.was_announced(buffer, offset) {
                        let rule = self.buffers[buffer].stray(write, allowed);
                        self.report(rule, buffer, offset, [u64::from(write), 0], HERE);
                    }
                    return true;
                }
                address = mapping.address_of(until);
            }
        }
        false
    }
}

impl record::Buffer {
    /// Whether the exporter's begin and end are about attached devices alone: the kernel's heaps,
    /// and V4L2's contiguous memory (drivers/dma-buf/heaps, videobuf2-dma-contig.c).
    fn exporter_syncs_attachments_only(&self) -> bool {
        let len = self.exporter.iter().position(|&byte| byte == 0).unwrap_or(NAME);
        let name = &self.exporter[..len];
        let heaps: [&[u8]; 5] =
            [b"system", b"default_cma_region", b"linux,cma", b"reserved", b"videobuf2_dma_contig"];
        heaps.contains(&name)
    }
}
