//! What the engine knows of this process: buffers, where they are mapped, what is open on them. All
//! decisions are made here; [`super::calls`] and [`super::signal`] only ask.
//!
//! | module | what it decides |
//! |---|---|
//! | `buffers` | which buffer is which, and which are used no more |
//! | `mappings` | where they are mapped, and what becomes of that |
//! | `bracketing` | what follows from a START, an END, and one that is missing |
//! | `protections` | what may be done with a page now |
//! | `accesses` | what an access was, and how it is let through |
//! | `holds` | what is open meanwhile, and for whom |
//! | `threads` | what a thread's signals are to do |

mod accesses;
mod bracketing;
mod buffers;
mod holds;
mod mappings;
mod protections;
mod threads;

use crate::engine::filter::Span;
use crate::engine::log::{Found, Log};
use crate::engine::mapping::Mapping;
use crate::engine::pages::Pages;
use crate::engine::place::{self, HERE, Places, Registers, Site};
use crate::engine::sample::Sampled;
use crate::engine::signal::SIGNALS;
use crate::engine::sys::{self, Action};
use crate::engine::table::Table;
use crate::engine::window;
use crate::record::{NONE, limit};
use crate::rules::Id;

pub use accesses::Fault;
pub use buffers::Kind;
use buffers::{Buffer, Failed};
use holds::Hold;

/// Everything.
pub struct State {
    /// The record file.
    pub log: Log,
    /// Where the code of this program is.
    pub code: Table<Span, 16>,
    /// Where buffers are mapped outside of the window.
    pub outside: Table<Span, 64>,
    /// The program's actions for signals, by their number.
    pub actions: [Action; SIGNALS],
    /// Whether the second filter is there.
    pub watching: bool,
    /// Whether the filter for a program that handles a signal is there.
    pub watching_actions: bool,
    /// Whether there are mappings to spare, so that pages can be put aside and come back.
    pub has_spare: bool,
    /// Whether the program may have the kernel access memory behind its back.
    pub asynchronous: bool,
    buffers: Table<Buffer, 1024>,
    mappings: Table<Mapping, 16384>,
    /// Those that a thread is about to unmap.
    unmapping: Table<(u32, Mapping), 1024>,
    /// Ranges in which a thread is about to put something else, or nothing.
    replacing: Table<(u32, [usize; 2]), 256>,
    holds: Table<Hold, 1024>,
    /// Threads in which the program handles a fault, and a second one would be the end.
    handling: Table<u32, 256>,
    /// Threads that go on after a wait with other signals blocked, and their own set.
    waited: Table<(u32, u64), 256>,
    pages: Pages,
    places: Places,
    sampled: Sampled,
    next_slot: usize,
    calls: u64,
    /// The length of the mapping of a buffer that failed last, and the buffer.
    failed_map: Option<(u64, usize)>,
}

impl State {
    /// Nothing known, and no memory.
    pub const fn new() -> State {
        State {
            log: Log::new(),
            code: Table::new(),
            outside: Table::new(),
            actions: [Action { handler: 0, flags: 0, restorer: 0, mask: 0 }; SIGNALS],
            watching: false,
            watching_actions: false,
            has_spare: false,
            asynchronous: false,
            buffers: Table::new(),
            mappings: Table::new(),
            unmapping: Table::new(),
            replacing: Table::new(),
            holds: Table::new(),
            handling: Table::new(),
            waited: Table::new(),
            pages: Pages::new(),
            places: Places::new(),
            sampled: Sampled::new(),
            next_slot: window::START,
            calls: 0,
            failed_map: None,
        }
    }

    /// Gets memory.
    pub fn prepare(&mut self) -> Result<(), sys::Errno> {
        self.code.prepare()?;
        self.outside.prepare()?;
        self.buffers.prepare()?;
        self.mappings.prepare()?;
        self.unmapping.prepare()?;
        self.replacing.prepare()?;
        self.holds.prepare()?;
        self.handling.prepare()?;
        self.waited.prepare()?;
        self.pages.prepare()?;
        self.places.prepare()?;
        self.sampled.prepare()
    }

    /// What a child has to forget: other threads, and that open brackets are its own to end.
    pub fn after_fork(&mut self) {
        self.log.start_anew();
        self.holds.clear();
        self.handling.clear();
        self.waited.clear();
        self.unmapping.clear();
        self.replacing.clear();
        // What is not there any more has to be forgotten: somebody else gets the addresses.
        let mut index = 0;
        while let Some(mapping) = self.mappings.get(index) {
            if mapping.is_inherited() {
                index += 1;
            } else {
                self.mappings.swap_remove(index);
            }
        }
        for index in 0..self.buffers.len() {
            let buffer = &mut self.buffers[index];
            buffer.brackets.iter_mut().for_each(|bracket| bracket.excused = true);
            buffer.failed = Failed::No;
            buffer.sample.stop();
            self.apply(index);
        }
    }

    /// Takes down where the program is.
    pub fn here(&mut self, registers: &Registers) {
        self.places.take(registers, &self.code);
    }

    /// Keeps where the program is; if there is no room, it is told as where it is by then.
    fn keep_here(&mut self) -> Site {
        self.places.keep().unwrap_or_else(|| {
            self.no_room_for_places();
            HERE
        })
    }

    fn no_room_for_places(&mut self) {
        self.log.limit(limit::PLACES, place::ROOM as u64, &[]);
    }

    /// Whether calls are trapped that come from where programs are that are not independent of their
    /// position.
    pub fn traps_low(&self) -> bool {
        self.code.iter().any(|span| !span.holds_nothing_below(super::start::LOW))
    }

    #[inline(never)]
    fn report(&mut self, rule: Id, buffer: usize, offset: u64, numbers: [u64; 2], site: Site) {
        let about = &self.buffers[buffer];
        let since_end = match about.last_end {
            NONE => NONE,
            last => sys::now().saturating_sub(last),
        };
        let found = Found { rule, buffer: about.told, offset, since_end, numbers };
        if let Some(place) = self.places.get(site) {
            self.log.finding(&found, place);
        }
    }
}
