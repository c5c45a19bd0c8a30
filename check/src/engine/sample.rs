//! What is touched inside of a bracket, for the performance notes: of some brackets only, since it
//! costs a trap for each page. Of each place the first bracket is looked at, the second, the fourth
//! and so on.

#![allow(unsafe_code)]

use super::brackets::{Allowed, Direction};
use super::sys;
use super::table::{Table, Zeroed};

/// Few pages are at most this part of all.
const FEW: u64 = 8;
/// A buffer with fewer pages is not worth a range.
const WORTH_A_RANGE: u64 = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nobody looks.
    Off,
    /// Every page traps when it is touched first.
    Pages,
    /// Enough pages were touched: only stores trap, and the first one ends it.
    Stores,
}

/// One bracket that is looked at.
#[derive(Clone, Copy)]
pub struct Sample {
    mode: Mode,
    direction: Direction,
    whole: bool,
    pages: u64,
    touched: u64,
    wrote: bool,
}

impl Sample {
    /// None.
    pub const fn new() -> Sample {
        Sample {
            mode: Mode::Off,
            direction: Direction::Read,
            whole: false,
            pages: 0,
            touched: 0,
            wrote: false,
        }
    }

    /// Looks at a bracket that begins.
    pub fn begin(&mut self, direction: Direction, whole: bool, pages: u64) {
        *self = Sample { mode: Mode::Pages, direction, whole, pages, ..Sample::new() };
    }

    /// Looks no more.
    pub fn stop(&mut self) {
        self.mode = Mode::Off;
    }

    /// Whether somebody looks.
    pub fn is_on(&self) -> bool {
        self.mode != Mode::Off
    }

    /// What may be done at most with pages that nothing is known of yet.
    pub fn holds_back(&self) -> Option<Allowed> {
        match self.mode {
            Mode::Off => None,
            Mode::Pages => Some(Allowed::Nothing),
            Mode::Stores => Some(Allowed::Read),
        }
    }

    /// A page was touched.
    pub fn touch(&mut self, access: Allowed, is_first: bool) {
        self.touched += u64::from(is_first);
        self.wrote |= access == Allowed::Write;
        let is_enough = !self.whole || self.touched * FEW > self.pages;
        if is_enough {
            let stores_matter = self.direction == Direction::Both && !self.wrote;
            self.mode = if stores_matter { Mode::Stores } else { Mode::Off };
        }
    }

    /// Pages touched as far as was looked, pages in all.
    pub fn numbers(&self) -> [u64; 2] {
        [self.touched, self.pages]
    }

    /// No page was touched.
    pub fn nothing_touched(&self) -> bool {
        self.is_on() && self.touched == 0
    }

    /// Few pages were, of a bracket around all.
    pub fn few_of_whole(&self) -> bool {
        self.mode == Mode::Pages && self.whole && self.touched > 0 && self.pages >= WORTH_A_RANGE
    }

    /// Nothing was written in a bracket for both.
    pub fn only_read_of_both(&self) -> bool {
        self.is_on() && self.direction == Direction::Both && self.touched > 0 && !self.wrote
    }
}

/// How often a bracket was begun at a place.
#[derive(Clone, Copy)]
struct Begun {
    way: u64,
    count: u64,
}

// SAFETY: Numbers.
unsafe impl Zeroed for Begun {}

const ROOM: usize = 1024;

/// The places where brackets begin.
pub struct Sampled(Table<Begun, ROOM>);

impl Sampled {
    /// Without memory.
    pub const fn new() -> Sampled {
        Sampled(Table::new())
    }

    /// Gets memory.
    pub fn prepare(&mut self) -> Result<(), sys::Errno> {
        self.0.prepare()?;
        self.0.fill();
        Ok(())
    }

    /// Counts a bracket, and tells whether it is one to look at.
    pub fn is_due(&mut self, way: u64) -> bool {
        let first = way as usize;
        for slot in (0..16).map(|step| first.wrapping_add(step) % ROOM) {
            let Some(begun) = self.0.get_mut(slot) else { return false };
            if begun.count == 0 {
                begun.way = way;
            }
            if begun.way == way {
                begun.count += 1;
                return begun.count.is_power_of_two();
            }
        }
        false
    }
}
