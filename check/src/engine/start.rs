//! How the engine starts: in a program that it was preloaded into, or in this one.

#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::ffi::c_char;
use core::sync::atomic::{AtomicBool, Ordering};

use super::filter::{self, Span};
use super::state::State;
use super::sys::{self, Errno, File};
use super::{lock, log, signal, window};
use crate::record::limit;

/// The variable that says in which folder the record is, and that the engine is to start.
pub const FOLDER: &[u8] = b"DMABUF_CHECK=";
/// The variable that names the engine's library.
pub const PRELOAD: &[u8] = b"LD_PRELOAD=";
/// The library's name in the folder.
pub const LIBRARY: &str = "libdmabuf-check.so";
/// The record's name in the folder.
pub const RECORD: &str = "record";

/// Where the engine's files are.
pub struct Paths {
    /// The library's path; the folder's is its beginning.
    text: [u8; 256],
    folder: usize,
    library: usize,
}

impl Paths {
    /// The folder.
    pub fn folder(&self) -> &[u8] {
        &self.text[..self.folder]
    }

    /// The library.
    pub fn library(&self) -> &[u8] {
        &self.text[..self.library]
    }
}

struct Once(UnsafeCell<Paths>);
// SAFETY: Written before `KNOWN` is set, and never after.
unsafe impl Sync for Once {}
static PATHS: Once = Once(UnsafeCell::new(Paths { text: [0; 256], folder: 0, library: 0 }));
static KNOWN: AtomicBool = AtomicBool::new(false);

/// Where the engine's files are, if it was preloaded.
pub fn paths() -> Option<&'static Paths> {
    // SAFETY: Nobody writes any more.
    KNOWN.load(Ordering::Acquire).then(|| unsafe { &*PATHS.0.get() })
}

/// Starts in a program that was preloaded with the engine, if its environment asks for it.
///
/// # Safety
///
/// `environment` is the process's, and no other thread runs yet.
pub unsafe fn start_preloaded(environment: *const *const c_char) {
    // SAFETY: The caller's.
    let Some(folder) = (unsafe { variable(environment, FOLDER) }) else { return };
    let mut path = [0_u8; 256];
    let result = join(folder, RECORD.as_bytes(), &mut path)
        .ok_or(Errno(libc::ENAMETOOLONG))
        .and_then(|_| {
            sys::prepare()?;
            let started = start(&path, MARGIN);
            // Whoever executed this program may have had them blocked.
            sys::unblock_signals(signal::MASK);
            started
        });
    match result {
        Ok(()) => {
            // SAFETY: Nobody reads before `KNOWN` is set, and no other thread runs.
            let paths = unsafe { &mut *PATHS.0.get() };
            if let Some(len) = join(folder, LIBRARY.as_bytes(), &mut paths.text) {
                (paths.folder, paths.library) = (folder.len(), len);
                KNOWN.store(true, Ordering::Release);
            }
        }
        Err(Errno(errno)) => say_why_not(errno),
    }
}

/// Starts in this process, which was not preloaded. The record's path ends with a NUL.
///
/// # Errors
///
/// An errno; EEXIST if the engine was started before.
pub fn start_here(record: &[u8]) -> Result<(), i32> {
    sys::prepare().map_err(|Errno(errno)| errno)?;
    // A handler that runs meanwhile could wait for the lock that its own thread holds.
    let mask = sys::block_signals();
    let started = start(record, 0);
    sys::set_signal_mask(mask & !signal::MASK);
    started.map_err(|Errno(errno)| errno)
}

/// Nobody will end what is open now.
pub fn finish_here() {
    let mask = sys::block_signals();
    lock::with(|state| state.exiting());
    sys::set_signal_mask(mask);
}

/// A variable's value.
unsafe fn variable<'a>(environment: *const *const c_char, name: &[u8]) -> Option<&'a [u8]> {
    let mut at = environment;
    loop {
        // SAFETY: The list ends with a null pointer, each text with a NUL.
        let text = unsafe {
            let text = *at;
            if text.is_null() {
                return None;
            }
            at = at.add(1);
            core::ffi::CStr::from_ptr(text)
        };
        if let Some(value) = text.to_bytes().strip_prefix(name) {
            return Some(value);
        }
    }
}

/// A path with a NUL behind it; its length.
fn join(folder: &[u8], name: &[u8], into: &mut [u8; 256]) -> Option<usize> {
    let len = folder.len() + 1 + name.len();
    if len >= into.len() {
        return None;
    }
    into[..folder.len()].copy_from_slice(folder);
    into[folder.len()] = b'/';
    into[folder.len() + 1..len].copy_from_slice(name);
    Some(len)
}

fn say_why_not(errno: i32) {
    let mut text = *b"dmabuf check: cannot look into this program: errno    \n";
    let end = text.len() - 1;
    let mut rest = errno;
    for digit in text[end - 3..end].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    sys::say(&text);
}

/// Starts in this process; the record's path ends with a NUL. The page of [`sys::prepare`] is there.
fn start(record: &[u8], margin: usize) -> Result<(), Errno> {
    lock::prepare()?;
    // Where this is not permitted, nothing that a call points to could be looked at.
    let (known, mut read) = ([1_u8; 8], [0_u8; 8]);
    if !sys::read_memory(known.as_ptr() as usize, &mut read) || read != known {
        return Err(Errno(libc::EPERM));
    }
    let end = record.iter().position(|&byte| byte == 0).ok_or(Errno(libc::EINVAL))?;
    let prepared = lock::with(|state| {
        state.prepare()?;
        state.log.open(&record[..=end])?;
        find_code(margin, &mut |span| {
            state.code.push(span);
        });
        Ok(())
    });
    prepared.unwrap_or(Err(Errno(libc::EINVAL)))?;
    signal::install()?;
    let program = lock::with(|state| filter::first(&state.code));
    program.map_or(Ok(0), |program| sys::install_filter(program.instructions()))?;
    lock::with(|state| state.log.started());
    Ok(())
}

/// A buffer is mapped there: from now on more calls are trapped.
pub fn watch(at: usize, len: usize) {
    let (second, outside) = lock::with(|state| {
        let second = (!state.watching).then(|| {
            state.has_spare = window::make_spare().is_ok();
            filter::second(&state.code)
        });
        state.watching = true;
        (second, watch_outside(state, at, len))
    })
    .unwrap_or((None, None));
    [second, outside].into_iter().flatten().for_each(add);
}

/// The program handles a signal: from now on it does not ask the kernel what it does at signals.
pub fn watch_actions() {
    let actions = lock::with(|state| {
        let is_first = !core::mem::replace(&mut state.watching_actions, true);
        is_first.then(|| filter::actions(&state.code))
    });
    actions.flatten().into_iter().for_each(add);
}

/// One filter more.
fn add(program: filter::Program) {
    if let Err(Errno(errno)) = sys::install_filter(program.instructions()) {
        lock::with(|state| state.log.limit(limit::FILTER, errno as u64, &[]));
    }
    program.release();
}

/// Filters for so many buffers outside of the window are exact; each costs every call a little, so
/// those of more are about all that is near, too.
const EXACT: usize = 8;
const WIDE: usize = 1 << 30;

/// The filter for a buffer that is mapped there, if it is outside of the window and new.
fn watch_outside(state: &mut State, at: usize, len: usize) -> Option<filter::Program> {
    let end = at + len.max(1);
    if window::holds(at) || state.outside.iter().any(|span| span.holds(at) && span.holds(end - 1)) {
        return None;
    }
    let span = if state.outside.len() < EXACT {
        Span::of(at, end)
    } else {
        Span::of(at / WIDE * WIDE, end.next_multiple_of(WIDE))
    };
    if state.outside.push(span).is_none() {
        state.log.limit(limit::FILTER, libc::ENOMEM as u64, &[]);
        return None;
    }
    Some(filter::outside(&state.code, span))
}

// --- where code is ---------------------------------------------------------------------------------

/// Files that are mapped this near to each other are one span.
const NEAR: usize = 1 << 30;
/// Where libraries that are loaded later go: below those that are there, the kernel fills from above.
/// Not in a process that was not preloaded: what it executes has the filter and no engine, and the
/// smaller the span, the less likely it is there (a chance in tens of thousands without a margin).
const MARGIN: usize = 256 << 20;
/// Programs that are not position-independent are below this address.
pub const LOW: usize = 1 << 28;

/// The parts of the address space that this program's code is in, or will be loaded to.
fn find_code(margin: usize, each: &mut impl FnMut(Span)) {
    let mut current: Option<(usize, usize)> = None;
    let end_of = |start: usize, end: usize, each: &mut dyn FnMut(Span)| {
        if start >= LOW {
            // A library, or a program that is independent of its position.
            let start = if start >= 1 << 46 { start.saturating_sub(margin) } else { start };
            each(Span::of(start, end));
        } else if makes_calls_itself() {
            each(Span::of(start, end));
        }
    };
    log::lines_of_code(|line| {
        let Some((start, end)) = log::range(line) else { return };
        current = match current {
            Some((first, last)) if start - last < NEAR => Some((first, end)),
            Some((first, last)) => {
                end_of(first, last, each);
                Some((start, end))
            }
            None => Some((start, end)),
        };
    });
    if let Some((first, last)) = current {
        end_of(first, last, each);
    }
}

/// Whether the program makes system calls itself: one of Go's does. A program that is not
/// position-independent is where the next one is that it executes, which may be a static one; so
/// its own calls are trapped only if there are such.
fn makes_calls_itself() -> bool {
    const PT_NOTE: u64 = 4;
    let mut vector = [0_u8; 512];
    let read = File::open(b"/proc/thread-self/auxv\0", libc::O_RDONLY)
        .and_then(|file| file.read(&mut vector))
        .unwrap_or(0);
    let (mut headers, mut count) = (0, 0);
    for pair in vector[..read].as_chunks::<16>().0 {
        let [key, value] = [&pair[..8], &pair[8..]]
            .map(|word| u64::from_ne_bytes(word.try_into().unwrap_or([0; 8])));
        match key {
            libc::AT_PHDR => headers = value as usize,
            libc::AT_PHNUM => count = value as usize,
            _ => {}
        }
    }
    (0..count.min(64)).any(|index| {
        // Elf64_Phdr: type and flags, offset, virtual and physical address, size in the file and two
        // more words.
        let Some([kind, _, address, _, size]) = sys::read_value::<[u64; 5]>(headers + 56 * index)
        else {
            return false;
        };
        kind & 0xffff_ffff == PT_NOTE && has_note_of_go(address as usize, size as usize)
    })
}

/// Whether one of these notes is Go's: each has the lengths of name and contents, a type, and both.
fn has_note_of_go(start: usize, size: usize) -> bool {
    let end = start.saturating_add(size);
    let mut at = start;
    while at < end
        && let Some(note) = sys::read_value::<[u8; 16]>(at)
    {
        let [name, contents, _, _] = note.as_chunks().0 else { return false };
        if u32::from_ne_bytes(*name) == 4 && &note[12..] == b"Go\0\0" {
            return true;
        }
        let lengths = [name, contents].map(|len| u32::from_ne_bytes(*len) as usize);
        at += 12 + lengths.map(|len| len.next_multiple_of(4)).iter().sum::<usize>();
    }
    false
}
