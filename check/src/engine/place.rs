//! A place in the program as the engine can take it down: registers and some stack. What function
//! and line that is, is found out later and elsewhere.

#![allow(unsafe_code)]

use super::filter::Span;
use super::sys;
use super::table::{Table, Zeroed};
use crate::record::STACK;

/// The registers in DWARF's order, and whether rip is the address that a call returns to.
#[derive(Clone, Copy)]
pub struct Registers {
    /// rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 to r15, rip.
    pub values: [u64; 17],
    /// rip is behind the instruction that it is about.
    pub after: bool,
}

impl Registers {
    /// rsp.
    pub fn stack(&self) -> usize {
        self.values[7] as usize
    }

    /// rip.
    pub fn instruction(&self) -> u64 {
        self.values[16]
    }
}

/// Registers, and the bytes of stack from rsp on.
#[derive(Clone, Copy)]
pub struct Place {
    /// The registers.
    pub registers: Registers,
    /// How many bytes of stack there are.
    pub len: usize,
    /// The stack.
    pub stack: [u8; STACK],
    /// A number that is the same each time the program comes here by the same way.
    pub way: u64,
    used: bool,
}

// SAFETY: Numbers, and truth values that are false.
unsafe impl Zeroed for Place {}

impl Place {
    /// Takes down where the program is.
    fn take(&mut self, registers: &Registers, code: &[Span]) {
        self.registers = *registers;
        self.len = 0;
        let base = registers.stack();
        while self.len < STACK {
            // The stack may end with a page that is not there.
            let piece = (sys::PAGE - (base + self.len) % sys::PAGE).min(STACK - self.len);
            let read = sys::read_some(base + self.len, &mut self.stack[self.len..self.len + piece]);
            self.len += read;
            if read < piece {
                break;
            }
        }
        self.way = mix(0, registers.instruction());
        let near = self.len.min(1024);
        for word in self.stack[..near].as_chunks().0 {
            let word = u64::from_ne_bytes(*word);
            if code.iter().any(|span| span.holds(word as usize)) {
                self.way = mix(self.way, word);
            }
        }
    }
}

/// One step of a hash: FNV-1a's, by words.
pub fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29)
}

/// The number of a place that is kept.
pub type Site = u16;

/// The place that is looked at just now.
pub const HERE: Site = 0;

/// How many are kept at a time.
pub const ROOM: usize = 1024;

/// The places that are kept: one for each bracket that is open.
pub struct Places {
    table: Table<Place, ROOM>,
}

impl Places {
    /// Without memory.
    pub const fn new() -> Places {
        Places { table: Table::new() }
    }

    /// Gets memory.
    pub fn prepare(&mut self) -> Result<(), sys::Errno> {
        self.table.prepare()?;
        self.table.grow();
        Ok(())
    }

    /// Takes down where the program is, as [`HERE`].
    pub fn take(&mut self, registers: &Registers, code: &[Span]) {
        if let Some(here) = self.table.first_mut() {
            here.take(registers, code);
        }
    }

    /// Keeps [`HERE`] under a number of its own; `None` if there is no room.
    pub fn keep(&mut self) -> Option<Site> {
        let free = (1..self.table.len()).find(|&index| !self.table[index].used);
        let index = free.or_else(|| self.table.grow())?;
        self.table.copy_within(..1, index);
        self.table[index].used = true;
        Some(index as Site)
    }

    /// Forgets one.
    pub fn forget(&mut self, site: Site) {
        if site != HERE {
            self.table[usize::from(site)].used = false;
        }
    }

    /// One that is kept, or [`HERE`].
    pub fn get(&self, site: Site) -> Option<&Place> {
        self.table.get(usize::from(site))
    }
}
