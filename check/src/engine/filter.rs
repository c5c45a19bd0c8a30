//! Which system calls are trapped: the programs that the kernel runs before each of them.
//!
//! A filter outlives `execve(2)`, and the engine does not. A program that is executed later and that
//! nothing can be preloaded into must not be trapped, so a filter asks last of all where the call
//! comes from: only from where the code of *this* image is. Of the calls that it never traps the
//! kernel keeps a bitmap, and does not run it at all.

use super::sys::{GADGET_RETURN, Instruction};
use super::table::Table;
use super::{signal, window};

/// The most instructions that a filter here can need.
const ROOM: usize = 512;

/// What a trap of ours carries in `si_errno`, to be told from those of the program's own filters.
pub const MARK: u16 = 0xdb0f;

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const RET_TRAP: u32 = 0x0003_0000;
const RET_ALLOW: u32 = 0x7fff_0000;

const LOAD: u16 = 0x20; // A = data[k]
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_AT_LEAST: u16 = 0x35;
const IF_BITS: u16 = 0x45;
const ADD: u16 = 0x04;
const ADD_X: u16 = 0x0c;
const AND: u16 = 0x54;
const OR_X: u16 = 0x4c;
const SHIFT_LEFT: u16 = 0x64;
const SHIFT_RIGHT: u16 = 0x74;
const TO_X: u16 = 0x07;
const STORE: u16 = 0x02; // M[k] = A
const LOAD_X: u16 = 0x61; // X = M[k]
const RETURN: u16 = 0x06;

const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const POINTER: u32 = 8;
const fn low(argument: u32) -> u32 {
    16 + argument * 8
}
const fn high(argument: u32) -> u32 {
    low(argument) + 4
}

/// A part of the address space in units of 64 KiB, the last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first unit.
    pub first: u32,
    /// The last.
    pub last: u32,
}

impl Span {
    /// What holds these addresses.
    pub const fn of(start: usize, end: usize) -> Span {
        Span { first: (start >> 16) as u32, last: ((end - 1) >> 16) as u32 }
    }

    /// Whether all of it is at this address or above.
    pub const fn holds_nothing_below(self, address: usize) -> bool {
        self.first as usize >= address >> 16
    }

    /// Whether an address is in it.
    pub const fn holds(self, address: usize) -> bool {
        let unit = (address >> 16) as u64;
        self.first as u64 <= unit && unit <= self.last as u64
    }
}

/// A program under construction. Jumps go forward only, to one of two ends.
pub struct Program {
    code: Table<Instruction, ROOM>,
    /// Jumps to where the caller's address is looked at.
    pending: [u16; 64],
    pendings: usize,
}

/// What is trapped in every program.
pub fn first(from: &[Span]) -> Program {
    let mut program = Program::begin();
    let sync = |kind: u8, number: u8| u32::from(kind) << 8 | u32::from(number);
    program.on(libc::SYS_mmap, |p| {
        // A shared mapping (MAP_SHARED and MAP_SHARED_VALIDATE) of a descriptor.
        p.unless_bits(low(3), libc::MAP_SHARED as u32);
        p.allow_if(low(4), u32::MAX);
    });
    program.on(libc::SYS_ioctl, |p| {
        p.push(LOAD, 0, 0, low(1));
        p.push(AND, 0, 0, 0xffff);
        let ours = [
            sync(b'b', 0),
            sync(b'b', 2), // SYNC_PARTIAL, and EXPORT_SYNC_FILE
            sync(b'Z', 0),
            sync(b'Z', 1),
            sync(b'Z', 3),
            sync(b'u', 0x42),
            sync(b'u', 0x43),
        ];
        for number in ours {
            p.check_if_equal(number);
        }
        p.allow();
    });
    for call in [libc::SYS_execve, libc::SYS_execveat, libc::SYS_rt_sigsuspend] {
        program.on(call, |_| ());
    }
    // As long as the program handles no signal, the kernel knows the answers for those that are not
    // the engine's; many programs ask for each that there is.
    program.on(libc::SYS_rt_sigaction, |p| {
        p.push(LOAD, 0, 0, low(0));
        for signal in signal::OURS {
            p.check_if_equal(signal as u32);
        }
        p.allow_if_null(1);
    });
    // Those with a set of signals; without one nothing is changed.
    for (call, argument) in [
        (libc::SYS_rt_sigprocmask, 1),
        (libc::SYS_ppoll, 3),
        (libc::SYS_pselect6, 5),
        (libc::SYS_epoll_pwait, 4),
        (libc::SYS_epoll_pwait2, 4),
    ] {
        program.on(call, |p| p.allow_if_null(argument));
    }
    program.end(from)
}

/// What is trapped as well in a program that handles a signal: the engine stands before its handler.
pub fn actions(from: &[Span]) -> Program {
    let mut program = Program::begin();
    program.on(libc::SYS_rt_sigaction, |_| ());
    program.allow();
    program.end(from)
}

/// What is trapped as well in a program that has met a buffer.
pub fn second(from: &[Span]) -> Program {
    let mut program = Program::begin();
    program.allow_those_without_a_frame();
    for call in [
        libc::SYS_close,
        libc::SYS_dup2,
        libc::SYS_dup3,
        libc::SYS_close_range,
        libc::SYS_exit_group,
        libc::SYS_fork,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_preadv,
        libc::SYS_pwritev,
        libc::SYS_preadv2,
        libc::SYS_pwritev2,
        libc::SYS_sendmsg,
        libc::SYS_recvmsg,
        libc::SYS_sendmmsg,
        libc::SYS_recvmmsg,
        libc::SYS_vmsplice,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_io_uring_setup,
        libc::SYS_io_setup,
    ] {
        program.on(call, |_| ());
    }
    program.on(libc::SYS_clone, |p| {
        // A fork by another name: a memory of its own, and the caller's stack. One that waits for its
        // child would have everybody wait for it.
        p.push(LOAD, 0, 0, low(0));
        p.push(IF_BITS, 0, 1, (libc::CLONE_VM | libc::CLONE_VFORK) as u32);
        p.allow();
        p.push(LOAD, 0, 0, low(1));
        p.push(IF_EQUAL, 1, 0, 0);
        p.allow();
        p.allow_unless(high(1), 0);
    });
    // Any other call with a pointer into the window.
    for argument in 0..6 {
        program.check_if_in(argument, window::SPAN);
    }
    program.allow();
    program.end(from)
}

/// What is trapped as well where a buffer is mapped outside of the window. There it may be in the
/// middle of something else of the program's, and go with that.
pub fn outside(from: &[Span], span: Span) -> Program {
    let mut program = Program::begin();
    program.allow_those_without_a_frame();
    program.on(libc::SYS_mmap, |p| {
        p.unless_bits(low(3), libc::MAP_FIXED as u32);
        p.check_if_overlaps(0, 1, span);
        p.allow();
    });
    program.on(libc::SYS_mremap, |p| {
        p.check_if_overlaps(0, 1, span);
        p.check_if_overlaps(4, 2, span);
        p.allow();
    });
    for (call, address) in [
        (libc::SYS_munmap, 0),
        (libc::SYS_mprotect, 0),
        (libc::SYS_pkey_mprotect, 0),
        (libc::SYS_madvise, 0),
        (libc::SYS_mlock, 0),
        (libc::SYS_mlock2, 0),
        (libc::SYS_read, 1),
        (libc::SYS_write, 1),
        (libc::SYS_pread64, 1),
        (libc::SYS_pwrite64, 1),
        (libc::SYS_recvfrom, 1),
        (libc::SYS_sendto, 1),
    ] {
        program.on(call, |p| {
            p.check_if_overlaps(address, address + 1, span);
            p.allow();
        });
    }
    for argument in 0..6 {
        program.check_if_in(argument, span);
    }
    program.allow();
    program.end(from)
}

impl Program {
    fn begin() -> Program {
        let mut program = Program { code: Table::new(), pending: [0; 64], pendings: 0 };
        // Without memory the program is empty, and the kernel refuses it.
        let _ = program.code.prepare();
        program.push(LOAD, 0, 0, ARCH);
        program.push(IF_EQUAL, 1, 0, AUDIT_ARCH_X86_64);
        program.allow();
        program.push(LOAD, 0, 0, NUMBER);
        program
    }

    /// The finished instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.code
    }

    /// Gives the memory of the instructions back, which the kernel has copied.
    pub fn release(mut self) {
        self.code.release();
    }

    fn push(&mut self, code: u16, yes: u8, no: u8, k: u32) {
        self.code.push(Instruction { code, yes, no, k });
    }

    fn allow(&mut self) {
        self.push(RETURN, 0, 0, RET_ALLOW);
    }

    /// On to where the caller's address is looked at.
    fn check(&mut self) {
        self.pending[self.pendings] = self.code.len() as u16;
        self.pendings += 1;
        self.push(JUMP, 0, 0, 0);
    }

    fn check_if_equal(&mut self, k: u32) {
        self.push(IF_EQUAL, 0, 1, k);
        self.check();
    }

    /// Calls that cannot be made for the program from inside of a handler, whatever is in registers
    /// that they do not look at.
    fn allow_those_without_a_frame(&mut self) {
        for call in [libc::SYS_rt_sigreturn, libc::SYS_vfork, libc::SYS_clone3, libc::SYS_exit] {
            self.push(IF_EQUAL, 0, 1, call as u32);
            self.allow();
        }
    }

    /// For this call, with its number loaded: what `looks` lets pass passes, all else is checked. Any
    /// other call is past it by one instruction: the kernel tries each number there is when the
    /// program is installed, which is most of what that costs.
    fn on(&mut self, number: i64, looks: impl FnOnce(&mut Program)) {
        let at = self.code.len();
        self.push(IF_EQUAL, 0, 0, number as u32);
        looks(self);
        self.check();
        let over = self.code.len() - at - 1;
        debug_assert!(over <= usize::from(u8::MAX));
        if let Some(first) = self.code.get_mut(at) {
            first.no = over as u8;
        }
    }

    /// Has a jump that was pushed before lead to what is pushed next.
    fn jump_to_here(&mut self, from: usize) {
        let len = self.code.len();
        if let Some(jump) = self.code.get_mut(from) {
            jump.k = (len - from - 1) as u32;
        }
    }

    fn allow_if(&mut self, at: u32, k: u32) {
        self.push(LOAD, 0, 0, at);
        self.push(IF_EQUAL, 0, 1, k);
        self.allow();
    }

    fn allow_unless(&mut self, at: u32, k: u32) {
        self.push(LOAD, 0, 0, at);
        self.push(IF_EQUAL, 1, 0, k);
        self.allow();
    }

    fn unless_bits(&mut self, at: u32, bits: u32) {
        self.push(LOAD, 0, 0, at);
        self.push(IF_BITS, 1, 0, bits);
        self.allow();
    }

    fn allow_if_null(&mut self, argument: u32) {
        self.push(LOAD, 0, 0, low(argument));
        self.push(IF_EQUAL, 0, 3, 0);
        self.push(LOAD, 0, 0, high(argument));
        self.push(IF_EQUAL, 0, 1, 0);
        self.allow();
    }

    /// Loads an address in units of 64 KiB; the addresses of programs have 47 bits.
    fn load_unit(&mut self, at: u32) {
        self.push(LOAD, 0, 0, at);
        self.push(SHIFT_RIGHT, 0, 0, 16);
        self.push(TO_X, 0, 0, 0);
        self.push(LOAD, 0, 0, at + 4);
        self.push(SHIFT_LEFT, 0, 0, 16);
        self.push(OR_X, 0, 0, 0);
    }

    fn check_if_in(&mut self, argument: u32, span: Span) {
        self.load_unit(low(argument));
        self.push(IF_AT_LEAST, 0, 2, span.first);
        self.push(IF_GREATER, 1, 0, span.last);
        self.check();
    }

    /// The same for all from an address on, of a length: two arguments.
    fn check_if_overlaps(&mut self, address: u32, len: u32, span: Span) {
        self.load_unit(low(len));
        self.push(ADD, 0, 0, 1);
        self.push(STORE, 0, 0, 0);
        self.load_unit(low(address));
        self.push(IF_GREATER, 4, 0, span.last);
        self.push(LOAD_X, 0, 0, 0);
        self.push(ADD_X, 0, 0, 0);
        self.push(IF_AT_LEAST, 0, 1, span.first);
        self.check();
    }

    /// What passed none of the looks passes; what was sent on is trapped if it comes from `from`,
    /// and not from the engine.
    fn end(mut self, from: &[Span]) -> Program {
        self.allow();
        for index in 0..self.pendings {
            let at = usize::from(self.pending[index]);
            self.jump_to_here(at);
        }
        self.push(LOAD, 0, 0, POINTER);
        self.push(IF_EQUAL, 0, 3, GADGET_RETURN as u32);
        self.push(LOAD, 0, 0, POINTER + 4);
        self.push(IF_EQUAL, 0, 1, (GADGET_RETURN >> 32) as u32);
        self.allow();
        self.load_unit(POINTER);
        for span in from {
            self.push(IF_AT_LEAST, 0, 2, span.first);
            self.push(IF_GREATER, 1, 0, span.last);
            self.push(RETURN, 0, 0, RET_TRAP | u32::from(MARK));
        }
        self.allow();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::sys;
    use super::{
        ADD, ADD_X, AND, AUDIT_ARCH_X86_64, GADGET_RETURN, IF_AT_LEAST, IF_BITS, IF_EQUAL,
        IF_GREATER, Instruction, JUMP, LOAD, LOAD_X, MARK, OR_X, Program, RET_ALLOW, RET_TRAP,
        RETURN, SHIFT_LEFT, SHIFT_RIGHT, STORE, Span, TO_X, window,
    };

    /// Runs a program as the kernel would: `seccomp(2)`, `bpf(4)`.
    fn run(program: &Program, number: i64, pointer: u64, args: [u64; 6]) -> u32 {
        let mut data = [0_u8; 64];
        data[..4].copy_from_slice(&(number as u32).to_ne_bytes());
        data[4..8].copy_from_slice(&AUDIT_ARCH_X86_64.to_ne_bytes());
        data[8..16].copy_from_slice(&pointer.to_ne_bytes());
        for (bytes, arg) in data[16..].chunks_exact_mut(8).zip(args) {
            bytes.copy_from_slice(&arg.to_ne_bytes());
        }
        let (mut a, mut x, mut stored, mut at) = (0_u32, 0_u32, 0_u32, 0);
        loop {
            let Instruction { code, yes, no, k } = program.instructions()[at];
            at += 1;
            let mut branch = |holds| at += usize::from(if holds { yes } else { no });
            match code {
                LOAD => {
                    let k = k as usize;
                    a = u32::from_ne_bytes(data[k..k + 4].try_into().unwrap());
                }
                JUMP => at += k as usize,
                IF_EQUAL => branch(a == k),
                IF_GREATER => branch(a > k),
                IF_AT_LEAST => branch(a >= k),
                IF_BITS => branch(a & k != 0),
                ADD => a = a.wrapping_add(k),
                ADD_X => a = a.wrapping_add(x),
                AND => a &= k,
                OR_X => a |= x,
                SHIFT_LEFT => a <<= k,
                SHIFT_RIGHT => a >>= k,
                TO_X => x = a,
                STORE => stored = a,
                LOAD_X => x = stored,
                RETURN => return k,
                code => panic!("{code:#x}"),
            }
        }
    }

    const HERE: u64 = 0x7f12_3456_7890;
    const FROM: &[Span] = &[
        Span::of(0x5555_5555_4000, 0x5555_5556_0000),
        Span::of(0x7f12_0000_0000, 0x7f12_8000_0000),
    ];
    fn first(from: &[Span]) -> Program {
        sys::prepare_once();
        super::first(from)
    }

    fn second(from: &[Span]) -> Program {
        sys::prepare_once();
        super::second(from)
    }

    fn outside(from: &[Span], span: Span) -> Program {
        sys::prepare_once();
        super::outside(from, span)
    }

    const TRAP: u32 = RET_TRAP | MARK as u32;

    #[test]
    fn shared_mappings_of_files_are_trapped_and_no_others() {
        let filter = first(FROM);
        let mmap = |flags: i32, fd: i32, pointer| {
            let args = [0, 4096, 3, flags as u64, fd as u32 as u64, 0];
            run(&filter, libc::SYS_mmap, pointer, args)
        };
        assert_eq!(mmap(libc::MAP_SHARED, 3, HERE), TRAP);
        assert_eq!(mmap(libc::MAP_SHARED_VALIDATE, 3, HERE), TRAP);
        assert_eq!(mmap(libc::MAP_SHARED, 3, 0x5555_5555_8000), TRAP);
        assert_eq!(mmap(libc::MAP_SHARED, -1, HERE), RET_ALLOW);
        assert_eq!(mmap(libc::MAP_PRIVATE, 3, HERE), RET_ALLOW);
        assert_eq!(mmap(libc::MAP_SHARED, 3, 0x40_1000), RET_ALLOW);
        assert_eq!(mmap(libc::MAP_SHARED, 3, 0x7f13_0000_0000), RET_ALLOW);
        assert_eq!(mmap(libc::MAP_SHARED, 3, GADGET_RETURN), RET_ALLOW);
    }

    #[test]
    fn the_brackets_are_trapped_and_no_other_ioctl() {
        let filter = first(FROM);
        let ioctl =
            |number: u32| run(&filter, libc::SYS_ioctl, HERE, [3, number.into(), 0, 0, 0, 0]);
        for number in [
            dmabuf_uapi::DMA_BUF_IOCTL_SYNC,
            dmabuf_uapi::DMA_BUF_IOCTL_SYNC_PARTIAL,
            dmabuf_uapi::DMA_BUF_IOCTL_SYNC_RANGE,
            dmabuf_uapi::DMA_BUF_IOCTL_PREPARE_ACCESS,
            dmabuf_uapi::DMA_BUF_IOCTL_FINISH_ACCESS,
            dmabuf_uapi::UDMABUF_CREATE,
            dmabuf_uapi::UDMABUF_CREATE_LIST,
        ] {
            assert_eq!(ioctl(number), TRAP, "{number:#x}");
        }
        assert_eq!(ioctl(dmabuf_uapi::DMA_BUF_IOCTL_QUERY), RET_ALLOW);
        assert_eq!(ioctl(0x5401), RET_ALLOW);
    }

    #[test]
    fn pointers_into_the_window_are_trapped_whatever_the_call() {
        let filter = second(FROM);
        let inside = window::START as u64;
        for argument in 0..6 {
            let mut args = [0; 6];
            args[argument] = inside + 4096;
            assert_eq!(run(&filter, libc::SYS_read, HERE, args), TRAP, "{argument}");
            args[argument] = window::END as u64;
            assert_eq!(run(&filter, libc::SYS_read, HERE, args), RET_ALLOW, "{argument}");
            args[argument] = inside - 1;
            assert_eq!(run(&filter, libc::SYS_read, HERE, args), RET_ALLOW, "{argument}");
        }
    }

    #[test]
    fn what_needs_the_programs_own_frame_is_never_trapped() {
        let inside = [window::START as u64; 6];
        let span = Span::of(0x1000_0000, 0x1001_0000);
        for call in [libc::SYS_rt_sigreturn, libc::SYS_vfork, libc::SYS_clone3, libc::SYS_exit] {
            assert_eq!(run(&second(FROM), call, HERE, inside), RET_ALLOW);
            assert_eq!(run(&outside(FROM, span), call, HERE, [0x1000_0000; 6]), RET_ALLOW);
        }
        assert_eq!(
            run(&outside(FROM, span), libc::SYS_read, HERE, [0, 0x1000_ffff, 0, 0, 0, 0]),
            TRAP
        );
    }

    #[test]
    fn what_goes_over_a_buffer_is_trapped_wherever_it_begins() {
        let filter = outside(FROM, Span::of(0x1000_0000, 0x1001_0000));
        let unmap = |at, len| run(&filter, libc::SYS_munmap, HERE, [at, len, 0, 0, 0, 0]) == TRAP;
        assert!(unmap(0x1000_0000, 0x1_0000));
        assert!(unmap(0x0f00_0000, 0x0200_0000));
        assert!(unmap(0x0fff_f000, 0x2000));
        assert!(unmap(0x1000_f000, 0x1000));
        assert!(unmap(0, 0x7fff_ffff_f000));
        assert!(!unmap(0x1001_0000, 0x1000));
        assert!(!unmap(0x0f00_0000, 0x1000));
        let map = |flags: i32| {
            let args = [0x0f00_0000, 0x0200_0000, 0, flags as u64, u64::MAX, 0];
            run(&filter, libc::SYS_mmap, HERE, args) == TRAP
        };
        assert!(map(libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS));
        assert!(!map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS));
        let remap = |from, to| {
            run(&filter, libc::SYS_mremap, HERE, [from, 0x1000, 0x0200_0000, 3, to, 0]) == TRAP
        };
        assert!(remap(0x0fff_f000, 0));
        assert!(remap(0x2000_0000, 0x0f00_0000));
        assert!(!remap(0x2000_0000, 0x3000_0000));
    }

    #[test]
    fn what_is_done_at_a_signal_is_set_and_asked_by_way_of_the_engine() {
        let asks = |filter: &Program, signal: i32, new| {
            run(filter, libc::SYS_rt_sigaction, HERE, [signal as u64, new, HERE, 8, 0, 0]) == TRAP
        };
        let first = first(FROM);
        assert!(asks(&first, libc::SIGINT, HERE));
        assert!(asks(&first, libc::SIGSEGV, HERE) && asks(&first, libc::SIGSEGV, 0));
        assert!(!asks(&first, libc::SIGINT, 0));
        sys::prepare_once();
        assert!(asks(&super::actions(FROM), libc::SIGINT, 0));
    }

    #[test]
    fn only_forks_are_trapped_of_what_clone_makes() {
        let filter = second(FROM);
        let clone = |flags: i32, stack| {
            run(&filter, libc::SYS_clone, HERE, [flags as u32 as u64, stack, 0, 0, 0, 0])
        };
        assert_eq!(clone(libc::CLONE_CHILD_SETTID | libc::SIGCHLD, 0), TRAP);
        assert_eq!(clone(libc::CLONE_VM | libc::CLONE_THREAD, 0), RET_ALLOW);
        assert_eq!(clone(libc::CLONE_VFORK | libc::SIGCHLD, 0), RET_ALLOW);
        assert_eq!(clone(libc::SIGCHLD, 0x7f00_0000_0000), RET_ALLOW);
        assert_eq!(clone(libc::SIGCHLD, 0x10_0000), RET_ALLOW);
    }
}
