//! Whether a program that is about to be executed can be preloaded with the engine: one that the
//! dynamic loader of glibc loads, for this processor.

use super::lock;
use super::signal::Context;
use super::sys::{self, File};
use crate::elf::{self, Program};
use crate::record::limit;

/// How many bytes of a program tell what it is.
const HEAD: usize = sys::PAGE;

/// What is known of the program that a call executes: `path` is relative to `folder`.
#[inline(never)]
pub fn look(folder: usize, path: usize) -> Program {
    let mut name = [0_u8; 256];
    let len = sys::read_text(path, &mut name[..255]);
    // Not even a pipe's other end is waited for.
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let Ok(file) = File::open_at(folder, &name[..=len], flags) else {
        return Program::Unknown;
    };
    let Ok(head) = sys::allocate(HEAD) else { return Program::Unknown };
    let program = sys::with_memory(head, HEAD, |head| {
        let len = file.read(head).unwrap_or(0);
        elf::program(&head[..len])
    });
    sys::release(head, HEAD);
    if !program.can_be_preloaded() {
        lock::with(|state| state.log.limit(limit::UNREACHED, 0, &name[..len]));
    }
    program
}

/// Has a program that will not have the engine not be trapped by the filters that it keeps.
pub fn make_way(program: Program) -> Result<(), isize> {
    if program == Program::FixedStatic && lock::with(|state| state.traps_low()) == Some(true) {
        sys::say(
            b"dmabuf check: this program traps system calls where the static one would run that it \
              executes: refused\n",
        );
        return Err(-(libc::EPERM as isize));
    }
    Ok(())
}

/// The arguments of a call that executes: folder, path.
pub fn target(number: i64, program: &Context) -> (usize, usize) {
    let [a, b, ..] = program.arguments();
    if number == libc::SYS_execve { (libc::AT_FDCWD as usize, a) } else { (a, b) }
}
