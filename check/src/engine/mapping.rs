//! A part of a buffer that is mapped, and what may be done with its pages.
//!
//! A mapping that nobody may access as a whole is put aside: its pages are moved to another address,
//! and nothing is at its own. The kernel moves 512 pages at a time by their table, where it would
//! have to change the protection of each: for a frame of 1080p that is ten times as fast, and a
//! correct program has it done twice for each frame.

use super::brackets::Allowed;
use super::sys::{self, PAGE};
use super::window;

/// A part of a buffer that is mapped.
#[derive(Clone, Copy)]
pub struct Mapping {
    /// The address of its first byte.
    pub start: usize,
    /// The address after its last.
    pub end: usize,
    /// The buffer.
    pub buffer: usize,
    /// Of its first byte in the buffer.
    pub offset: u64,
    /// The protection that the program gave it.
    pub protection: i32,
    /// The protection that its pages have, if all have the same.
    pages: Option<i32>,
    /// Whether its pages are aside.
    is_aside: bool,
    /// Whether they have to be in their place: a call of the program's is about them.
    stays: bool,
}

impl Mapping {
    /// One that the program has just made.
    pub fn new(start: usize, end: usize, buffer: usize, offset: u64, protection: i32) -> Mapping {
        Mapping {
            start,
            end,
            buffer,
            offset,
            protection,
            pages: Some(protection),
            is_aside: false,
            stays: false,
        }
    }

    /// What the program may do with it, apart from brackets.
    pub fn allowed(&self) -> Allowed {
        if self.protection & libc::PROT_WRITE != 0 {
            Allowed::Write
        } else if self.protection & (libc::PROT_READ | libc::PROT_EXEC) != 0 {
            Allowed::Read
        } else {
            Allowed::Nothing
        }
    }

    /// Where in the buffer an address is.
    pub fn offset_of(&self, address: usize) -> u64 {
        self.offset + (address - self.start) as u64
    }

    /// Where the byte at this offset is, or the end that is nearest to it.
    pub fn address_of(&self, offset: u64) -> usize {
        let len = (self.end - self.start) as u64;
        self.start + offset.saturating_sub(self.offset).min(len) as usize
    }

    /// Whether it has a page in this range.
    pub fn overlaps(&self, start: usize, end: usize) -> bool {
        self.start < end && start < self.end
    }

    /// Whether it has this address.
    pub fn holds(&self, address: usize) -> bool {
        self.start <= address && address < self.end
    }

    /// Whether an access that found nothing at this address has met what is kept from access here:
    /// not if the program has unmapped it by a way that nobody saw.
    pub fn is_there(&self, address: usize) -> bool {
        self.is_aside || sys::is_mapped(address & !(PAGE - 1), PAGE)
    }

    /// Whether its pages are in this process, which may be a child that did not get them; if not,
    /// nothing is left where they were.
    pub fn is_inherited(&self) -> bool {
        let len = self.end - self.start;
        let aside = window::aside(self.start, self.end).filter(|_| self.is_aside);
        let is_mapped = sys::is_mapped(aside.unwrap_or(self.start), len);
        if aside.is_some() && !is_mapped {
            sys::release(self.start, len);
        }
        is_mapped
    }

    /// Has its pages stay in their place for a call of the program's, and part of them have the
    /// protection that it gave them.
    pub fn hold_for_call(&mut self, start: usize, end: usize) -> sys::Result {
        self.bring_back()?;
        (self.stays, self.pages) = (true, None);
        sys::protect(start, end - start, self.protection)
    }

    /// The call is over.
    pub fn call_is_over(&mut self) {
        self.stays = false;
    }

    /// Sets what may be done with some of its pages; `aside` tells whether they may be put there.
    pub fn allow(
        &mut self,
        start: usize,
        end: usize,
        allowed: Allowed,
        aside: bool,
    ) -> sys::Result {
        let bits = self.bits(allowed);
        if (start, end) != (self.start, self.end) {
            self.bring_back()?;
            self.pages = None;
            return sys::protect(start, end - start, bits);
        }
        if bits == libc::PROT_NONE && aside && self.put_aside() {
            return Ok(0);
        }
        self.bring_back_as(bits)?;
        self.pages = None;
        sys::protect(start, end - start, bits)?;
        self.pages = Some(bits);
        Ok(0)
    }

    /// Has its pages be where the program has mapped them, without access if they were aside.
    pub fn bring_back(&mut self) -> sys::Result {
        self.bring_back_as(libc::PROT_NONE)
    }

    /// The protection bits for what is allowed.
    fn bits(&self, allowed: Allowed) -> i32 {
        match allowed {
            Allowed::Nothing => libc::PROT_NONE,
            Allowed::Read => self.protection & !libc::PROT_WRITE | libc::PROT_READ,
            Allowed::Write => self.protection,
        }
    }

    /// Whether all of its pages are aside now: some exporters refuse to have them moved.
    fn put_aside(&mut self) -> bool {
        if self.is_aside || self.stays {
            return self.is_aside;
        }
        let is_open = self.pages.is_some_and(|bits| bits != libc::PROT_NONE);
        let Some(aside) = window::aside(self.start, self.end).filter(|_| is_open) else {
            return false;
        };
        let len = self.end - self.start;
        self.is_aside = sys::move_pages(self.start, len, aside).is_ok();
        if self.is_aside {
            // Where this fails nothing is lost: what is not mapped cannot be accessed either.
            let _ = sys::reserve(self.start, len);
        }
        self.is_aside
    }

    fn bring_back_as(&mut self, bits: i32) -> sys::Result {
        let Some(aside) = window::aside(self.start, self.end).filter(|_| self.is_aside) else {
            return Ok(0);
        };
        let len = self.end - self.start;
        if self.pages != Some(bits) {
            sys::protect(aside, len, bits)?;
            self.pages = Some(bits);
        }
        sys::move_pages(aside, len, self.start)?;
        self.is_aside = false;
        Ok(0)
    }

    /// The same somewhere else.
    pub fn at(self, start: usize, end: usize) -> Mapping {
        Mapping { start, end, ..self }
    }

    /// A part of it.
    pub fn part(&self, start: usize, end: usize) -> Mapping {
        Mapping { start, end, offset: self.offset_of(start), ..*self }
    }

    /// Cuts it in two at an address that it has.
    pub fn split(&mut self, address: usize) -> Mapping {
        let second = self.part(address, self.end);
        self.end = address;
        second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_may_end_beyond_everything() {
        let (start, offset) = (window::START, PAGE as u64);
        let mapping = Mapping::new(start, start + 4 * PAGE, 0, offset, libc::PROT_READ);
        assert_eq!(mapping.address_of(0), mapping.start);
        assert_eq!(mapping.address_of(2 * PAGE as u64), mapping.start + PAGE);
        for offset in [5 * PAGE as u64, u64::MAX - PAGE as u64 + 1, u64::MAX] {
            assert_eq!(mapping.address_of(offset), mapping.end);
        }
    }
}
