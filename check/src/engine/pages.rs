//! Pages that trap: how often, and which are left open. A table of fixed size; a page for which
//! there is no room is simply left open.

#![allow(unsafe_code)]

use super::brackets::Allowed;
use super::sys::{self, PAGE};
use super::table::{Table, Zeroed};

/// A page that has trapped since its buffer's protections changed last.
#[derive(Clone, Copy)]
pub struct Page {
    address: usize,
    generation: u32,
    /// How often.
    pub traps: u16,
    /// What was left open, beyond what brackets allow.
    pub open: Allowed,
}

// SAFETY: Numbers, and the first value of an enumeration.
unsafe impl Zeroed for Page {}

const ROOM: usize = 1 << 15;

/// How many places to look at for one page.
const PROBES: usize = 32;

/// The pages.
pub struct Pages(Table<Page, ROOM>);

impl Pages {
    /// Without memory.
    pub const fn new() -> Pages {
        Pages(Table::new())
    }

    /// Gets memory.
    pub fn prepare(&mut self) -> Result<(), sys::Errno> {
        self.0.prepare()?;
        self.0.fill();
        Ok(())
    }

    /// The entry of a page in this generation; `None` if there is no room.
    pub fn entry(&mut self, address: usize, generation: u32) -> Option<&mut Page> {
        let first = address / PAGE;
        let slots = (first..first + PROBES).map(|slot| slot % ROOM);
        let (mut found, mut free) = (None, None);
        for slot in slots {
            let page = self.0.get(slot)?;
            if page.address == address {
                found = Some(slot);
                break;
            }
            // An entry of another generation is of another buffer or of the past: the former is
            // told from the latter by nobody, and costs that buffer's page a trap.
            if free.is_none() && (page.address == 0 || page.generation != generation) {
                free = Some(slot);
            }
            if page.address == 0 {
                break;
            }
        }
        let page = self.0.get_mut(found.or(free)?)?;
        if found.is_none() || page.generation != generation {
            *page = Page { address, generation, traps: 0, open: Allowed::Nothing };
        }
        Some(page)
    }

    /// What of a page was left open in this generation.
    pub fn open(&self, address: usize, generation: u32) -> Allowed {
        let first = address / PAGE;
        for slot in (first..first + PROBES).map(|slot| slot % ROOM) {
            match self.0.get(slot) {
                Some(page) if page.address == address && page.generation == generation => {
                    return page.open;
                }
                Some(page) if page.address != 0 => {}
                _ => break,
            }
        }
        Allowed::Nothing
    }
}
