//! The system calls, and all unsafe code.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap, mremap, munmap};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// The size of a page, in bytes.
pub fn page() -> usize {
    rustix::param::page_size()
}

struct Raw {
    number: u32,
    argument: *mut c_void,
}

// SAFETY: The argument is checked by `ioctl`, which alone makes one.
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

/// ioctl(2) on an argument that is as long as the number says.
pub fn ioctl<T: Copy>(fd: impl AsFd, number: u32, argument: &mut T) -> Result<i32, Errno> {
    let encoded = (number >> 16 & 0x3fff) as usize;
    assert!(encoded <= size_of::<T>(), "an ioctl's argument is as long as its number says");
    let raw = Raw { number, argument: ptr::from_mut(argument).cast() };
    // SAFETY: The kernel reads and writes no more than the encoded size, which the argument has; the
    // types given here are of integers alone, so that whatever it writes is a value.
    unsafe { rustix::ioctl::ioctl(fd, raw) }
}

/// The descriptor that a system call has just made.
pub(crate) fn adopt(fd: i32) -> OwnedFd {
    assert!(fd >= 0, "a descriptor");
    // SAFETY: The kernel made it for the caller, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A shared mapping, loaded from and stored to as a program does.
#[derive(Debug)]
pub struct Map {
    address: NonNull<u8>,
    len: usize,
}

// SAFETY: The memory belongs to the whole process, and all access to it is volatile.
unsafe impl Send for Map {}
// SAFETY: As above.
unsafe impl Sync for Map {}

impl Map {
    /// The bytes of `fd` in `range`, which begins at a page.
    pub fn new(fd: impl AsFd, range: Range<usize>, prot: ProtFlags) -> Result<Map, Errno> {
        let (len, offset, anywhere) = (range.len(), range.start as u64, ptr::null_mut());
        // SAFETY: The kernel chooses an address where nothing is mapped.
        let address = unsafe { mmap(anywhere, len, prot, MapFlags::SHARED, fd, offset) }?;
        Ok(Map { address: NonNull::new(address.cast()).expect("mmap gives no null"), len })
    }

    /// One byte.
    pub fn load(&self, offset: usize) -> u8 {
        assert!(offset < self.len, "loads are inside of the mapping");
        // SAFETY: The byte is mapped, as just asserted.
        unsafe { self.address.add(offset).read_volatile() }
    }

    /// Some bytes.
    pub fn bytes(&self, range: Range<usize>) -> Vec<u8> {
        range.map(|offset| self.load(offset)).collect()
    }

    /// Stores one byte.
    pub fn store(&self, offset: usize, byte: u8) {
        assert!(offset < self.len, "stores are inside of the mapping");
        // SAFETY: The byte is mapped, as just asserted.
        unsafe { self.address.add(offset).write_volatile(byte) };
    }

    /// memset(3).
    pub fn fill(&self, range: Range<usize>, byte: u8) {
        assert!(range.end <= self.len, "stores are inside of the mapping");
        // SAFETY: The bytes are mapped, as just asserted, and nobody has a reference to them.
        unsafe { self.address.add(range.start).write_bytes(byte, range.len()) };
    }

    /// read(2) of a file into some bytes of the mapping: here it is the kernel that stores to them.
    pub fn read_from(&self, file: impl AsFd, range: Range<usize>) -> Result<usize, Errno> {
        assert!(range.end <= self.len, "stores are inside of the mapping");
        let fd = file.as_fd().as_raw_fd();
        // SAFETY: The bytes are mapped, as just asserted, and nobody has a reference to them.
        let read =
            unsafe { libc::read(fd, self.address.add(range.start).as_ptr().cast(), range.len()) };
        let failed = || Errno::from_io_error(&std::io::Error::last_os_error());
        usize::try_from(read).map_err(|_| failed().expect("a system call tells why it fails"))
    }

    /// mremap(2), wherever there is room.
    pub fn resize(&mut self, len: usize) -> Result<(), Errno> {
        let old = self.address.as_ptr().cast();
        // SAFETY: This mapping is only reached through `self`, which learns its new place.
        let moved = unsafe { mremap(old, self.len, len, MremapFlags::MAYMOVE) }?;
        self.address = NonNull::new(moved.cast()).expect("mremap gives no null");
        self.len = len;
        Ok(())
    }

    /// mremap(2) to another place.
    pub fn move_away(&mut self) -> Result<(), Errno> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let old = self.address.as_ptr().cast();
        // SAFETY: What is replaced is the new mapping, of which nobody knows; this one is only reached
        // through `self`, which learns its new place.
        let moved = unsafe {
            let free =
                rustix::mm::mmap_anonymous(ptr::null_mut(), self.len, ProtFlags::empty(), flags)?;
            rustix::mm::mremap_fixed(old, self.len, self.len, MremapFlags::MAYMOVE, free)?
        };
        self.address = NonNull::new(moved.cast()).expect("mremap gives no null");
        Ok(())
    }

    /// munmap(2) of some of its pages, which nobody touches any more.
    pub fn unmap_part(&self, range: Range<usize>) -> Result<(), Errno> {
        assert!(range.end <= self.len, "a part is inside of the mapping");
        // SAFETY: The pages are of this mapping, and nobody has a reference into it.
        unsafe { munmap(self.address.as_ptr().add(range.start).cast(), range.len()) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: This mapping is ours, and nobody has a reference into it.
        let unmapped = unsafe { munmap(self.address.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped");
    }
}

/// What became of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal.
    Killed(Signal),
}

/// A forked process, killed when this is dropped.
#[derive(Debug)]
pub struct Child(Option<Pid>);

impl Child {
    /// fork(2), in a process with one thread. The child runs `f` and exits with 0, or with 1 if it
    /// panics.
    pub fn fork(f: impl FnOnce()) -> Child {
        // SAFETY: This process has one thread, so the child's memory is whole.
        match unsafe { libc::fork() } {
            0 => {
                let status = i32::from(catch_unwind(AssertUnwindSafe(f)).is_err());
                // SAFETY: The child ends without running what the parent will run.
                unsafe { libc::_exit(status) }
            }
            pid => Child(Some(Pid::from_raw(pid).expect("fork gives a process"))),
        }
    }

    /// Sends SIGKILL, and waits until the process is gone.
    pub fn kill(self) {
        assert_eq!(self.signal_and_wait(Signal::KILL), Ended::Killed(Signal::KILL));
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.0.expect("a child that was not waited for");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Sends a signal, and waits until the process is gone.
    pub fn signal_and_wait(self, signal: Signal) -> Ended {
        self.signal(signal);
        self.wait()
    }

    /// Waits until the process is gone.
    pub fn wait(mut self) -> Ended {
        wait(self.0.take().expect("a child that was not waited for"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(pid) = self.0.take() {
            kill_process(pid, Signal::KILL).expect("a child can be killed");
            wait(pid);
        }
    }
}

fn wait(pid: Pid) -> Ended {
    let waited = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
    let (_, status) = waited.expect("a child can be waited for").expect("it has ended");
    match status.terminating_signal() {
        Some(signal) => Ended::Killed(Signal::from_named_raw(signal).expect("a signal")),
        None => Ended::Exited(status.exit_status().expect("it has ended")),
    }
}

/// Runs `f` in a fork of this process, and waits for it.
pub fn in_a_fork(f: impl FnOnce()) -> Ended {
    Child::fork(f).wait()
}

/// Makes this process, which is root's, one of a user who owns nothing, in these groups.
pub fn become_nobody(groups: &[u32]) {
    const NOBODY: u32 = 65534;
    // SAFETY: The list is as long as is said; the other calls take numbers.
    let results = unsafe {
        [
            libc::setgroups(groups.len(), groups.as_ptr()),
            libc::setresgid(NOBODY, NOBODY, NOBODY),
            libc::setresuid(NOBODY, NOBODY, NOBODY),
        ]
    };
    assert_eq!(results, [0; 3], "root may");
}

/// Gives this process, which is root's, mounts of its own: what it mounts, nobody else sees.
pub fn alone_with_its_mounts() {
    let (none, private) = (ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: The path ends with NUL; of the other pointers none is looked at.
    let results = unsafe {
        [
            libc::unshare(libc::CLONE_NEWNS),
            libc::mount(none, c"/".as_ptr(), none, private, ptr::null()),
        ]
    };
    assert_eq!(results, [0; 2], "root may");
}

/// Has a signal interrupt this process's system calls every so many microseconds; 0 stops it.
pub fn interrupt_after(microseconds: i64) {
    extern "C" fn nothing(_: i32) {}
    let time = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: The handler does nothing; the structs are ours, and the unused ones are zero.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
        libc::sigaction(libc::SIGALRM, &action, ptr::null_mut());
        libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut());
    }
}
