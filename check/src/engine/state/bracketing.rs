//! Brackets that begin, end, fail or are never ended, and what is wrong with them.

use super::{Failed, Hold, Kind, State};
use crate::engine::brackets::{Allowed, Bracket, Direction, Ended, Range};
use crate::engine::place::{HERE, Site};
use crate::engine::sys::{self, PAGE};
use crate::record::{self, NONE};
use crate::rules::Id;

impl State {
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
                let (thread, site) = (sys::thread(), self.keep_here());
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
        let site = self.keep_here();
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
        let hold = Hold {
            thread: sys::thread(),
            start,
            end,
            allowed: Allowed::Read,
            call,
            was_open: None,
        };
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

    /// As if the bracket had been begun: what follows from its absence is not told again.
    pub(super) fn excuse(&mut self, buffer: usize, direction: Direction, range: Range) {
        let bracket = Bracket { direction, range, site: HERE, unmapped: None, excused: true };
        self.begin(buffer, bracket);
    }

    pub(super) fn forget(&mut self, bracket: &Bracket) {
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

    pub(super) fn not_restarted(
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
    pub(super) fn stop_sampling(&mut self, buffer: usize) {
        if self.buffers[buffer].sample.is_on() {
            self.buffers[buffer].sample.stop();
            self.apply(buffer);
        }
    }

    /// Nobody will end the brackets of this buffer.
    fn never_ended(&mut self, buffer: usize) {
        // One after the other: a copy of them all is more than a small stack holds.
        while let Some(site) = self.buffers[buffer].brackets.excuse_one() {
            self.report(Id::StartWithoutEnd, buffer, NONE, [0; 2], site);
        }
    }
}
