//! `execve(2)`: what is executed is checked as well, whatever environment it is given.

#![allow(unsafe_code)]

use super::calls::wait;
use super::signal::Context;
use super::start::{self, FOLDER, PRELOAD};
use super::{lock, reach, sys};

/// Where a variable of the environment that the engine needs is.
#[derive(Default)]
struct Environment {
    /// How many variables there are.
    count: usize,
    folder: bool,
    /// The index of LD_PRELOAD, and whether it names the engine.
    preload: Option<(usize, bool)>,
}

/// Words of an environment that is little: some tens of variables.
const LITTLE: usize = 160;

/// Carries out `execve(2)` or `execveat(2)`.
#[inline(never)]
pub fn execute(program: &Context, number: i64, mut args: [usize; 6]) -> isize {
    let (folder, path) = reach::target(number, program);
    let target = reach::look(folder, path);
    if !target.can_be_preloaded()
        && let Err(refused) = reach::make_way(target)
    {
        return refused;
    }
    // Without randomisation it would be where this one's libraries are. What has the engine can be
    // there, unless calls of the dynamic loader's are trapped before it has it.
    if !target.can_be_preloaded() || lock::with(|state| state.watching) == Some(true) {
        sys::randomise_addresses();
    }
    let at = if number == libc::SYS_execve { 2 } else { 3 };
    let Some(paths) = start::paths() else { return wait(program, number, args) };
    let variables = args[at];
    let found = look(variables, paths.library());
    if found.folder && found.preload.is_some_and(|(_, names_us)| names_us) {
        return wait(program, number, args);
    }
    // Memory goes with this program, unless that could not be executed; but a child of vfork(2) leaves
    // it to its parent. So what is little is on the stack.
    let pointers = 8 * (found.count + 3);
    let texts = PRELOAD.len() + paths.library().len() + FOLDER.len() + paths.folder().len() + 2;
    let mut little = [0_u64; LITTLE];
    let is_little = found.preload.is_none() && pointers + texts <= size_of_val(&little);
    let size = pointers + 3 * 4096;
    let memory = if is_little { Ok(little.as_mut_ptr() as usize) } else { sys::allocate(size) };
    let Ok(memory) = memory else { return wait(program, number, args) };
    let mut text = memory + pointers;
    let mut list = memory;
    let mut add = |pointer: usize| {
        // SAFETY: There is room for three more than there were, in memory that is the engine's.
        unsafe { (list as *mut usize).write(pointer) };
        list += 8;
    };
    for index in 0..found.count {
        let pointer = sys::read_value::<u64>(variables + 8 * index).unwrap_or(0) as usize;
        if found.preload.is_some_and(|(preload, _)| preload == index) {
            let old = pointer + PRELOAD.len();
            add(write(&mut text, &[PRELOAD, paths.library(), b":"], Some(old)));
        } else {
            add(pointer);
        }
    }
    if found.preload.is_none() {
        add(write(&mut text, &[PRELOAD, paths.library()], None));
    }
    if !found.folder {
        add(write(&mut text, &[FOLDER, paths.folder()], None));
    }
    add(0);
    args[at] = memory;
    let result = wait(program, number, args);
    if !is_little {
        sys::release(memory, size);
    }
    result
}

/// Looks through an environment.
fn look(variables: usize, library: &[u8]) -> Environment {
    let mut found = Environment::default();
    if variables == 0 {
        return found;
    }
    while let Some(pointer @ 1..) = sys::read_value::<u64>(variables.wrapping_add(8 * found.count))
    {
        let mut text = [0_u8; 16];
        let len = sys::read_text(pointer as usize, &mut text);
        if text[..len].starts_with(FOLDER) {
            found.folder = true;
        } else if text[..len].starts_with(PRELOAD) {
            found.preload = Some((found.count, names(pointer as usize + PRELOAD.len(), library)));
        }
        found.count += 1;
    }
    found
}

/// Whether the list of libraries at an address begins with this one.
fn names(list: usize, library: &[u8]) -> bool {
    let mut text = [0_u8; 512];
    let len = library.len().min(text.len());
    sys::read_text(list, &mut text[..len]) == len && text[..len] == library[..len]
}

/// Writes a text of these parts, and of one that is at an address, to where `at` points; returns
/// where it begins.
fn write(at: &mut usize, parts: &[&[u8]], last: Option<usize>) -> usize {
    let begin = *at;
    for part in parts {
        // SAFETY: Each text has a page, and more is never written: paths of the engine's are short,
        // and a list of libraries is cut.
        unsafe { core::ptr::copy_nonoverlapping(part.as_ptr(), *at as *mut u8, part.len()) };
        *at += part.len();
    }
    if let Some(last) = last {
        let mut piece = [0_u8; 64];
        let room = begin + 4096 - 64;
        let mut from = last;
        while *at < room {
            let len = sys::read_text(from, &mut piece);
            // SAFETY: As above.
            unsafe { core::ptr::copy_nonoverlapping(piece.as_ptr(), *at as *mut u8, len) };
            *at += len;
            from += len;
            if len < piece.len() {
                break;
            }
        }
    }
    // The memory was zero: that is the text's end.
    *at += 1;
    begin
}
