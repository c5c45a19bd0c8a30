//! Where buffers are mapped.

use super::State;
use crate::engine::mapping::Mapping;
use crate::engine::sys::{self, PAGE};
use crate::engine::window;
use crate::record;

impl State {
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

    pub(super) fn keep(&mut self, mapping: Mapping) {
        let Mapping { start, end, buffer, .. } = mapping;
        let Some(index) = self.mappings.push(mapping) else {
            self.no_room_for_mappings();
            return;
        };
        for bracket in self.buffers[buffer].brackets.iter_mut() {
            if let Some(site) = bracket.unmapped.take() {
                self.places.forget(site);
            }
        }
        self.protect(index, start, end);
    }

    fn no_room_for_mappings(&mut self) {
        self.log.limit(record::limit::MAPPINGS, self.mappings.len() as u64, &[]);
    }

    /// A mapping of a buffer has failed.
    pub fn map_failed(&mut self, buffer: usize, len: u64) {
        self.failed_map = Some((len, buffer));
    }

    pub(super) fn mapping(&self, address: usize) -> Option<usize> {
        self.mappings.iter().position(|mapping| mapping.holds(address))
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
                } else {
                    self.no_room_for_mappings();
                }
                return;
            }
        }
    }

    /// What is mapped there is about to go, and is open until then: nobody is told of any more who
    /// has it trap, and who does tries again until the call is over. Where the program is has been
    /// taken down, if any of it is a buffer's.
    pub fn unmapping(&mut self, start: usize, end: usize) {
        // Where there is no room, such a trap is the program's.
        self.replacing.push((sys::thread(), [start, end]));
        self.bring_back(start, end);
        self.split(start);
        self.split(end);
        let mut index = 0;
        while index < self.mappings.len() {
            let mut mapping = self.mappings[index];
            if mapping.start < start || mapping.end > end {
                index += 1;
                continue;
            }
            // Where this fails, a thread that uses it at the same time ends the program.
            let _ = mapping.hold_for_call(mapping.start, mapping.end);
            mapping.call_is_over();
            self.mappings.swap_remove(index);
            // Where there is no room, a call that fails has one mapping be forgotten.
            self.unmapping.push((sys::thread(), mapping));
            if self.is_mapped(mapping.buffer) {
                continue;
            }
            let State { buffers, places, .. } = self;
            let mut is_kept = true;
            for bracket in buffers[mapping.buffer].brackets.iter_mut() {
                if !bracket.excused && bracket.unmapped.is_none() {
                    bracket.unmapped = places.keep();
                    is_kept &= bracket.unmapped.is_some();
                }
            }
            if !is_kept {
                self.no_room_for_places();
            }
        }
    }

    /// Whether a call is under way with which what is at this address goes.
    pub(super) fn is_replaced(&self, address: usize) -> bool {
        self.replacing.iter().any(|&(_, [start, end])| start <= address && address < end)
    }

    /// It is gone, or still there, since the call has failed.
    pub fn unmapped(&mut self, is_gone: bool) {
        let thread = sys::thread();
        if let Some(index) = self.replacing.iter().position(|&(other, _)| other == thread) {
            self.replacing.swap_remove(index);
        }
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
}
