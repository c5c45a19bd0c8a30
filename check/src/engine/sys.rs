//! System calls, without libc: every call of the engine's is made by one instruction at one fixed
//! address, which all filters let pass. It is the same address in every program, so that a filter
//! that a program got before `execve(2)` lets pass the calls of the engine it has afterwards.

#![allow(unsafe_code)]

use core::arch::{asm, naked_asm};
use core::mem::{MaybeUninit, offset_of};
use core::sync::atomic::AtomicU32;

/// Where the page with the instruction is. Just above [`super::window`], below the lowest address
/// that the kernel begins to map libraries at.
const GADGET: usize = 0x7ec0_0000_0000;

/// As seen by a filter: the address after the instruction.
pub const GADGET_RETURN: u64 = GADGET as u64 + 25;

/// Where a signal handler returns to: the bytes by which unwinders know a signal's frame.
pub const RESTORER: usize = GADGET + 64;

/// A C function: number and six arguments to the registers of a system call.
const CODE: &[u8] = &[
    0x48, 0x89, 0xf8, // mov rax, rdi
    0x48, 0x89, 0xf7, // mov rdi, rsi
    0x48, 0x89, 0xd6, // mov rsi, rdx
    0x48, 0x89, 0xca, // mov rdx, rcx
    0x4d, 0x89, 0xc2, // mov r10, r8
    0x4d, 0x89, 0xc8, // mov r8, r9
    0x4c, 0x8b, 0x4c, 0x24, 0x08, // mov r9, [rsp + 8]
    0x0f, 0x05, // syscall
    0xc3, // ret
];

/// `mov rax, SYS_rt_sigreturn; syscall`.
const RESTORE: &[u8] = &[0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05];

/// The size of a page.
pub const PAGE: usize = 4096;

/// An error as the kernel returns it: `-errno`.
pub type Result = core::result::Result<usize, Errno>;

/// `errno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// Makes the page; to be called once in a process image, before any other call.
pub fn prepare() -> Result {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let access = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    // SAFETY: A new mapping, where nothing is mapped.
    let at =
        unsafe { direct(libc::SYS_mmap, [GADGET, PAGE, access, flags as usize, usize::MAX, 0]) };
    if result(at)? != GADGET {
        return Err(Errno(libc::EEXIST)); // A kernel that does not know the flag.
    }
    // SAFETY: The page is mapped, writable, and nobody else's.
    unsafe {
        core::ptr::copy_nonoverlapping(CODE.as_ptr(), GADGET as *mut u8, CODE.len());
        core::ptr::copy_nonoverlapping(RESTORE.as_ptr(), RESTORER as *mut u8, RESTORE.len());
        let access = (libc::PROT_READ | libc::PROT_EXEC) as usize;
        result(direct(libc::SYS_mprotect, [GADGET, PAGE, access, 0, 0, 0]))
    }
}

/// As [`prepare`], for tests, which share a process.
#[cfg(test)]
pub fn prepare_once() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        prepare().expect("the page is free");
    });
}

/// A system call from here: for the two calls that make the page.
unsafe fn direct(number: i64, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: The caller's; a system call changes rcx and r11 beside its result.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Any system call, as it is.
///
/// # Safety
///
/// That of the call.
pub unsafe fn raw(number: i64, args: [usize; 6]) -> isize {
    type Call = unsafe extern "C" fn(i64, usize, usize, usize, usize, usize, usize) -> isize;
    // SAFETY: `prepare` put a function of this type there.
    let call: Call = unsafe { core::mem::transmute(GADGET) };
    // SAFETY: The caller's.
    unsafe { call(number, args[0], args[1], args[2], args[3], args[4], args[5]) }
}

/// What [`wait`] returns for a call that a signal came before, or that has to be made again after
/// it: no errno of the kernel's, which ends at 4095 and never shows its own ERESTARTSYS.
pub const AGAIN: isize = -512;

/// A call that may wait, with these signals blocked and no others until it is over.
#[repr(C)]
pub struct Waiting {
    number: i64,
    args: [usize; 6],
    mask: u64,
    all: u64,
    result: isize,
    /// Whether a signal of the program's has arrived.
    pub is_interrupted: bool,
}

impl Waiting {
    /// The call.
    pub fn new(number: i64, args: [usize; 6], mask: u64) -> Waiting {
        Waiting { number, args, mask, all: u64::MAX, result: 0, is_interrupted: false }
    }
}

/// Makes a call that may wait; afterwards all signals are blocked again. A handler that comes
/// meanwhile asks [`interrupted_wait`].
///
/// # Safety
///
/// That of the call.
#[unsafe(naked)]
pub unsafe extern "C" fn wait(call: *mut Waiting) -> isize {
    naked_asm!(
        "push rbx",
        "push rbp",
        "mov rbp, rsp",
        "mov rbx, rdi",
        "sub rsp, 24",
        // rt_sigprocmask(SIG_SETMASK, &mask, NULL, 8)
        "mov edi, {mask_call}",
        "mov esi, {set_mask}",
        "lea rdx, [rbx + {mask}]",
        "xor ecx, ecx",
        "mov r8d, 8",
        "movabs rax, {gadget}",
        "call rax",
        ".globl dmabuf_check_wait_unblocked",
        ".hidden dmabuf_check_wait_unblocked",
        "dmabuf_check_wait_unblocked:",
        "mov rdi, [rbx]",
        "mov rsi, [rbx + {args}]",
        "mov rdx, [rbx + {args} + 8]",
        "mov rcx, [rbx + {args} + 16]",
        "mov r8, [rbx + {args} + 24]",
        "mov r9, [rbx + {args} + 32]",
        "mov rax, [rbx + {args} + 40]",
        "mov [rsp], rax",
        "movabs rax, {gadget}",
        "call rax",
        ".globl dmabuf_check_wait_called",
        ".hidden dmabuf_check_wait_called",
        "dmabuf_check_wait_called:",
        "mov [rbx + {result}], rax",
        // The same with all.
        "mov edi, {mask_call}",
        "mov esi, {set_mask}",
        "lea rdx, [rbx + {all}]",
        "xor ecx, ecx",
        "mov r8d, 8",
        "movabs rax, {gadget}",
        "call rax",
        ".globl dmabuf_check_wait_blocked",
        ".hidden dmabuf_check_wait_blocked",
        "dmabuf_check_wait_blocked:",
        "mov rax, [rbx + {result}]",
        "mov rsp, rbp",
        "pop rbp",
        "pop rbx",
        "ret",
        mask_call = const libc::SYS_rt_sigprocmask,
        set_mask = const libc::SIG_SETMASK,
        gadget = const GADGET,
        args = const offset_of!(Waiting, args),
        mask = const offset_of!(Waiting, mask),
        all = const offset_of!(Waiting, all),
        result = const offset_of!(Waiting, result),
    )
}

unsafe extern "C" {
    /// Signals are let through; the call is next.
    static dmabuf_check_wait_unblocked: u8;
    /// The call has returned.
    static dmabuf_check_wait_called: u8;
    /// All signals are blocked.
    static dmabuf_check_wait_blocked: u8;
}

/// If [`wait`] was interrupted with these registers: it is told, and if its call has not been made or
/// is to be made again, where it is to go on instead, with [`AGAIN`] in rax: rip and rsp.
///
/// # Safety
///
/// The registers are those of a thread that has been interrupted by a signal just now.
pub unsafe fn interrupted_wait(
    rip: usize,
    rsp: usize,
    rbx: usize,
) -> Option<Option<(usize, usize)>> {
    let unblocked = &raw const dmabuf_check_wait_unblocked as usize;
    let called = &raw const dmabuf_check_wait_called as usize;
    let blocked = &raw const dmabuf_check_wait_blocked as usize;
    let is_in_gadget = (GADGET..GADGET + CODE.len()).contains(&rip);
    // SAFETY: On top of the stack of the function there is where it returns to.
    let at = if is_in_gadget { unsafe { *(rsp as *const usize) } } else { rip };
    if !(unblocked..=blocked).contains(&at) {
        return None;
    }
    // SAFETY: The call, which `wait` has there.
    unsafe { (*(rbx as *mut Waiting)).is_interrupted = true };
    let rsp = if is_in_gadget { rsp + 8 } else { rsp };
    // A call that is to be made again is where it is made, as is one that was not made yet.
    let is_made = match at {
        at if is_in_gadget && at == called => rip >= GADGET_RETURN as usize,
        at => at >= called,
    };
    Some((!is_made).then_some((called, rsp)))
}

/// What a raw result means.
pub fn result(raw: isize) -> Result {
    if (-4095..0).contains(&raw) { Err(Errno(-raw as i32)) } else { Ok(raw as usize) }
}

/// A call that changes no memory of this program's that Rust knows of.
fn call(number: i64, args: [usize; 6]) -> Result {
    // SAFETY: The functions below pass pointers only to what they were handed for that, and change
    // mappings only of buffers, to which no reference exists.
    result(unsafe { raw(number, args) })
}

/// `getpid(2)`.
pub fn process() -> u32 {
    call(libc::SYS_getpid, [0; 6]).unwrap_or(0) as u32
}

/// `gettid(2)`.
pub fn thread() -> u32 {
    call(libc::SYS_gettid, [0; 6]).unwrap_or(0) as u32
}

/// Sleeps until somebody wakes it, unless the word is another one already: `futex(2)`.
pub fn sleep_while(word: &AtomicU32, value: u32) {
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    let args = [word.as_ptr() as usize, operation as usize, value as usize, 0, 0, 0];
    let _ = call(libc::SYS_futex, args);
}

/// Wakes one that sleeps.
pub fn wake_one(word: &AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    let _ = call(libc::SYS_futex, [word.as_ptr() as usize, operation as usize, 1, 0, 0, 0]);
}

/// Whether a thread of this process is there.
pub fn is_alive(thread: u32) -> bool {
    call(libc::SYS_tgkill, [process() as usize, thread as usize, 0, 0, 0, 0]).is_ok()
}

/// Whether all of a range is mapped.
pub fn is_mapped(address: usize, len: usize) -> bool {
    call(libc::SYS_msync, [address, len, libc::MS_ASYNC as usize, 0, 0, 0])
        != Err(Errno(libc::ENOMEM))
}

/// Nanoseconds since some point in the past.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let pointer = &raw mut time as usize;
    match call(libc::SYS_clock_gettime, [libc::CLOCK_MONOTONIC as usize, pointer, 0, 0, 0, 0]) {
        Ok(_) => time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64,
        Err(_) => 0,
    }
}

/// Changes the protection of pages that belong to a buffer.
pub fn protect(address: usize, len: usize, protection: i32) -> Result {
    call(libc::SYS_mprotect, [address, len, protection as usize, 0, 0, 0])
}

/// Moves pages that belong to a buffer to another address, where they replace what is there.
pub fn move_pages(from: usize, len: usize, to: usize) -> Result {
    let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize;
    call(libc::SYS_mremap, [from, len, len, flags, to, 0])
}

/// Maps nothing where nothing is, so that nobody else does.
pub fn reserve(address: usize, len: usize) -> Result {
    let flags =
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let access = libc::PROT_NONE as usize;
    call(libc::SYS_mmap, [address, len, access, flags as usize, usize::MAX, 0])
}

/// Copies bytes that are at an address of the program's; false if they cannot all be read.
pub fn read_memory(address: usize, into: &mut [u8]) -> bool {
    read_some(address, into) == into.len()
}

/// As [`read_memory`], up to the first byte that cannot be read; how many that were. It is read as
/// this thread's: where the process's first has ended, the process has no memory by its own number.
pub fn read_some(address: usize, into: &mut [u8]) -> usize {
    let here = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let there = libc::iovec { iov_base: address as *mut _, iov_len: into.len() };
    let (here, there) = (&raw const here as usize, &raw const there as usize);
    call(libc::SYS_process_vm_readv, [thread() as usize, here, 1, there, 1, 0]).unwrap_or(0)
}

/// Stores bytes at an address of the program's; false if they cannot all be written.
pub fn write_memory(address: usize, bytes: &[u8]) -> bool {
    let here = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let there = libc::iovec { iov_base: address as *mut _, iov_len: bytes.len() };
    let (here, there) = (&raw const here as usize, &raw const there as usize);
    call(libc::SYS_process_vm_writev, [thread() as usize, here, 1, there, 1, 0]) == Ok(bytes.len())
}

/// A plain value, which any bytes are one of.
///
/// # Safety
///
/// Every bit pattern is a value, and no byte is padding.
pub unsafe trait Plain: Copy {}
// SAFETY: Integers, and arrays of them.
unsafe impl Plain for u64 {}
// SAFETY: As above.
unsafe impl<const N: usize> Plain for [u64; N] {}
// SAFETY: As above.
unsafe impl<const N: usize> Plain for [u8; N] {}

/// The value that is at an address of the program's.
pub fn read_value<T: Plain>(address: usize) -> Option<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: The bytes are the value's own, and initialised.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    // SAFETY: Any bytes are a value.
    read_memory(address, bytes).then(|| unsafe { value.assume_init() })
}

/// The text at an address of the program's, without its NUL; as much as there is room for.
pub fn read_text(address: usize, into: &mut [u8]) -> usize {
    let mut len = 0;
    while len < into.len() {
        // Never across a page's end, behind which nothing may be.
        let at = address.wrapping_add(len);
        let piece = (PAGE - at % PAGE).min(into.len() - len);
        let read = read_some(at, &mut into[len..len + piece]);
        if let Some(end) = into[len..len + read].iter().position(|&byte| byte == 0) {
            return len + end;
        }
        len += read;
        if read < piece {
            break;
        }
    }
    len
}

/// A descriptor of the engine's own, for as long as it looks at something.
pub struct File(i32);

impl File {
    /// Opens a path, which ends with a NUL.
    pub fn open(path: &[u8], flags: i32) -> core::result::Result<File, Errno> {
        File::open_at(libc::AT_FDCWD as usize, path, flags)
    }

    /// The same, relative to a folder.
    pub fn open_at(at: usize, path: &[u8], flags: i32) -> core::result::Result<File, Errno> {
        debug_assert_eq!(path.last(), Some(&0));
        let flags = (flags | libc::O_CLOEXEC) as usize;
        call(libc::SYS_openat, [at, path.as_ptr() as usize, flags, 0, 0, 0])
            .map(|fd| File(fd as i32))
    }

    /// `read(2)`.
    pub fn read(&self, into: &mut [u8]) -> Result {
        call(libc::SYS_read, [self.0 as usize, into.as_mut_ptr() as usize, into.len(), 0, 0, 0])
    }

    /// `getdents64(2)`.
    pub fn entries(&self, into: &mut [u8]) -> Result {
        let args = [self.0 as usize, into.as_mut_ptr() as usize, into.len(), 0, 0, 0];
        call(libc::SYS_getdents64, args)
    }

    /// Maps the file shared, for reading and writing.
    pub fn map(&self, len: usize) -> Result {
        let access = (libc::PROT_READ | libc::PROT_WRITE) as usize;
        call(libc::SYS_mmap, [0, len, access, libc::MAP_SHARED as usize, self.0 as usize, 0])
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = call(libc::SYS_close, [self.0 as usize, 0, 0, 0, 0, 0]);
    }
}

/// A pipe of the engine's own, for a moment.
pub struct Pipe([i32; 2]);

impl Pipe {
    /// `pipe2(2)`.
    pub fn new() -> core::result::Result<Pipe, Errno> {
        let mut ends = [0; 2];
        let flags = (libc::O_CLOEXEC | libc::O_NONBLOCK) as usize;
        call(libc::SYS_pipe2, [&raw mut ends as usize, flags, 0, 0, 0, 0])?;
        Ok(Pipe(ends))
    }

    /// Has the kernel copy memory into it.
    pub fn write(&self, from: usize, len: usize) -> Result {
        call(libc::SYS_write, [self.0[1] as usize, from, len, 0, 0, 0])
    }

    /// Has the kernel copy it into memory that [`allocate`] gave.
    pub fn read(&self, into: usize, len: usize) -> Result {
        call(libc::SYS_read, [self.0[0] as usize, into, len, 0, 0, 0])
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        for end in self.0 {
            let _ = call(libc::SYS_close, [end as usize, 0, 0, 0, 0, 0]);
        }
    }
}

/// Device, inode and size of a descriptor's file, as the kernel knows them: the server of a file is
/// not asked, for whom that would be another thing to do in each bracket. `None` for a descriptor
/// that is none.
pub fn stat(fd: i32) -> Option<[u64; 3]> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let flags = (libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC) as usize;
    let wanted = (libc::STATX_INO | libc::STATX_SIZE) as usize;
    let (path, into) = (c"".as_ptr() as usize, stat.as_mut_ptr() as usize);
    call(libc::SYS_statx, [fd as usize, path, flags, wanted, into, 0]).ok()?;
    // SAFETY: Any bytes are a `statx`.
    let stat = unsafe { stat.assume_init() };
    Some([libc::makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino, stat.stx_size])
}

/// The type of the file system that a descriptor's file is on.
pub fn file_system(fd: i32) -> u32 {
    let mut stat = MaybeUninit::<libc::statfs>::zeroed();
    match call(libc::SYS_fstatfs, [fd as usize, stat.as_mut_ptr() as usize, 0, 0, 0, 0]) {
        // SAFETY: Any bytes are a `statfs`.
        Ok(_) => unsafe { stat.assume_init() }.f_type as u32,
        Err(_) => 0,
    }
}

/// `DMA_BUF_IOCTL_QUERY`, of a file on FUSE.
pub fn query(fd: i32) -> Option<dmabuf_uapi::DmaBufQuery> {
    let mut query = dmabuf_uapi::DmaBufQuery::default();
    let number = dmabuf_uapi::DMA_BUF_IOCTL_QUERY as usize;
    call(libc::SYS_ioctl, [fd as usize, number, &raw mut query as usize, 0, 0, 0]).ok()?;
    Some(query)
}

/// Writes to stderr, what somebody should know.
pub fn say(text: &[u8]) {
    let _ = call(libc::SYS_write, [2, text.as_ptr() as usize, text.len(), 0, 0, 0]);
}

/// Ends the process.
pub fn abort() -> ! {
    say(b"dmabuf check: the checker itself has failed in this program\n");
    let args = [process() as usize, thread() as usize, libc::SIGABRT as usize, 0, 0, 0];
    loop {
        let _ = call(libc::SYS_tgkill, args);
        core::hint::spin_loop();
    }
}

/// New memory, zeroed, that costs nothing until it is written to.
pub fn allocate(len: usize) -> Result {
    let access = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as usize;
    call(libc::SYS_mmap, [0, len, access, flags, usize::MAX, 0])
}

/// Looks at what [`allocate`] gave, as long as nobody else does.
pub fn with_memory<T>(address: usize, len: usize, look: impl FnOnce(&mut [u8]) -> T) -> T {
    // SAFETY: The memory is there, initialised, and the caller's alone.
    look(unsafe { core::slice::from_raw_parts_mut(address as *mut u8, len) })
}

/// Whether a part of a mapped file can be stored to: it is made to be there, if the kernel can do
/// that (Linux 5.14).
pub fn has_room(address: usize, len: usize) -> bool {
    let start = address & !(PAGE - 1);
    let args = [start, address + len - start, libc::MADV_POPULATE_WRITE as usize, 0, 0, 0];
    call(libc::SYS_madvise, args) != Err(Errno(libc::EFAULT))
}

/// Whether the page of an address can be loaded from or stored to; false on a kernel that cannot tell
/// (before Linux 5.14).
pub fn can_be_accessed(address: usize, write: bool) -> bool {
    let advice = if write { libc::MADV_POPULATE_WRITE } else { libc::MADV_POPULATE_READ };
    let args = [address & !(PAGE - 1), PAGE, advice as usize, 0, 0, 0];
    call(libc::SYS_madvise, args).is_ok()
}

/// Has the next program that this process executes be where chance has it.
pub fn randomise_addresses() {
    const ASK: usize = 0xffff_ffff;
    if let Ok(known) = call(libc::SYS_personality, [ASK, 0, 0, 0, 0, 0]) {
        let random = known & !(libc::ADDR_NO_RANDOMIZE as usize);
        if random != known {
            let _ = call(libc::SYS_personality, [random, 0, 0, 0, 0, 0]);
        }
    }
}

/// Gives back what [`allocate`] gave.
pub fn release(address: usize, len: usize) {
    let _ = call(libc::SYS_munmap, [address, len, 0, 0, 0, 0]);
}

/// A page that reads as zeroes in a forked child.
pub fn allocate_for_one_process() -> Result {
    let page = allocate(PAGE)?;
    call(libc::SYS_madvise, [page, PAGE, libc::MADV_WIPEONFORK as usize, 0, 0, 0])?;
    Ok(page)
}

/// Blocks these signals and no others, until the next call.
pub fn set_signal_mask(mask: u64) {
    let args = [libc::SIG_SETMASK as usize, &raw const mask as usize, 0, 8, 0, 0];
    let _ = call(libc::SYS_rt_sigprocmask, args);
}

/// Blocks all signals, and tells which were blocked before.
pub fn block_signals() -> u64 {
    let (all, mut old) = (u64::MAX, 0_u64);
    let (new, known) = (&raw const all as usize, &raw mut old as usize);
    let _ = call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, new, known, 8, 0, 0]);
    old
}

/// Lets these signals through.
pub fn unblock_signals(mask: u64) {
    let args = [libc::SIG_UNBLOCK as usize, &raw const mask as usize, 0, 8, 0, 0];
    let _ = call(libc::SYS_rt_sigprocmask, args);
}

/// What `rt_sigaction(2)` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Action {
    /// A function, `SIG_DFL` or `SIG_IGN`.
    pub handler: usize,
    /// `SA_*`.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: usize,
    /// What is blocked meanwhile, beside the signal itself.
    pub mask: u64,
}

impl Action {
    /// Whether there is a handler to call.
    pub fn is_function(&self) -> bool {
        self.handler != libc::SIG_DFL && self.handler != libc::SIG_IGN
    }
}

/// `rt_sigaction(2)`.
///
/// # Safety
///
/// The new handler can be called.
pub unsafe fn set_action(signal: i32, new: Option<&Action>) -> core::result::Result<Action, Errno> {
    let mut old = Action::default();
    let new = new.map_or(0, |action| &raw const *action as usize);
    call(libc::SYS_rt_sigaction, [signal as usize, new, &raw mut old as usize, 8, 0, 0])?;
    Ok(old)
}

/// Sends a signal to the calling thread, as if for the reason that `info` holds.
pub fn raise(signal: i32, info: usize) -> Result {
    let args = [process() as usize, thread() as usize, signal as usize, info, 0, 0];
    call(libc::SYS_rt_tgsigqueueinfo, args)
}

/// One instruction of a filter: `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many to skip if it holds.
    pub yes: u8,
    /// And if not.
    pub no: u8,
    /// The constant.
    pub k: u32,
}

/// Installs a filter for all threads of this process; as a plain user that gives up gaining
/// privileges by `execve(2)`.
pub fn install_filter(program: &[Instruction]) -> Result {
    #[repr(C)]
    struct Program {
        len: u16,
        instructions: *const Instruction,
    }
    let program = Program { len: program.len() as u16, instructions: program.as_ptr() };
    let flags = (libc::SECCOMP_FILTER_FLAG_TSYNC | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW) as usize;
    let mode = libc::SECCOMP_SET_MODE_FILTER as usize;
    let args = [mode, flags, &raw const program as usize, 0, 0, 0];
    let mut installed = call(libc::SYS_seccomp, args);
    if installed == Err(Errno(libc::EACCES)) {
        call(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0, 0])?;
        installed = call(libc::SYS_seccomp, args);
    }
    match installed? {
        0 => Ok(0),
        // The thread that has filters of its own.
        _ => Err(Errno(libc::ESRCH)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_stored_to_is_known_before() {
        prepare_once();
        let name = format!("dmabuf-check-room-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, [0; PAGE]).unwrap();
        let mut bytes = path.as_os_str().as_encoded_bytes().to_vec();
        bytes.push(0);
        let mapped = File::open(&bytes, libc::O_RDWR).and_then(|file| file.map(2 * PAGE));
        std::fs::remove_file(&path).unwrap();
        let at = mapped.unwrap();
        assert!(has_room(at + 64, 256));
        // Behind the end of the file there is as little as on a file system that is full.
        assert!(!has_room(at + PAGE - 64, 256));
        release(at, 2 * PAGE);
    }
}
