//! What the engine keeps of a thread's signals.

use super::State;
use crate::engine::sys;

impl State {
    /// Whether this thread is in the program's handler of a fault, or has left it with the signal
    /// blocked.
    pub fn handles_fault(&self) -> bool {
        !self.handling.is_empty() && self.handling.contains(&sys::thread())
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
}
