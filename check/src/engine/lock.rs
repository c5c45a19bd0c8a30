//! The engine's one lock, and whose state it guards: that of the process.
//!
//! It is taken only with all signals blocked, by signal handlers, and nothing that can wait is done
//! while it is held. It lives in a page that a forked child gets zeroed: so a child finds it free,
//! whoever had it in the parent, and notices that it is a child. A child of `vfork(2)` shares its
//! parent's memory and must not change what is the parent's.

#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::state::State;
use super::sys;

/// What is in the page.
#[repr(C)]
struct Owner {
    process: AtomicU32,
    lock: AtomicU32,
}

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody may sleep until it is free.
const AWAITED: u32 = 2;

impl Owner {
    /// Sleeps if it has to, so that who has it gets to run, whatever its priority.
    fn lock(&self) {
        for _ in 0..64 {
            if self.lock.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return;
            }
            core::hint::spin_loop();
        }
        while self.lock.swap(AWAITED, Ordering::Acquire) != FREE {
            sys::sleep_while(&self.lock, AWAITED);
        }
    }

    fn unlock(&self) {
        if self.lock.swap(FREE, Ordering::Release) == AWAITED {
            sys::wake_one(&self.lock);
        }
    }
}

static OWNER: AtomicPtr<Owner> = AtomicPtr::new(core::ptr::null_mut());

struct Guarded(UnsafeCell<State>);
// SAFETY: Reached through `with` alone, which holds the lock.
unsafe impl Sync for Guarded {}
static STATE: Guarded = Guarded(UnsafeCell::new(State::new()));

/// Makes the page.
pub fn prepare() -> sys::Result {
    let page = sys::allocate_for_one_process()?;
    let owner = page as *mut Owner;
    // SAFETY: The page is mapped, zeroed, and never given back.
    unsafe { &*owner }.process.store(sys::process(), Ordering::Relaxed);
    OWNER.store(owner, Ordering::Release);
    Ok(page)
}

fn owner() -> Option<&'static Owner> {
    // SAFETY: Null, or the page of `prepare`.
    unsafe { OWNER.load(Ordering::Acquire).as_ref() }
}

/// Whether this is a child of `vfork(2)`, in the memory of another process.
pub fn is_borrowed() -> bool {
    let Some(owner) = owner() else { return true };
    let process = owner.process.load(Ordering::Relaxed);
    process != 0 && process != sys::process()
}

/// Holds the lock; `None` before the engine has started.
pub fn with<T>(look: impl FnOnce(&mut State) -> T) -> Option<T> {
    let owner = owner()?;
    owner.lock();
    // SAFETY: The lock is held, and `look` cannot take it again: nothing that it may call does.
    let state = unsafe { &mut *STATE.0.get() };
    if owner.process.load(Ordering::Relaxed) == 0 {
        owner.process.store(sys::process(), Ordering::Relaxed);
        state.after_fork();
    }
    let result = look(state);
    owner.unlock();
    Some(result)
}

/// Calls `fork` while nobody changes the state, so that the child gets it whole.
pub fn while_held(fork: impl FnOnce() -> isize) -> isize {
    let mut forked = 0;
    let Some(owner) = owner() else { return fork() };
    let in_parent = with(|_| {
        forked = fork();
        owner.process.load(Ordering::Relaxed) != 0
    });
    if in_parent == Some(false) {
        // The child: its page is empty, and nobody has the lock.
        with(|_| ());
    }
    forked
}
