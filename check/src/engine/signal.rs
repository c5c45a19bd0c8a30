//! The engine's signal handlers, and how the program's own are called.
//!
//! SIGSYS is how a trapped call arrives, SIGSEGV how an access does, SIGTRAP tells that the access
//! is over. Everything here may run at any time, inside of anything, on a small alternate stack: it
//! allocates nothing, calls nothing of libc but `memcpy` and its like, and waits for nothing but the
//! engine's lock, which is held with all signals blocked.
//!
//! What the program registers for these three is kept, told when it asks, and called for every one
//! that is not the engine's. Before its handlers for other signals the engine's stands as well, so
//! that none of them runs inside of the engine, on the little stack that it has there, or leaves it by
//! a jump: one that comes while a call waits ends the wait, and is sent again once the call has been
//! booked and the program goes on.

#![allow(unsafe_code)]

use core::arch::naked_asm;
use core::ffi::{c_int, c_void};

use super::place::Registers;
use super::state::Fault;
use super::sys::{self, Action};
use super::{calls, filter, lock, start};

/// The signals that are the engine's. Never blocked while the program runs: a blocked one of these
/// would end it.
pub const OURS: [c_int; 3] = [libc::SIGSYS, libc::SIGSEGV, libc::SIGTRAP];

/// The same as a set.
pub const MASK: u64 = set(libc::SIGSYS) | set(libc::SIGSEGV) | set(libc::SIGTRAP);

/// The numbers of signals, and one more.
pub const SIGNALS: usize = 65;

const SA_RESTORER: u64 = 0x0400_0000;
/// What the kernel is told of the flags of a program's action.
const KEPT: c_int = libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT | libc::SA_ONSTACK | libc::SA_RESTART;
const TRAP_FLAG: i64 = 1 << 8;
const SYS_SECCOMP: c_int = 1;
const SEGV_MAPERR: c_int = 1;
const SEGV_ACCERR: c_int = 2;
const TRAP_TRACE: c_int = 2;
/// The bits of a page fault's error code that a load or a store of a program's can have.
const DATA: u64 = 7;

/// A signal as a set of one.
pub const fn set(signal: c_int) -> u64 {
    1 << (signal - 1)
}

/// Whether it is the engine's.
pub fn is_ours(signal: c_int) -> bool {
    OURS.contains(&signal)
}

type Info = *mut libc::siginfo_t;

/// A handler that asks `$look` first: what that returns, if anything, is the program's own handler,
/// which is called as the kernel would have, with nothing of the engine's on the stack but these
/// three words; it may be left by a jump or an exception.
macro_rules! handler {
    ($name:ident, $look:ident) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_: c_int, _: Info, _: *mut c_void) {
            naked_asm!(
                ".cfi_startproc",
                "push rdi",
                "push rsi",
                "push rdx",
                ".cfi_adjust_cfa_offset 24",
                "call {look}",
                "test rax, rax",
                "jz 2f",
                "mov rdx, [rsp]",
                "mov rsi, [rsp + 8]",
                "mov rdi, [rsp + 16]",
                "call rax",
                "mov rdx, [rsp]",
                "mov rdi, [rsp + 16]",
                "call {after}",
                "2:",
                "add rsp, 24",
                ".cfi_adjust_cfa_offset -24",
                "ret",
                ".cfi_endproc",
                look = sym $look,
                after = sym after,
            )
        }
    };
}

handler!(on_sigsys, look_at_sigsys);
handler!(on_sigsegv, look_at_sigsegv);
handler!(on_sigtrap, look_at_sigtrap);
handler!(on_other, look_at_other);

/// Where a handler is.
fn address(handler: unsafe extern "C" fn(c_int, Info, *mut c_void)) -> usize {
    handler as *const () as usize
}

/// Takes the three signals, and stands before every handler that the program has already.
pub fn install() -> Result<(), sys::Errno> {
    for signal in 1..SIGNALS as c_int {
        // SAFETY: No handler is set.
        let Ok(known) = (unsafe { sys::set_action(signal, None) }) else { continue };
        lock::with(|state| state.actions[signal as usize] = known);
        let flags = (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64 | SA_RESTORER;
        let handler = match signal {
            libc::SIGSYS => address(on_sigsys),
            libc::SIGSEGV => address(on_sigsegv),
            libc::SIGTRAP => address(on_sigtrap),
            _ if known.is_function() => {
                start::watch_actions();
                // SAFETY: The handler is one of those above.
                unsafe { sys::set_action(signal, Some(&before(&known))) }?;
                continue;
            }
            _ => continue,
        };
        let action = Action { handler, flags, restorer: sys::RESTORER, mask: u64::MAX };
        // SAFETY: As above.
        unsafe { sys::set_action(signal, Some(&action)) }?;
    }
    Ok(())
}

/// What the kernel is told of an action of the program's for a signal that is not the engine's.
fn before(action: &Action) -> Action {
    if !action.is_function() {
        return *action;
    }
    Action {
        handler: address(on_other),
        flags: action.flags & KEPT as u64 | libc::SA_SIGINFO as u64 | SA_RESTORER,
        restorer: sys::RESTORER,
        mask: u64::MAX,
    }
}

/// `rt_sigaction(2)` as the program means it: what was there before.
pub fn act(signal: c_int, new: Option<&Action>) -> Result<Action, sys::Errno> {
    if !(1..SIGNALS as c_int).contains(&signal) {
        return Err(sys::Errno(libc::EINVAL));
    }
    let is_borrowed = lock::is_borrowed();
    // Before the kernel has an answer that the program must not get.
    if new.is_some_and(Action::is_function) && !is_ours(signal) && !is_borrowed {
        start::watch_actions();
    }
    let done = lock::with(|state| {
        let known = state.actions[signal as usize];
        // Where the filter for it is refused, the program has it from the kernel.
        let new = new.map(|new| if new.handler == address(on_other) { &known } else { new });
        if is_ours(signal) {
            // A child of vfork(2) has its own actions, and the memory of its parent.
            if let Some(&new) = new.filter(|_| !is_borrowed) {
                state.actions[signal as usize] = new;
            }
            return Ok(known);
        }
        let told = new.map(|new| if is_borrowed { *new } else { before(new) });
        // SAFETY: The program says that its handler can be called.
        let old = unsafe { sys::set_action(signal, told.as_ref()) }?;
        if let Some(&new) = new.filter(|_| !is_borrowed) {
            state.actions[signal as usize] = new;
        }
        Ok(if old.handler == address(on_other) { known } else { old })
    });
    done.unwrap_or(Err(sys::Errno(libc::EINVAL)))
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
        self.write_mask(mask & !MASK);
    }

    /// Has the rest of a call that waits go on with this one blocked as well, whose ever it is.
    fn block(&mut self, signal: c_int) {
        self.write_mask(self.mask() | set(signal));
    }

    fn write_mask(&mut self, mask: u64) {
        let set = &raw mut self.0.uc_sigmask;
        // SAFETY: As above.
        unsafe { set.cast::<u64>().write(mask) }
    }

    /// Has a trapped call return this; one that is to be made again is, after handlers have run.
    fn set_result(&mut self, result: isize) {
        if result == sys::AGAIN {
            // `syscall` has two bytes, and rax is the call's number still.
            self.0.uc_mcontext.gregs[libc::REG_RIP as usize] -= 2;
        } else {
            self.0.uc_mcontext.gregs[libc::REG_RAX as usize] = result as i64;
        }
    }

    /// Whether it is the engine that was interrupted, in a call that waits. If so the call is over;
    /// the handler comes when it has been booked and the program goes on.
    fn interrupts_wait(&mut self) -> bool {
        let registers = &mut self.0.uc_mcontext.gregs;
        let [rip, rsp, rbx] = [libc::REG_RIP, libc::REG_RSP, libc::REG_RBX]
            .map(|register| registers[register as usize] as usize);
        // SAFETY: Nothing else of the engine's is interrupted by signals of others.
        let Some(end) = (unsafe { sys::interrupted_wait(rip, rsp, rbx) }) else { return false };
        if let Some((rip, rsp)) = end {
            registers[libc::REG_RIP as usize] = rip as i64;
            registers[libc::REG_RSP as usize] = rsp as i64;
            registers[libc::REG_RAX as usize] = sys::AGAIN as i64;
        }
        true
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

unsafe extern "C" fn look_at_sigsys(signal: c_int, info: Info, context: *mut c_void) -> usize {
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
        return 0;
    }
    // SAFETY: Those that came here.
    unsafe { forward(signal, info, context) }
}

unsafe extern "C" fn look_at_sigsegv(signal: c_int, info: Info, context: *mut c_void) -> usize {
    // SAFETY: The kernel passes both, for the time of this call.
    let (address, code, program) = unsafe {
        let info = &*info;
        (info.si_addr() as usize, info.si_code, &mut Context(&mut *context.cast()))
    };
    // Anything else is a signal that somebody sent.
    if code > 0 {
        let error = program.register(libc::REG_ERR);
        let write = error & 2 != 0;
        let registers = program.registers(false);
        let again = program.is_stepping();
        let fault = lock::with(|state| {
            state.protect_again();
            let fault = match code {
                SEGV_ACCERR | SEGV_MAPERR => {
                    let is_mapped = code == SEGV_ACCERR;
                    state.fault(address, is_mapped, write, &registers, again)
                }
                _ => Fault::NotOurs,
            };
            (fault, state.watching)
        });
        match fault {
            Some((Fault::Again, _)) => return 0,
            Some((Fault::Step, _)) => {
                program.step(true);
                return 0;
            }
            // What was a buffer's is something else's by now, which does not trap.
            Some((Fault::NotOurs, true))
                if error & !DATA == 0 && sys::can_be_accessed(address, write) =>
            {
                return 0;
            }
            Some((Fault::NotOurs, _)) | None => {}
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

unsafe extern "C" fn look_at_sigtrap(signal: c_int, info: Info, context: *mut c_void) -> usize {
    // SAFETY: The kernel passes both, for the time of this call.
    let (code, program) = unsafe { ((*info).si_code, &mut Context(&mut *context.cast())) };
    if code == TRAP_TRACE {
        let ours = lock::with(|state| state.stepped());
        // Without a step under way it may be one that the program's handler stepped over; only a
        // program that handles SIGTRAP itself can have set the flag.
        let handler = lock::with(|state| state.actions[libc::SIGTRAP as usize].handler);
        if ours == Some(true) || handler == Some(libc::SIG_DFL) {
            program.step(false);
            return 0;
        }
    }
    // SAFETY: Those that came here.
    unsafe { forward(signal, info, context) }
}

unsafe extern "C" fn look_at_other(signal: c_int, info: Info, context: *mut c_void) -> usize {
    // SAFETY: Those that came here.
    unsafe { forward(signal, info, context) }
}

/// Does with a signal what the program has asked for; returns its handler, to be called now.
unsafe fn forward(signal: c_int, info: Info, context: *mut c_void) -> usize {
    // SAFETY: The kernel passes both, for the time of this call.
    let (code, program) = unsafe { ((*info).si_code, &mut Context(&mut *context.cast())) };
    let is_of_the_program = is_ours(signal) && code > 0;
    if !is_of_the_program && program.interrupts_wait() && sys::raise(signal, info as usize).is_ok()
    {
        program.block(signal);
        return 0;
    }
    let asked = lock::with(|state| {
        let action = &mut state.actions[signal as usize];
        let known = *action;
        if known.is_function() && known.flags & libc::SA_RESETHAND as u64 != 0 {
            *action = Action::default();
        }
        if signal == libc::SIGSEGV && is_of_the_program {
            if state.handles_fault() {
                // A fault in a handler of faults: without a checker the signal would be blocked, and
                // this the end.
                return (Action::default(), None);
            }
            state.set_handles_fault(known.is_function() && !is_reentrant(&known));
        }
        (known, state.mask_after_wait())
    });
    let (action, mask_after_wait) = asked.unwrap_or_default();
    if !action.is_function() {
        if action.handler == libc::SIG_IGN && !is_of_the_program {
            return 0;
        }
        // SAFETY: The default action is no function.
        let _ = unsafe { sys::set_action(signal, Some(&Action::default())) };
        // A fault happens again; what does not, is sent again, once this handler has returned.
        if signal != libc::SIGSEGV || !is_of_the_program {
            let _ = sys::raise(signal, info as usize);
        }
        return 0;
    }
    if action.flags & libc::SA_RESETHAND as u64 != 0 && !is_ours(signal) {
        // SAFETY: As above.
        let _ = unsafe { sys::set_action(signal, Some(&Action::default())) };
    }
    let itself = if is_reentrant(&action) { 0 } else { set(signal) };
    // It may use buffers, and it may never return: ours are not blocked meanwhile.
    let mask = (program.mask() | action.mask | itself) & !MASK;
    if let Some(mask) = mask_after_wait {
        program.set_mask(mask);
    }
    sys::set_signal_mask(mask);
    action.handler
}

/// Whether the signal is not blocked while it is handled.
fn is_reentrant(action: &Action) -> bool {
    action.flags & libc::SA_NODEFER as u64 != 0
}

/// The program's handler has returned.
unsafe extern "C" fn after(signal: c_int, _: Info, context: *mut c_void) {
    // SAFETY: The kernel has passed it.
    let program = unsafe { &mut Context(&mut *context.cast()) };
    if signal == libc::SIGSEGV {
        sys::set_signal_mask(u64::MAX);
        lock::with(|state| state.set_handles_fault(false));
    }
    program.set_mask(program.mask());
}
