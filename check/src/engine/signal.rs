//! The engine's three signal handlers, and what the program's own have in common with them.
//!
//! SIGSYS is how a trapped call arrives, SIGSEGV how an access does, SIGTRAP tells that the access
//! is over. Everything here may run at any time, inside of anything, on a small alternate stack: it
//! allocates nothing, calls nothing of libc but `memcpy` and its like, and waits for nothing but the
//! engine's lock, which is held with all signals blocked.
//!
//! What the program registers for these three is kept, told when it asks, and called for every one
//! that is not the engine's.

#![allow(unsafe_code)]

use core::ffi::{c_int, c_void};

use super::place::Registers;
use super::state::Fault;
use super::sys::{self, Action};
use super::{calls, filter, lock};

/// The signals that are the engine's. Never blocked while the program runs: a blocked one of these
/// would end it.
pub const OURS: [c_int; 3] = [libc::SIGSYS, libc::SIGSEGV, libc::SIGTRAP];

/// The same as a set.
pub const MASK: u64 = set(libc::SIGSYS) | set(libc::SIGSEGV) | set(libc::SIGTRAP);

const SA_RESTORER: u64 = 0x0400_0000;
const TRAP_FLAG: i64 = 1 << 8;
const SYS_SECCOMP: c_int = 1;
const SEGV_ACCERR: c_int = 2;
const TRAP_TRACE: c_int = 2;
/// The numbers of signals, and one more.
const SIGNALS: c_int = 65;

/// A signal as a set of one.
pub const fn set(signal: c_int) -> u64 {
    1 << (signal - 1)
}

/// The place of a signal in [`OURS`].
pub fn index(signal: c_int) -> Option<usize> {
    OURS.iter().position(|&ours| ours == signal)
}

type Handler = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Takes the three signals; what was there is kept as the program's.
pub fn install() -> Result<(), sys::Errno> {
    let handlers: [Handler; 3] = [on_sigsys, on_sigsegv, on_sigtrap];
    for ((place, signal), handler) in OURS.into_iter().enumerate().zip(handlers) {
        let action = Action {
            handler: handler as usize,
            flags: (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64 | SA_RESTORER,
            restorer: sys::RESTORER,
            mask: u64::MAX,
        };
        // SAFETY: The handler is one of those below.
        let old = unsafe { sys::set_action(signal, Some(&action)) }?;
        lock::with(|state| state.actions[place] = old);
    }
    // Handlers that the program has already must not block ours while they run.
    for signal in (1..SIGNALS).filter(|&signal| index(signal).is_none()) {
        // SAFETY: No handler is set, or the one that was set.
        unsafe {
            if let Ok(known) = sys::set_action(signal, None)
                && known.mask & MASK != 0
            {
                sys::set_action(signal, Some(&Action { mask: known.mask & !MASK, ..known }))?;
            }
        }
    }
    Ok(())
}

/// The interrupted program.
pub struct Context<'a>(&'a mut libc::ucontext_t);

impl Context<'_> {
    fn register(&self, register: c_int) -> u64 {
        self.0.uc_mcontext.gregs[register as usize] as u64
    }

    /// The six arguments of a system call.
    pub fn arguments(&self) -> [usize; 6] {
        [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8, libc::REG_R9]
            .map(|register| self.register(register) as usize)
    }

    /// Where the program is.
    pub fn registers(&self, after: bool) -> Registers {
        let order = [
            libc::REG_RAX,
            libc::REG_RDX,
            libc::REG_RCX,
            libc::REG_RBX,
            libc::REG_RSI,
            libc::REG_RDI,
            libc::REG_RBP,
            libc::REG_RSP,
            libc::REG_R8,
            libc::REG_R9,
            libc::REG_R10,
            libc::REG_R11,
            libc::REG_R12,
            libc::REG_R13,
            libc::REG_R14,
            libc::REG_R15,
            libc::REG_RIP,
        ];
        Registers { values: order.map(|register| self.register(register)), after }
    }

    /// The signals that the program has blocked.
    pub fn mask(&self) -> u64 {
        let set = &raw const self.0.uc_sigmask;
        // SAFETY: The kernel's set is the first 8 bytes.
        unsafe { set.cast::<u64>().read() }
    }

    /// Has the program go on with these blocked, but for those that are the engine's.
    pub fn set_mask(&mut self, mask: u64) {
        let set = &raw mut self.0.uc_sigmask;
        // SAFETY: As above.
        unsafe { set.cast::<u64>().write(mask & !MASK) }
    }

    fn set_result(&mut self, result: isize) {
        self.0.uc_mcontext.gregs[libc::REG_RAX as usize] = result as i64;
    }

    fn is_stepping(&self) -> bool {
        self.0.uc_mcontext.gregs[libc::REG_EFL as usize] & TRAP_FLAG != 0
    }

    /// Has the processor trap after the next instruction, or not.
    fn step(&mut self, step: bool) {
        let flags = &mut self.0.uc_mcontext.gregs[libc::REG_EFL as usize];
        if step { *flags |= TRAP_FLAG } else { *flags &= !TRAP_FLAG }
    }
}

unsafe extern "C" fn on_sigsys(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    /// The part of `siginfo_t` that is about a system call.
    #[repr(C)]
    struct Trapped {
        signo: c_int,
        errno: c_int,
        code: c_int,
        address: *mut c_void,
        call: c_int,
        arch: u32,
    }
    // SAFETY: The kernel passes both, for the time of this call.
    let (trapped, program) =
        unsafe { (&*info.cast::<Trapped>(), &mut Context(&mut *context.cast())) };
    if trapped.code == SYS_SECCOMP && trapped.errno == c_int::from(filter::MARK) {
        let result = calls::carry_out(i64::from(trapped.call), program);
        program.set_result(result);
    } else {
        // SAFETY: Those that came here.
        unsafe { forward(signal, info, context) }
    }
}

unsafe extern "C" fn on_sigsegv(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: The kernel passes both, for the time of this call.
    let (address, code, program) = unsafe {
        let info = &*info;
        (info.si_addr() as usize, info.si_code, &mut Context(&mut *context.cast()))
    };
    // Anything else is a signal that somebody sent.
    if code > 0 {
        let write = program.register(libc::REG_ERR) & 2 != 0;
        let registers = program.registers(false);
        let again = program.is_stepping();
        let fault = lock::with(|state| {
            state.protect_again();
            // What the engine keeps without access is mapped: where nothing is, the fault is the
            // program's.
            match code {
                SEGV_ACCERR => state.fault(address, write, &registers, again),
                _ => Fault::NotOurs,
            }
        });
        match fault {
            Some(Fault::Again) => return,
            Some(Fault::Step) => return program.step(true),
            Some(Fault::NotOurs) | None => {}
        }
        // A C library that refuses an mmap itself never asks the kernel: then nobody has seen it
        // fail.
        let failed = lock::with(|state| state.failed_map(address)).flatten();
        let failed = failed
            .or_else(|| (address == usize::MAX).then(super::identify::unmapped_buffer).flatten());
        if let Some(buffer) = failed {
            lock::with(|state| state.failed_map_used(buffer, address, &registers));
        }
    }
    // SAFETY: Those that came here.
    unsafe { forward(signal, info, context) }
}

unsafe extern "C" fn on_sigtrap(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: The kernel passes both, for the time of this call.
    let (code, program) = unsafe { ((*info).si_code, &mut Context(&mut *context.cast())) };
    if code == TRAP_TRACE {
        let ours = lock::with(|state| state.stepped());
        // Without a step under way it may be one that the program's handler stepped over; only a
        // program that handles SIGTRAP itself can have set the flag.
        let handled = lock::with(|state| state.actions[2].handler) != Some(libc::SIG_DFL);
        if ours == Some(true) || !handled {
            return program.step(false);
        }
    }
    // SAFETY: Those that came here.
    unsafe { forward(signal, info, context) }
}

/// Does with a signal what the program has asked for.
unsafe fn forward(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(place) = index(signal) else { return };
    let action = lock::with(|state| {
        let action = state.actions[place];
        if action.flags & libc::SA_RESETHAND as u64 != 0 {
            state.actions[place] = Action::default();
        }
        action
    });
    let action = action.unwrap_or_default();
    // SAFETY: The kernel passes it.
    let is_of_the_program = unsafe { (*info).si_code } > 0;
    match action.handler {
        libc::SIG_IGN if !is_of_the_program => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: The default action is no function.
            let _ = unsafe { sys::set_action(signal, Some(&Action::default())) };
            // A fault happens again; what does not, is sent again, once this handler has returned.
            if signal != libc::SIGSEGV || !is_of_the_program {
                sys::raise(signal, info as usize);
            }
        }
        handler => {
            // SAFETY: As above.
            let program = unsafe { &mut Context(&mut *context.cast()) };
            let itself = if action.flags & libc::SA_NODEFER as u64 == 0 { set(signal) } else { 0 };
            let never = set(libc::SIGSYS) | set(libc::SIGTRAP);
            sys::set_signal_mask((program.mask() | action.mask | itself) & !never);
            // SAFETY: The program has registered it; one that takes the number alone can be passed
            // more.
            let handler: unsafe extern "C-unwind" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { core::mem::transmute(handler) };
            // SAFETY: As above.
            unsafe { handler(signal, info, context) };
            let mask = program.mask();
            program.set_mask(mask);
        }
    }
}
