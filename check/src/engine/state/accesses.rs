//! Loads and stores that have trapped, and those of system calls.

use super::protections::LEFT_OPEN;
use super::{Failed, Hold, State};
use crate::engine::brackets::{Allowed, Direction};
use crate::engine::place::{HERE, Registers};
use crate::engine::sys::{self, PAGE};
use crate::rules::Id;

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

impl State {
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
            // What another thread replaces is something else in a moment.
            return if self.is_replaced(address) { Fault::Again } else { Fault::NotOurs };
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
        let hold = Hold {
            thread: sys::thread(),
            start: page,
            end: page + PAGE,
            allowed: needed,
            call: 0,
            was_open: None,
        };
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
