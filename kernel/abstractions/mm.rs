// SPDX-License-Identifier: GPL-2.0

//! Which process it is: told by its address space, which its threads share and its children do not.

use core::sync::atomic::{AtomicI32, AtomicI64, Ordering};

use kernel::bindings;
use kernel::mm::Mm;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::task::Task;

/// The bytes of a process's name, as in `/proc/PID/comm`, its NUL included.
pub(crate) const COMM_LEN: usize = bindings::TASK_COMM_LEN as usize;

/// The address space of the process that runs; kernel threads have none.
pub(crate) fn current() -> Option<ARef<Mm>> {
    let task = current!();
    let mm: &Mm = task.mm()?;
    Some(ARef::from(mm))
}

/// A number that no two address spaces share at the same time. While one holds a reference it stays
/// that one's.
pub(crate) fn number(mm: &Mm) -> u64 {
    mm.as_raw() as u64
}

/// The number of the process that runs; 0 for kernel threads.
pub(crate) fn current_number() -> u64 {
    current!().mm().map_or(0, |mm| number(mm))
}

/// Whether the last thread that used the address space is gone.
pub(crate) fn is_dead(mm: &Mm) -> bool {
    // SAFETY: The reference keeps the struct alive, and the counter is only accessed atomically.
    let users =
        unsafe { AtomicI32::from_ptr(&raw mut (*mm.as_raw()).__bindgen_anon_1.mm_users.counter) };
    users.load(Ordering::Acquire) == 0
}

/// The pages that the machine has.
pub(crate) fn machine_pages() -> usize {
    // SAFETY: The counter is only accessed atomically.
    let pages = unsafe { AtomicI64::from_ptr(&raw mut bindings::_totalram_pages.counter) };
    pages.load(Ordering::Relaxed) as usize
}

/// Whether the running process got a signal that kills it.
pub(crate) fn is_being_killed() -> bool {
    let task = current!();
    if !task.signal_pending() {
        return false;
    }
    let killed = 1 << (bindings::SIGKILL - 1);
    // SAFETY: It is the running task's own field. Others may set bits at any time, which is why the
    // load is volatile; the bit that is asked for is never taken back.
    unsafe { (&raw const (*task.as_ptr()).pending.signal.sig[0]).read_volatile() & killed != 0 }
}

/// The running task's name.
pub(crate) fn comm() -> [u8; COMM_LEN] {
    let mut comm = [0; COMM_LEN];
    // SAFETY: The field has as many bytes, the last of them always zero. Another task may rename this
    // one meanwhile, which tears the name and nothing else.
    let source = unsafe { &raw const (*Task::current_raw()).comm }.cast::<u8>();
    for (index, byte) in comm.iter_mut().enumerate() {
        // SAFETY: As above.
        *byte = unsafe { source.add(index).read_volatile() };
    }
    comm
}
