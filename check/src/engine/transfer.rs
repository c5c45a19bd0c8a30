//! Calls that have the kernel load from memory of the program's, or store to it. In a protected
//! mapping they would fail with EFAULT; here the memory is opened for them, and looked at afterwards
//! for as many bytes as they moved.

use super::brackets::Allowed;
use super::calls::{plain, wait};
use super::signal::Context;
use super::{lock, sys};

/// Where the bytes of a call are.
enum Memory {
    /// At one place: address and length.
    One(usize, usize),
    /// In a list of `struct iovec`: its address and length.
    List(usize, usize),
    /// In the list of a `struct msghdr`.
    Message(usize),
    /// In those of several `struct mmsghdr`.
    Messages(usize, usize),
}

/// Carries out a call that has a pointer into a mapping, or may have one in a list.
#[inline(never)]
pub fn transfer(program: &Context, number: i64, args: [usize; 6]) -> isize {
    let [_, b, c, ..] = args;
    use Memory::{List, Message, Messages, One};
    // What the call loads or stores, and whether it stores.
    let (memory, write) = match number {
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_recvfrom => (One(b, c), true),
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_sendto => (One(b, c), false),
        libc::SYS_getrandom => (One(args[0], b), true),
        libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 => (List(b, c), true),
        libc::SYS_writev | libc::SYS_pwritev | libc::SYS_pwritev2 | libc::SYS_vmsplice => {
            (List(b, c), false)
        }
        libc::SYS_process_vm_readv => (List(b, c), true),
        libc::SYS_process_vm_writev => (List(b, c), false),
        libc::SYS_recvmsg => (Message(b), true),
        libc::SYS_sendmsg => (Message(b), false),
        libc::SYS_recvmmsg => (Messages(b, c), true),
        libc::SYS_sendmmsg => (Messages(b, c), false),
        // What has pages be there.
        libc::SYS_mlock | libc::SYS_mlock2 => return populate(number, args),
        libc::SYS_madvise
            if [libc::MADV_POPULATE_READ, libc::MADV_POPULATE_WRITE].contains(&(c as i32)) =>
        {
            return populate(number, args);
        }
        // What is about addresses and not about what is there.
        libc::SYS_madvise
        | libc::SYS_msync
        | libc::SYS_mincore
        | libc::SYS_munlock
        | libc::SYS_mbind
        | libc::SYS_mmap => {
            let (start, end) = (args[0], args[0].saturating_add(b));
            lock::with(|state| state.bring_back(start, end));
            return plain(number, args);
        }
        _ => return any(program, number, args),
    };
    let allowed = if write { Allowed::Write } else { Allowed::Read };
    let mut is_ours = false;
    let call = lock::with(|state| state.new_call()).unwrap_or(0);
    each(&memory, &mut |start, len| {
        let end = start.saturating_add(len);
        lock::with(|state| {
            if state.overlaps(start, end) {
                is_ours = true;
                state.open_for_call(call, start, end, allowed);
            }
        });
    });
    let result = wait(program, number, args);
    if is_ours {
        let registers = program.registers(true);
        let moved = sys::result(result).unwrap_or(0);
        lock::with(|state| {
            state.here(&registers);
            let mut rest = match memory {
                // How many bytes each of them moved is in the messages; all of them will do.
                Messages(..) if moved > 0 => usize::MAX,
                _ => moved,
            };
            let mut found = false;
            each(&memory, &mut |start, len| {
                let len = len.min(rest);
                rest -= len;
                found = found || state.look_at_call(start, start.saturating_add(len), write);
            });
            state.returned(call);
        });
    }
    result
}

/// A call that asks for the pages of a range, which is no access to what is there.
#[inline(never)]
fn populate(number: i64, args: [usize; 6]) -> isize {
    let [start, len, ..] = args;
    let call = lock::with(|state| {
        let call = state.new_call();
        state.open_for_call(call, start, start.saturating_add(len), Allowed::Write);
        call
    });
    let result = plain(number, args);
    lock::with(|state| state.returned(call.unwrap_or(0)));
    result
}

/// A call of which nothing is known but that it has a pointer into a mapping: it does with it what
/// it does.
#[inline(never)]
fn any(program: &Context, number: i64, args: [usize; 6]) -> isize {
    let call = lock::with(|state| {
        let call = state.new_call();
        for address in args {
            state.open_whole(call, address);
        }
        call
    });
    let result = wait(program, number, args);
    lock::with(|state| state.returned(call.unwrap_or(0)));
    result
}

/// Each piece of memory.
fn each(memory: &Memory, look: &mut impl FnMut(usize, usize)) {
    match *memory {
        Memory::One(start, len) => look(start, len),
        Memory::List(list, count) => each_of_list(list, count, look),
        Memory::Message(message) => each_of_message(message, look),
        Memory::Messages(messages, count) => {
            for index in 0..count.min(1024) {
                // struct mmsghdr: a struct msghdr of 56 bytes, and a length.
                each_of_message(messages.wrapping_add(64 * index), look);
            }
        }
    }
}

fn each_of_message(message: usize, look: &mut impl FnMut(usize, usize)) {
    // struct msghdr: the list's address and length are its third and fourth word.
    if let Some([list, count]) = sys::read_value::<[u64; 2]>(message.wrapping_add(16)) {
        each_of_list(list as usize, count as usize, look);
    }
}

fn each_of_list(list: usize, count: usize, look: &mut impl FnMut(usize, usize)) {
    for index in 0..count.min(1024) {
        match sys::read_value::<[u64; 2]>(list.wrapping_add(16 * index)) {
            Some([start, len]) => look(start as usize, len as usize),
            None => break,
        }
    }
}
