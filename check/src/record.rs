//! What the engine writes while a program runs, and the report reads afterwards.
//!
//! One file, mapped shared by every process that is checked: a killed process loses nothing, and
//! no descriptor has to stay open in programs that close what they do not know. A record is claimed
//! by moving [`Header::next`]; its [`Head::mark`] is stored last, so that a record that was begun by
//! a process that died is skipped. Records begin at multiples of [`ALIGN`].

use core::sync::atomic::{AtomicU64, Ordering};

/// The file's size: its pages exist only once they are written to.
pub const SIZE: usize = 64 << 20;
/// Where records may begin.
pub const ALIGN: usize = 64;
/// The first word of the file.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"dmabufck");
/// The bytes of stack that are kept, at most.
pub const STACK: usize = 8 << 10;
/// The room for a buffer's or exporter's name, its NUL included.
pub const NAME: usize = 32;

/// The file's beginning.
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: AtomicU64,
    /// Where the next record goes.
    pub next: AtomicU64,
    /// Records for which there was no room.
    pub lost: AtomicU64,
    /// How often the engine has started, in a process or in what one executed.
    pub started: AtomicU64,
}

/// What every record begins with.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Head {
    /// What follows, once it is complete: a `Mark`.
    pub mark: u64,
    /// The record's length in bytes, this included.
    pub len: u64,
    /// Whose record it is: the process.
    pub process: u32,
    /// The thread.
    pub thread: u32,
}

/// What a record is, in [`Head::mark`].
pub mod mark {
    /// A [`Finding`](super::Finding), then the bytes of stack.
    pub const FINDING: u64 = u64::from_ne_bytes(*b"finding!");
    /// Text of `/proc/PID/maps`, as much as one `read(2)` gave.
    pub const MAPS: u64 = u64::from_ne_bytes(*b"maps....");
    /// A [`Limit`](super::Limit).
    pub const LIMIT: u64 = u64::from_ne_bytes(*b"limit...");
}

/// A buffer as the engine knows it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Buffer {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// In bytes.
    pub size: u64,
    /// NUL-terminated.
    pub name: [u8; NAME],
    /// NUL-terminated.
    pub exporter: [u8; NAME],
}

impl Buffer {
    /// A buffer that nothing is known of.
    pub const UNKNOWN: Buffer =
        Buffer { device: 0, inode: 0, size: 0, name: [0; NAME], exporter: [0; NAME] };
}

/// Something that was found.
#[repr(C)]
pub struct Finding {
    /// The record's head.
    pub head: Head,
    /// How often, at this place.
    pub count: AtomicU64,
    /// The kind: an index into [`rules::ALL`](crate::rules::ALL).
    pub rule: u64,
    /// The buffer.
    pub buffer: Buffer,
    /// The first byte, in the buffer; [`NONE`] where a finding is about no byte.
    pub offset: u64,
    /// Nanoseconds since the buffer's last END; [`NONE`] if there was none.
    pub since_end: u64,
    /// What the rule's explanation needs to be told in numbers: pages touched, pages in all; errno.
    pub numbers: [u64; 2],
    /// The registers in DWARF's order: rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 to r15, rip.
    pub registers: [u64; 17],
    /// Whether rip is where a call returns to, not the instruction itself.
    pub after: u64,
    /// The bytes of stack that follow, from rsp on.
    pub stack: u64,
}

impl Finding {
    /// How often, up to now.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// No number.
pub const NONE: u64 = u64::MAX;

/// Something that the engine could not do, or a program that it cannot look into.
#[repr(C)]
pub struct Limit {
    /// The record's head.
    pub head: Head,
    /// Which: [`limit`].
    pub what: u64,
    /// An errno, or a number of things.
    pub number: u64,
    /// A path, NUL-terminated; empty where there is none.
    pub path: [u8; 256],
}

/// What there was no way to do.
pub mod limit {
    /// More buffers than the engine has room for.
    pub const BUFFERS: u64 = 0;
    /// More mappings than the engine has room for.
    pub const MAPPINGS: u64 = 1;
    /// More brackets open at a time on one buffer than the engine has room for.
    pub const BRACKETS: u64 = 2;
    /// The second filter could not be installed.
    pub const FILTER: u64 = 3;
    /// A program that was executed and that no library can be preloaded into.
    pub const UNREACHED: u64 = 4;
    /// More places than the engine has room for.
    pub const PLACES: u64 = 5;
}
