//! What may be done with pages, and having them be so.

use super::{Fault, State};
use crate::engine::brackets::{Allowed, Range};
use crate::engine::mapping::Mapping;
use crate::engine::sys::{self, PAGE};
use crate::engine::window;

/// How long pages are left open at first, and at most: it doubles each time.
pub(super) const LEFT_OPEN: u64 = 10_000_000;
const LEFT_OPEN_AT_MOST: u64 = 1_000_000_000;

impl State {
    /// What may be done now with the page at this address, and up to which address the same holds.
    pub(super) fn effective(&self, mapping: &Mapping, page: usize) -> (Allowed, usize) {
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
    pub(super) fn protect(&mut self, index: usize, start: usize, end: usize) {
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

    /// Sets what may be done with one page, which may have been left open.
    pub(super) fn protect_page(&mut self, index: usize, page: usize) -> Fault {
        let mapping = self.mappings[index];
        let generation = self.buffers[mapping.buffer].generation;
        let left_open = self.pages.open(page, generation);
        let allowed = self.effective(&mapping, page).0.max(left_open).min(mapping.allowed());
        self.open(index, page, allowed)
    }

    /// Sets it. Where the process can have no more mappings, so that it cannot be set for one page
    /// alone, for all, and nobody knows what else is touched; where that fails, nothing of the buffer
    /// is there.
    pub(super) fn open(&mut self, index: usize, page: usize, allowed: Allowed) -> Fault {
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

    /// The same where it is alike for all of the part. Once the process can have no more mappings,
    /// no pages are aside any more.
    pub(super) fn allow(
        &mut self,
        index: usize,
        start: usize,
        end: usize,
        allowed: Allowed,
    ) -> sys::Result {
        let aside = self.has_spare;
        let set = self.mappings[index].allow(start, end, allowed, aside);
        if set.is_ok() || !self.give_up_spare() {
            return set;
        }
        self.mappings[index].allow(start, end, allowed, false)
    }

    /// Has all pages be in their place again, if there are mappings to spare that make it possible.
    pub(super) fn give_up_spare(&mut self) -> bool {
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
    pub(super) fn apply(&mut self, buffer: usize) {
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
    pub(super) fn apply_range(&mut self, buffer: usize, range: Range) {
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
}
