//! The system calls of the checks, as they are: also the ones that a client would never let through.
//!
//! All unsafe code of the suite is here. Addresses are those of mappings that this process made for
//! a check and gives to nobody; an access that the kernel answers with a signal ends the process,
//! which is a result like any other.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

/// The size of a page, in bytes.
pub fn page() -> u64 {
    rustix::param::page_size() as u64
}

/// An ioctl with any number.
struct Raw {
    number: u32,
    argument: *mut c_void,
}

// SAFETY: The argument is checked by `ioctl` and `ioctl_null`, which alone make one.
unsafe impl Ioctl for Raw {
    type Output = i32;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.number as Opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> Result<i32, Errno> {
        Ok(output)
    }
}

/// ioctl(2) on an argument that is as long as the number says, or longer.
pub fn ioctl<T: Copy>(fd: impl AsFd, number: u32, argument: &mut T) -> Result<i32, Errno> {
    let encoded = (number >> 16 & 0x3fff) as usize;
    assert!(encoded <= size_of::<T>(), "an ioctl's argument is as long as its number says");
    let raw = Raw { number, argument: ptr::from_mut(argument).cast() };
    // SAFETY: The kernel reads and writes no more than the encoded size, which the argument has;
    // every type given here is of integers alone, so that whatever it writes is a value.
    unsafe { rustix::ioctl::ioctl(fd, raw) }
}

/// ioctl(2) on an address that is no memory: null, or wild.
pub fn ioctl_at(fd: impl AsFd, number: u32, address: usize) -> Result<i32, Errno> {
    assert!(address < 4096, "nothing is mapped there");
    let raw = Raw { number, argument: ptr::without_provenance_mut(address) };
    // SAFETY: The kernel finds no memory at the argument.
    unsafe { rustix::ioctl::ioctl(fd, raw) }
}

/// ioctl(2) on a string, whatever size the number says.
pub fn ioctl_string(fd: impl AsFd, number: u32, text: &CStr) -> Result<(), Errno> {
    let raw = Raw { number, argument: text.as_ptr().cast_mut().cast() };
    // SAFETY: The kernel reads the string to its end. A file system in user space is given as many
    // bytes as the number says, which the kernel copies if they are mapped, and fails if not.
    unsafe { rustix::ioctl::ioctl(fd, raw) }.map(drop)
}

/// The descriptor that an ioctl has just made, as it tells.
pub fn adopt(fd: i32) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: The kernel made it for this call, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How to map.
#[derive(Clone, Copy, Debug)]
pub struct Mmap {
    pub offset: i64,
    pub len: u64,
    pub prot: i32,
    pub flags: i32,
}

/// Loads.
pub const READ: i32 = libc::PROT_READ;
/// Stores.
pub const WRITE: i32 = libc::PROT_WRITE;
/// Loads and stores.
pub const RW: i32 = READ | WRITE;

/// A mapping, which a check may misuse.
#[derive(Debug)]
pub struct Map {
    address: *mut u8,
    len: usize,
}

impl Map {
    /// mmap(2), wherever the kernel likes.
    pub fn new(fd: impl AsFd, how: Mmap) -> Result<Map, Errno> {
        let fd = fd.as_fd().as_raw_fd();
        let (len, no_address) = (how.len as usize, ptr::null_mut());
        // SAFETY: The kernel chooses the address: nothing that is mapped is replaced.
        let address = unsafe { libc::mmap(no_address, len, how.prot, how.flags, fd, how.offset) };
        if address == libc::MAP_FAILED {
            return Err(last_errno());
        }
        Ok(Map { address: address.cast(), len })
    }

    /// The first `len` bytes, shared.
    pub fn shared(fd: impl AsFd, len: u64, prot: i32) -> Result<Map, Errno> {
        Map::new(fd, Mmap { offset: 0, len, prot, flags: libc::MAP_SHARED })
    }

    pub fn len(&self) -> u64 {
        self.len as u64
    }

    pub fn address(&self) -> usize {
        self.address.expose_provenance()
    }

    /// One byte.
    pub fn load(&self, offset: u64) -> u8 {
        // SAFETY: The byte is in the mapping, as `at` asserts. Others may store to it: so volatile.
        unsafe { self.at(offset).read_volatile() }
    }

    /// Stores one byte.
    pub fn store(&self, offset: u64, byte: u8) {
        // SAFETY: As in `load`.
        unsafe { self.at(offset).write_volatile(byte) }
    }

    /// Bytes from `offset` on.
    pub fn bytes(&self, offset: u64, len: u64) -> Vec<u8> {
        (offset..offset + len).map(|at| self.load(at)).collect()
    }

    /// Stores the same byte from `offset` on, `len` times.
    pub fn fill(&self, offset: u64, len: u64, byte: u8) {
        (offset..offset + len).for_each(|at| self.store(at, byte));
    }

    fn at(&self, offset: u64) -> *mut u8 {
        assert!(offset < self.len(), "a check stays in its mapping");
        self.address.wrapping_add(offset as usize)
    }

    fn whole(&self) -> (*mut c_void, usize) {
        (self.address.cast(), self.len)
    }

    /// mremap(2), in place or elsewhere.
    pub fn resize(&mut self, len: u64) -> Result<(), Errno> {
        let (address, old) = self.whole();
        // SAFETY: This mapping is only reached through `self`, which learns its new place.
        let moved = unsafe { libc::mremap(address, old, len as usize, libc::MREMAP_MAYMOVE) };
        if moved == libc::MAP_FAILED {
            return Err(last_errno());
        }
        (self.address, self.len) = (moved.cast(), len as usize);
        Ok(())
    }

    /// mprotect(2).
    pub fn protect(&self, prot: i32) -> Result<(), Errno> {
        let (address, len) = self.whole();
        // SAFETY: The mapping is this one, to which nobody has a reference.
        result(unsafe { libc::mprotect(address, len, prot) })
    }

    /// madvise(2).
    pub fn advise(&self, advice: i32) -> Result<(), Errno> {
        let (address, len) = self.whole();
        // SAFETY: As in `protect`.
        result(unsafe { libc::madvise(address, len, advice) })
    }

    /// mlock(2).
    pub fn lock(&self) -> Result<(), Errno> {
        let (address, len) = self.whole();
        // SAFETY: It changes no byte.
        result(unsafe { libc::mlock(address, len) })
    }

    /// msync(2).
    pub fn sync(&self) -> Result<(), Errno> {
        let (address, len) = self.whole();
        // SAFETY: It changes no byte.
        result(unsafe { libc::msync(address, len, libc::MS_SYNC) })
    }

    /// mincore(2).
    pub fn in_core(&self) -> Result<(), Errno> {
        let (address, len) = self.whole();
        let mut pages = vec![0_u8; len.div_ceil(page() as usize)];
        // SAFETY: The vector has a byte for each page.
        result(unsafe { libc::mincore(address, len, pages.as_mut_ptr()) })
    }

    /// write(2) of the mapping's first bytes to `fd`.
    pub fn write_to(&self, fd: impl AsFd, len: usize) -> Result<usize, Errno> {
        assert!(len <= self.len, "a check stays in its mapping");
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: The bytes are mapped.
        count(unsafe { libc::write(fd, self.address.cast(), len) })
    }

    /// read(2) from `fd` into the mapping's first bytes.
    pub fn read_from(&self, fd: impl AsFd, len: usize) -> Result<usize, Errno> {
        assert!(len <= self.len, "a check stays in its mapping");
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: The bytes are mapped, and nobody has a reference to them.
        count(unsafe { libc::read(fd, self.address.cast(), len) })
    }

    /// vmsplice(2) of the mapping's first bytes to a pipe.
    pub fn splice_to(&self, pipe: impl AsFd, len: usize) -> Result<usize, Errno> {
        assert!(len <= self.len, "a check stays in its mapping");
        let part = libc::iovec { iov_base: self.address.cast(), iov_len: len };
        // SAFETY: The bytes are mapped, and the pipe only looks at them.
        count(unsafe { libc::vmsplice(pipe.as_fd().as_raw_fd(), &part, 1, 0) })
    }

    /// process_vm_readv(2) of the mapping's first bytes, by this process itself.
    pub fn read_as_a_debugger(&self, into: &mut [u8]) -> Result<usize, Errno> {
        assert!(into.len() <= self.len, "a check stays in its mapping");
        let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let remote = libc::iovec { iov_base: self.address.cast(), iov_len: into.len() };
        // SAFETY: The bytes are mapped, and `into` has room for as many.
        count(unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: The mapping is this one, to which nobody has a reference.
        unsafe { libc::munmap(self.address.cast(), self.len) };
    }
}

/// A load from an address of which nobody knows whether it is mapped.
pub fn load_anywhere(address: usize) -> u8 {
    let byte = ptr::with_exposed_provenance::<u8>(address);
    // SAFETY: It was part of a mapping of this process, and is no memory of any Rust object; if it
    // is not mapped any more the kernel ends the process, which is what is asked.
    unsafe { byte.read_volatile() }
}

/// lseek(2) with any `whence`.
pub fn lseek(fd: impl AsFd, offset: i64, whence: i32) -> Result<i64, Errno> {
    // SAFETY: It takes no memory.
    match unsafe { libc::lseek(fd.as_fd().as_raw_fd(), offset, whence) } {
        -1 => Err(last_errno()),
        position => Ok(position),
    }
}

/// fcntl(2) with a number.
pub fn fcntl(fd: impl AsFd, command: i32, argument: i32) -> Result<i32, Errno> {
    // SAFETY: The commands given here take a number and no memory.
    match unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), command, argument) } {
        -1 => Err(last_errno()),
        answer => Ok(answer),
    }
}

/// A system call on a descriptor that is closed, whose number nobody has taken again.
pub fn on_closed<T>(number: i32, f: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
    // SAFETY: It borrows nothing that anybody owns: the call is to find that out.
    f(unsafe { BorrowedFd::borrow_raw(number) })
}

/// What became of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Killed(i32),
}

/// Runs `f` in a fork of this process and waits for it. `f` tells a status below 128.
pub fn in_a_fork(f: impl FnOnce() -> u8) -> Result<Ended, Errno> {
    // SAFETY: The process that runs checks has one thread, so the child's memory is whole.
    match unsafe { libc::fork() } {
        -1 => Err(last_errno()),
        0 => {
            let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or(127);
            // SAFETY: The child ends without running what the parent will run.
            unsafe { libc::_exit(status.into()) }
        }
        child => {
            let mut status = 0;
            // SAFETY: The status is written to a number of ours.
            while unsafe { libc::waitpid(child, &mut status, 0) } == -1 {
                if last_errno() != Errno::INTR {
                    return Err(last_errno());
                }
            }
            if libc::WIFSIGNALED(status) {
                return Ok(Ended::Killed(libc::WTERMSIG(status)));
            }
            Ok(Ended::Exited(libc::WEXITSTATUS(status)))
        }
    }
}

/// Ends this process at once by a signal that cannot be caught.
pub fn kill_me() -> ! {
    // SAFETY: It takes no memory.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
        libc::_exit(126)
    }
}

/// Has a signal interrupt this process's system calls after a while.
pub fn interrupt_after(milliseconds: i64) {
    extern "C" fn nothing(_: i32) {}
    let time = libc::timeval { tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000 };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: The handler does nothing; the structs are ours, and the unused ones are zero.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
        libc::sigaction(libc::SIGALRM, &action, ptr::null_mut());
        libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut());
    }
}

/// Leaves no core file behind when a check ends in a signal.
pub fn without_core_files() {
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: The struct is ours.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &limit) };
}

fn result(returned: i32) -> Result<(), Errno> {
    if returned == -1 { Err(last_errno()) } else { Ok(()) }
}

fn count(returned: isize) -> Result<usize, Errno> {
    usize::try_from(returned).map_err(|_| last_errno())
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
