//! Trapped system calls: each is carried out as the program asked, and booked.
//!
//! Functions are not inlined where that would have one call pay for the stack that another needs:
//! this runs on the program's alternate signal stack, which may be of 8 KiB.

#![allow(unsafe_code)]

use dmabuf_uapi as uapi;

use super::brackets::{Direction, Range};
use super::signal::{self, Context, MASK};
use super::state::Kind;
use super::sys::{self, Action, Errno, PAGE};
use super::{execute, identify, lock, start, transfer, uncached, window};

/// Carries out a call, and returns what the kernel would have.
pub fn carry_out(number: i64, program: &mut Context) -> isize {
    let args = program.arguments();
    let [a, b, c, d, ..] = args;
    match number {
        libc::SYS_rt_sigaction => action(args),
        libc::SYS_rt_sigprocmask => mask(program, a as i32, b, c, d),
        libc::SYS_rt_sigsuspend => with_mask(program, number, args, 0, 1),
        libc::SYS_ppoll => with_mask(program, number, args, 3, 4),
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => with_mask(program, number, args, 4, 5),
        libc::SYS_pselect6 => select(program, number, args),
        libc::SYS_execve | libc::SYS_execveat => execute::execute(program, number, args),
        _ if lock::is_borrowed() => wait(program, number, args),
        libc::SYS_mmap => map(program, args),
        libc::SYS_ioctl => ioctl(program, args),
        libc::SYS_munmap => unmap(program, args),
        libc::SYS_mprotect | libc::SYS_pkey_mprotect => protect(number, args),
        libc::SYS_mremap => remap(program, args),
        libc::SYS_close => close(program, number, args, a..=a),
        libc::SYS_dup2 | libc::SYS_dup3 if a != b && sys::stat(a as i32).is_some() => {
            close(program, number, args, b..=b)
        }
        libc::SYS_close_range if c & libc::CLOSE_RANGE_CLOEXEC as usize == 0 => {
            close(program, number, args, a..=b)
        }
        libc::SYS_exit_group => {
            lock::with(|state| state.exiting());
            plain(number, args)
        }
        libc::SYS_fork | libc::SYS_clone => lock::while_held(|| plain(number, args)),
        libc::SYS_io_uring_setup | libc::SYS_io_setup => {
            lock::with(|state| state.asynchronous = true);
            plain(number, args)
        }
        _ => transfer::transfer(program, number, args),
    }
}

/// The call as it is, if it cannot wait.
pub fn plain(number: i64, args: [usize; 6]) -> isize {
    // SAFETY: The program makes this call, with these arguments.
    unsafe { sys::raw(number, args) }
}

/// The call as it is, with the program's signals arriving meanwhile; [`sys::AGAIN`] if it is to be
/// made again after their handlers.
pub fn wait(program: &Context, number: i64, args: [usize; 6]) -> isize {
    wait_for(&mut sys::Waiting::new(number, args, program.mask() & !MASK))
}

fn wait_for(call: &mut sys::Waiting) -> isize {
    // SAFETY: The program makes this call, with these arguments.
    unsafe { sys::wait(call) }
}

const fn error(errno: i32) -> isize {
    -(errno as isize)
}

// --- signals ---------------------------------------------------------------------------------------

#[inline(never)]
fn action(args: [usize; 6]) -> isize {
    let [number, new, old, size, ..] = args;
    if size != 8 {
        return plain(libc::SYS_rt_sigaction, args);
    }
    let new = match new {
        0 => None,
        new => match sys::read_value::<[u64; 4]>(new) {
            Some([handler, flags, restorer, mask]) => Some(Action {
                handler: handler as usize,
                flags,
                restorer: restorer as usize,
                mask: mask & !MASK,
            }),
            None => return error(libc::EFAULT),
        },
    };
    match signal::act(number as i32, new.as_ref()) {
        Ok(Action { handler, flags, restorer, mask }) if old != 0 => {
            let words = [handler as u64, flags, restorer as u64, mask].map(u64::to_ne_bytes);
            let is_written = sys::write_memory(old, words.as_flattened());
            if is_written { 0 } else { error(libc::EFAULT) }
        }
        Ok(_) => 0,
        Err(Errno(errno)) => error(errno),
    }
}

#[inline(never)]
fn mask(program: &mut Context, how: i32, new: usize, old: usize, size: usize) -> isize {
    let (true, Some(set)) = (size == 8, sys::read_value::<u64>(new)) else {
        return plain(libc::SYS_rt_sigprocmask, [how as usize, new, old, size, 0, 0]);
    };
    // In a handler of faults that signal is blocked, as far as the program knows.
    let handles_fault = lock::with(|state| state.handles_fault()) == Some(true);
    let own = if handles_fault { signal::set(libc::SIGSEGV) } else { 0 };
    let known = program.mask() | own;
    let mask = match how {
        libc::SIG_BLOCK => known | set,
        libc::SIG_UNBLOCK => known & !set,
        libc::SIG_SETMASK => set,
        _ => return error(libc::EINVAL),
    };
    program.set_mask(mask);
    if handles_fault && mask & signal::set(libc::SIGSEGV) == 0 {
        lock::with(|state| state.set_handles_fault(false));
    }
    if old != 0 && !sys::write_memory(old, &known.to_ne_bytes()) {
        return error(libc::EFAULT);
    }
    0
}

/// A call that waits with another set of signals, which must leave ours through: the set is the
/// argument `at`, its size the argument `size`.
#[inline(never)]
fn with_mask(
    program: &mut Context,
    number: i64,
    mut args: [usize; 6],
    at: usize,
    size: usize,
) -> isize {
    let Some(mut set) = sys::read_value::<u64>(args[at]).filter(|_| args[size] == 8) else {
        return wait(program, number, args);
    };
    set &= !MASK;
    args[at] = &raw const set as usize;
    wait_with_mask(program, number, args, set)
}

#[inline(never)]
fn select(program: &mut Context, number: i64, mut args: [usize; 6]) -> isize {
    let Some([pointer, 8]) = sys::read_value::<[u64; 2]>(args[5]) else {
        return wait(program, number, args);
    };
    let Some(mut set) = sys::read_value::<u64>(pointer as usize) else {
        return wait(program, number, args);
    };
    set &= !MASK;
    let pair = [&raw const set as u64, 8];
    args[5] = &raw const pair as usize;
    wait_with_mask(program, number, args, set)
}

/// A call that waits with this set of signals blocked. Those that have interrupted it are handled
/// when the program goes on: with the same set, and then with its own again.
fn wait_with_mask(program: &mut Context, number: i64, args: [usize; 6], set: u64) -> isize {
    let own = program.mask();
    let mut call = sys::Waiting::new(number, args, own & !MASK);
    let result = wait_for(&mut call);
    if call.is_interrupted && result == error(libc::EINTR) {
        let is_noted = lock::with(|state| state.note_mask_after_wait(own));
        if is_noted == Some(true) {
            program.set_mask(set);
        }
    }
    result
}

// --- mappings --------------------------------------------------------------------------------------

#[inline(never)]
fn map(program: &Context, args: [usize; 6]) -> isize {
    let [address, len, protection, flags, fd, offset] = args;
    let is_shared = flags & libc::MAP_SHARED as usize != 0;
    let Some(buffer) = identify::buffer(fd as i32).filter(|_| is_shared) else {
        if flags & libc::MAP_FIXED as usize != 0 {
            return replace(program, address, len, || plain(libc::SYS_mmap, args));
        }
        return plain(libc::SYS_mmap, args);
    };
    start::watch(window::START, 1);
    let book = |mapped: isize| {
        match sys::result(mapped) {
            Ok(at) => {
                lock::with(|state| state.mapped(buffer, at, len, offset as u64, protection as i32));
                start::watch(at, len);
            }
            Err(_) => {
                lock::with(|state| state.map_failed(buffer, len as u64));
            }
        }
        mapped
    };
    if flags & libc::MAP_FIXED as usize != 0 {
        return replace(program, address, len, || book(plain(libc::SYS_mmap, args)));
    }
    let placed = libc::MAP_FIXED_NOREPLACE | libc::MAP_32BIT;
    if flags & placed as usize != 0 || len == 0 {
        return book(plain(libc::SYS_mmap, args));
    }
    let flags = flags | libc::MAP_FIXED_NOREPLACE as usize;
    for _ in 0..64 {
        let Some(slot) = lock::with(|state| state.slot(len)).flatten() else { break };
        let mapped = plain(libc::SYS_mmap, [slot, len, protection, flags, fd, offset]);
        if mapped != error(libc::EEXIST) {
            return book(mapped);
        }
    }
    book(plain(libc::SYS_mmap, args))
}

/// A call with which what is mapped there goes, unless it fails. What comes in its place is booked in
/// `call`: until then a thread that traps there tries again.
fn replace(program: &Context, address: usize, len: usize, call: impl FnOnce() -> isize) -> isize {
    let end = len.checked_next_multiple_of(PAGE).and_then(|len| address.checked_add(len));
    let Some(end) = end.filter(|_| address.is_multiple_of(PAGE)) else { return call() };
    let registers = program.registers(true);
    // Before, since afterwards somebody else may have the addresses.
    lock::with(|state| {
        if state.overlaps(address, end) {
            state.here(&registers);
        }
        state.unmapping(address, end);
    });
    let result = call();
    lock::with(|state| state.unmapped(sys::result(result).is_ok()));
    result
}

#[inline(never)]
fn unmap(program: &Context, args: [usize; 6]) -> isize {
    let [address, len, ..] = args;
    replace(program, address, len, || plain(libc::SYS_munmap, args))
}

/// As the kernel does it: in the order of addresses, up to what cannot be protected.
#[inline(never)]
fn protect(number: i64, args: [usize; 6]) -> isize {
    let [address, len, protection, ..] = args;
    let end = len.checked_next_multiple_of(PAGE).and_then(|len| address.checked_add(len));
    let Some(end) = end.filter(|_| address.is_multiple_of(PAGE)) else {
        return plain(number, args);
    };
    let mut start = address;
    loop {
        let mut args = args;
        let done = lock::with(|state| {
            let piece = state.boundary(start, end);
            args[..2].copy_from_slice(&[start, piece - start]);
            state.bring_back(start, piece);
            let result = plain(number, args);
            if result == 0 {
                state.protected(start, piece, protection as i32);
            }
            (piece, result)
        });
        match done {
            Some((piece, 0)) if piece < end => start = piece,
            Some((_, result)) => return result,
            None => return plain(number, args),
        }
    }
}

#[inline(never)]
fn remap(program: &Context, args: [usize; 6]) -> isize {
    let [from, from_len, to_len, flags, to, _] = args;
    let call = || plain(libc::SYS_mremap, args);
    // As the kernel rounds it: a length that is too long is none.
    let from_len = from_len.wrapping_add(PAGE - 1) & !(PAGE - 1);
    let end = from.saturating_add(from_len);
    if !from.is_multiple_of(PAGE) {
        return call();
    }
    // What has no length is mapped a second time.
    let stays = from_len == 0 || flags & libc::MREMAP_DONTUNMAP as usize != 0;
    let is_ours = lock::with(|state| state.join(from, end));
    let mut moved = error(libc::ENOMEM);
    if flags & libc::MREMAP_FIXED as usize != 0 {
        moved = replace(program, to, to_len, call);
    } else {
        if is_ours == Some(true) && !stays {
            // Where it is, if that can be: there a filter knows it.
            moved = plain(libc::SYS_mremap, [from, from_len, to_len, 0, 0, 0]);
        }
        if moved == error(libc::ENOMEM) {
            moved = call();
        }
    }
    if is_ours == Some(true) {
        match sys::result(moved) {
            Ok(at) => {
                let to_len = to_len.next_multiple_of(PAGE);
                lock::with(|state| state.moved(from, end, at, at + to_len, stays));
                start::watch(at, to_len);
            }
            Err(_) => {
                lock::with(|state| state.not_moved(from, end));
            }
        }
    }
    moved
}

// --- descriptors -----------------------------------------------------------------------------------

#[inline(never)]
fn close(
    program: &Context,
    number: i64,
    args: [usize; 6],
    fds: core::ops::RangeInclusive<usize>,
) -> isize {
    let registers = program.registers(true);
    while lock::with(|state| state.any_open()) == Some(true)
        && let Some(buffer) = identify::last_of_open(&fds)
    {
        lock::with(|state| {
            state.here(&registers);
            state.closing(buffer);
        });
    }
    wait(program, number, args)
}

// --- brackets --------------------------------------------------------------------------------------

/// A bracket call, as the program asked for it.
struct Bracket {
    start: bool,
    direction: Option<Direction>,
    range: Range,
}

#[inline(never)]
fn ioctl(program: &Context, args: [usize; 6]) -> isize {
    let [fd, number, argument, ..] = args;
    match number as u32 {
        uapi::UDMABUF_CREATE => return create_udmabuf(program, args, argument, 1),
        uapi::UDMABUF_CREATE_LIST => {
            // The head: flags and count.
            let Some(head) = sys::read_value::<u64>(argument) else {
                return wait(program, libc::SYS_ioctl, args);
            };
            return create_udmabuf(program, args, argument + 8, head >> 32);
        }
        _ => {}
    }
    let asked = bracket(number as u32, argument);
    let buffer = asked.as_ref().and_then(|_| identify::buffer(fd as i32));
    let (Some(Bracket { start, direction, range }), Some(buffer)) = (asked, buffer) else {
        return transfer::transfer(program, libc::SYS_ioctl, args);
    };
    start::watch(window::START, 1);
    if !start && direction.is_some_and(|direction| direction != Direction::Write) {
        time_loads(buffer);
    }
    let result = wait(program, libc::SYS_ioctl, args);
    if result == sys::AGAIN {
        return result;
    }
    let registers = program.registers(true);
    lock::with(|state| {
        state.protect_again();
        if state.is(buffer, Kind::Memfd) {
            return;
        }
        state.here(&registers);
        match (sys::result(result), direction) {
            (Ok(_), Some(direction)) if start => state.begun(buffer, direction, range),
            (Err(Errno(errno)), _) if start || errno == libc::EINTR || errno == libc::EAGAIN => {
                state.bracket_failed(buffer, start, direction, range, errno);
            }
            // An END that fails for good has ended nothing that anybody could end any more.
            (_, Some(direction)) => state.ended(buffer, direction, range),
            (_, None) => {}
        }
    });
    result
}

/// Finds out, once for a buffer, whether its loads are uncached, while a bracket for them is open.
#[inline(never)]
fn time_loads(buffer: usize) {
    let due = lock::with(|state| state.page_to_time(buffer)).flatten();
    if let Some((call, page)) = due {
        let is_uncached = !uncached::is_emulated() && uncached::is(page);
        lock::with(|state| state.timed(buffer, call, is_uncached));
    }
}

/// What an ioctl asks for, if it is one that begins or ends a bracket.
fn bracket(number: u32, argument: usize) -> Option<Bracket> {
    let of = |flags: u64, range| Bracket {
        start: flags & uapi::DMA_BUF_SYNC_END == 0,
        direction: Direction::of_flags(flags),
        range,
    };
    let part = |start: u64, len: u64| Range { start, end: start.saturating_add(len) };
    match number {
        uapi::DMA_BUF_IOCTL_SYNC => Some(of(sys::read_value(argument)?, Range::WHOLE)),
        uapi::DMA_BUF_IOCTL_SYNC_PARTIAL => {
            let [flags, words] = sys::read_value::<[u64; 2]>(argument)?;
            Some(of(flags, part(words & 0xffff_ffff, words >> 32)))
        }
        uapi::DMA_BUF_IOCTL_SYNC_RANGE => {
            let [flags, offset, len] = sys::read_value::<[u64; 3]>(argument)?;
            Some(of(flags, part(offset, len)))
        }
        uapi::DMA_BUF_IOCTL_PREPARE_ACCESS => Some(of(uapi::DMA_BUF_SYNC_RW, Range::WHOLE)),
        uapi::DMA_BUF_IOCTL_FINISH_ACCESS => {
            Some(of(uapi::DMA_BUF_SYNC_RW | uapi::DMA_BUF_SYNC_END, Range::WHOLE))
        }
        _ => None,
    }
}

/// Makes a dma-buf; the memfds that it is made of are guarded from then on.
#[inline(never)]
fn create_udmabuf(program: &Context, args: [usize; 6], items: usize, count: u64) -> isize {
    let result = wait(program, libc::SYS_ioctl, args);
    let Ok(fd) = sys::result(result) else { return result };
    let Some(buffer) = identify::buffer(fd as i32) else { return result };
    for index in 0..count.min(1024) as usize {
        // Each item is 24 bytes, the memfd's descriptor first.
        let Some(head) = sys::read_value::<u64>(items + 24 * index) else { break };
        identify::behind(head as u32 as i32, buffer, start::watch);
    }
    result
}
