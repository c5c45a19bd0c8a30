//! What runs inside of the program that is checked.
//!
//! A mapping of a buffer is kept without access outside of brackets, so that an access traps: it is
//! taken down, the page is opened, the instruction is carried out alone, and the page is closed
//! again. System calls are trapped by a filter of seccomp's, those of libc's wrappers and those that
//! pass by them alike. The engine's own calls are made at one address, which the filter lets pass.
//!
//! | module | what it holds |
//! |---|---|
//! | `start` | starting: memory, handlers, the filters |
//! | `filter` | which calls are trapped, as programs for the kernel |
//! | `signal` | the handlers, and how the program's own are called |
//! | `calls`, `transfer`, `execute` | each trapped call, carried out and booked |
//! | `reach` | whether what is executed can be preloaded |
//! | `identify` | which buffer a descriptor is of |
//! | `state` | what is known, and every decision |
//! | `brackets`, `mapping`, `pages`, `sample`, `place` | its parts |
//! | `uncached` | whether loads are slow |
//! | `log` | the record |
//! | `lock`, `table`, `sys`, `window` | what it stands on |
//!
//! Nothing here allocates from a heap or calls libc; it is written as a signal handler must be.

mod brackets;
mod calls;
mod execute;
mod filter;
mod identify;
mod lock;
mod log;
mod mapping;
mod pages;
mod place;
mod reach;
mod sample;
mod signal;
mod start;
mod state;
mod sys;
mod table;
mod transfer;
mod uncached;
mod window;

pub use start::{LIBRARY, RECORD, finish_here, start_here, start_preloaded};
pub use sys::abort;
