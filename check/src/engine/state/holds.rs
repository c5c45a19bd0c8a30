//! Memory that is kept open for a thread, until its instruction or its call is over.

use super::State;
use crate::engine::brackets::Allowed;
use crate::engine::sys::{self, PAGE};

/// Memory that is kept open for a thread, until its instruction or its call is over.
#[derive(Clone, Copy)]
pub struct Hold {
    pub thread: u32,
    pub start: usize,
    pub end: usize,
    pub allowed: Allowed,
    /// The call that it is for; 0 for an instruction.
    pub call: u64,
    /// Where it was open anyway: the generation of the buffer by then.
    pub was_open: Option<u32>,
}

impl State {
    /// Keeps memory open; false if there is no room.
    pub(super) fn hold(&mut self, hold: Hold) -> bool {
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
                let mapping = self.mappings[at];
                let generation = self.buffers[mapping.buffer].generation;
                // Where nothing has changed, nothing is to be done.
                if hold.was_open != Some(generation) && mapping.overlaps(hold.start, hold.end) {
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

    /// Opens memory for a call that loads from it or stores to it. What is open anyway stays so until
    /// the call is over, whatever other threads end meanwhile.
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
            let was_open = is_open.then_some(self.buffers[mapping.buffer].generation);
            let hold = Hold { thread: sys::thread(), start, end, allowed, call, was_open };
            let is_held = self.hold(hold);
            if is_held && !is_open {
                self.protect(at, start, end);
            } else if !is_open {
                // It stays open until protections change.
                let _ = self.allow(at, start, end, allowed.min(mapping.allowed()));
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
}
