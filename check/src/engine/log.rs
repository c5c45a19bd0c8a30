//! The record file: [`crate::record`] says what is in it.

#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use super::place::Place;
use super::sys::{self, Errno, File};
use super::table::Table;
use crate::record::{ALIGN, Buffer, Finding, Head, Header, Limit, MAGIC, SIZE, mark};
use crate::rules::Id;

/// What is found, beside the place.
pub struct Found {
    /// The rule.
    pub rule: Id,
    /// The buffer.
    pub buffer: Buffer,
    /// The first byte, or `NONE`.
    pub offset: u64,
    /// Since the last END, or `NONE`.
    pub since_end: u64,
    /// As in [`Finding`].
    pub numbers: [u64; 2],
}

/// A place where something has been found, and its record.
#[derive(Clone, Copy)]
struct Seen {
    rule: Id,
    way: u64,
    /// The address of the record's count.
    count: usize,
}

/// Writes into the file, which is mapped.
pub struct Log {
    base: *mut u8,
    seen: Table<Seen, 4096>,
    maps: u64,
    limits: u64,
}

// SAFETY: The mapping is there for as long as the process.
unsafe impl Send for Log {}

impl Log {
    /// Without a file: nothing is written.
    pub const fn new() -> Log {
        Log { base: core::ptr::null_mut(), seen: Table::new(), maps: 0, limits: 0 }
    }

    /// Maps the file, whose path ends with a NUL.
    pub fn open(&mut self, path: &[u8]) -> Result<(), Errno> {
        self.seen.prepare()?;
        let file = File::open(path, libc::O_RDWR)?;
        self.base = file.map(SIZE)? as *mut u8;
        match self.header() {
            Some(header) if header.magic.load(Ordering::Relaxed) == MAGIC => Ok(()),
            _ => {
                self.base = core::ptr::null_mut();
                Err(Errno(libc::EINVAL))
            }
        }
    }

    /// The engine has started here.
    pub fn started(&self) {
        if let Some(header) = self.header() {
            header.started.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// From here on this process writes records of its own.
    pub fn start_anew(&mut self) {
        self.seen.clear();
        self.maps = 0;
        self.limits = 0;
    }

    fn header(&self) -> Option<&Header> {
        // SAFETY: Null, or the beginning of the mapped file, which all processes change by atomic
        // operations only.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    /// Claims room for a record; its bytes are zero.
    fn claim(&self, len: usize) -> Option<*mut u8> {
        let header = self.header()?;
        let len = len.next_multiple_of(ALIGN);
        let at = header.next.fetch_add(len as u64, Ordering::Relaxed) as usize;
        // A file system without room would end the program when the bytes are stored.
        let has_room = at.checked_add(len).is_some_and(|end| end <= SIZE)
            && sys::has_room(self.base as usize + at, len);
        if !has_room {
            header.next.fetch_sub(len as u64, Ordering::Relaxed);
            header.lost.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        // SAFETY: Inside of the mapping.
        Some(unsafe { self.base.add(at) })
    }

    /// Completes a record.
    fn complete(&self, record: *mut u8, mark: u64) {
        // SAFETY: A record begins with its mark, aligned; others only load it.
        unsafe { &*record.cast::<AtomicU64>() }.store(mark, Ordering::Release);
    }

    /// Records a finding, or counts it at a place where it was found before.
    pub fn finding(&mut self, found: &Found, place: &Place) {
        if self.base.is_null() {
            return;
        }
        let same = |seen: &&Seen| seen.rule == found.rule && seen.way == place.way;
        if let Some(seen) = self.seen.iter().find(same) {
            // SAFETY: The count of a record in the mapping, changed by atomic operations only.
            unsafe { &*(seen.count as *const AtomicU64) }.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.note_maps();
        let len = size_of::<Finding>() + place.len;
        let Some(record) = self.claim(len) else { return };
        let count = write(record, found, place, len);
        self.complete(record, mark::FINDING);
        self.seen.push(Seen { rule: found.rule, way: place.way, count });
    }

    /// Records a limit, each kind once in a process; programs that cannot be looked into each time.
    pub fn limit(&mut self, what: u64, number: u64, path: &[u8]) {
        if self.base.is_null() || path.is_empty() && self.limits & 1 << what != 0 {
            return;
        }
        self.limits |= 1 << what;
        let Some(record) = self.claim(size_of::<Limit>()) else { return };
        let mut limit = Limit { head: head(size_of::<Limit>()), what, number, path: [0; 256] };
        let len = path.len().min(limit.path.len() - 1);
        limit.path[..len].copy_from_slice(&path[..len]);
        // SAFETY: There is room, aligned, which nobody else has.
        unsafe { record.cast::<Limit>().write(limit) };
        self.complete(record, mark::LIMIT);
    }

    /// Writes down where code is mapped, unless that was done and nothing has changed.
    #[inline(never)]
    fn note_maps(&mut self) {
        let mut hash = 0;
        lines_of_code(|line| {
            line.iter().for_each(|&byte| hash = super::place::mix(hash, byte.into()))
        });
        if hash == self.maps {
            return;
        }
        self.maps = hash;
        lines_of_code(|line| {
            let len = size_of::<Head>() + line.len();
            let Some(record) = self.claim(len) else { return };
            // SAFETY: There is room for both, which nobody else has.
            unsafe {
                record.cast::<Head>().write(head(len));
                let text = record.add(size_of::<Head>());
                text.copy_from_nonoverlapping(line.as_ptr(), line.len());
            }
            self.complete(record, mark::MAPS);
        });
    }
}

/// Writes a finding into its record, and tells where the count is.
#[inline(never)]
fn write(record: *mut u8, found: &Found, place: &Place, len: usize) -> usize {
    let finding = Finding {
        head: head(len),
        count: AtomicU64::new(1),
        rule: found.rule as u64,
        buffer: found.buffer,
        offset: found.offset,
        since_end: found.since_end,
        numbers: found.numbers,
        registers: place.registers.values,
        after: u64::from(place.registers.after),
        stack: place.len as u64,
    };
    let record = record.cast::<Finding>();
    // SAFETY: There is room for both, aligned, which nobody else has.
    unsafe {
        record.write(finding);
        let stack = record.add(1).cast::<u8>();
        stack.copy_from_nonoverlapping(place.stack.as_ptr(), place.len);
        &raw const (*record).count as usize
    }
}

/// The head of an incomplete record.
fn head(len: usize) -> Head {
    Head { mark: 0, len: len as u64, process: sys::process(), thread: sys::thread() }
}

/// The lines of `/proc/thread-self/maps` that are of executable files.
pub fn lines_of_code(mut each: impl FnMut(&[u8])) {
    lines_of_maps(|line| {
        let is_code =
            line.split(|&byte| byte == b' ').nth(1).is_some_and(|what| what.contains(&b'x'));
        if is_code && line.contains(&b'/') {
            each(line);
        }
    });
}

/// The lines of `/proc/thread-self/maps`, without their ends: where the process's first thread has
/// ended, its own has none any more.
pub fn lines_of_maps(mut each: impl FnMut(&[u8])) {
    let Ok(file) = File::open(b"/proc/thread-self/maps\0", libc::O_RDONLY) else { return };
    let Ok(memory) = sys::allocate(TEXT) else { return };
    sys::with_memory(memory, TEXT, |text| lines(&file, text, &mut each));
    sys::release(memory, TEXT);
}

/// Room for a line: its path has at most 4095 bytes.
const TEXT: usize = 2 * sys::PAGE;

fn lines(file: &File, text: &mut [u8], each: &mut impl FnMut(&[u8])) {
    let mut len = 0;
    while let Ok(read @ 1..) = file.read(&mut text[len..]) {
        len += read;
        let mut start = 0;
        while let Some(end) = text[start..len].iter().position(|&byte| byte == b'\n') {
            each(&text[start..start + end]);
            start += end + 1;
        }
        if start == 0 && len == text.len() {
            // No line is so long.
            len = 0;
        } else {
            text.copy_within(start..len, 0);
            len -= start;
        }
    }
}

/// The addresses that a line is about.
pub fn range(line: &[u8]) -> Option<(usize, usize)> {
    let mut ends = line.split(|&byte| byte == b' ').next()?.split(|&byte| byte == b'-');
    let mut next = || {
        ends.next()?.iter().try_fold(0_usize, |number, &byte| {
            Some(number << 4 | char::from(byte).to_digit(16)? as usize)
        })
    };
    Some((next()?, next()?))
}
