//! The system calls of a program that uses a buffer.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags};

/// ioctl(2) with an argument of any size, which comes back as the call left it.
pub fn ioctl(fd: impl AsFd, command: u32, argument: &mut [u8]) -> io::Result<()> {
    ioctl_at(fd, command, argument.as_mut_ptr().cast())
}

/// ioctl(2) with a null pointer.
pub fn ioctl_null(fd: impl AsFd, command: u32) -> io::Result<()> {
    ioctl_at(fd, command, std::ptr::null_mut())
}

fn ioctl_at(fd: impl AsFd, command: u32, argument: *mut c_void) -> io::Result<()> {
    // SAFETY: The argument is null, or as long as the command says, which callers see to; the
    // kernel writes to nothing else.
    match unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), command.into(), argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
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
    pub fn new(fd: impl AsFd, offset: u64, len: usize, prot: ProtFlags) -> io::Result<Map> {
        Map::with_flags(fd, offset, len, prot, MapFlags::SHARED)
    }

    pub fn with_flags(
        fd: impl AsFd,
        offset: u64,
        len: usize,
        prot: ProtFlags,
        flags: MapFlags,
    ) -> io::Result<Map> {
        // SAFETY: The kernel chooses an address where nothing is mapped.
        let address =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, prot, flags, fd, offset) }?;
        let address = NonNull::new(address.cast()).expect("mmap gives no null");
        Ok(Map { address, len })
    }

    pub fn load(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= self.len, "loads are inside of the mapping");
        // SAFETY: The bytes are mapped, as just asserted.
        (offset..offset + len).map(|at| unsafe { self.address.add(at).read_volatile() }).collect()
    }

    pub fn store(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len, "stores are inside of the mapping");
        for (at, &byte) in (offset..).zip(bytes) {
            // SAFETY: The byte is mapped, as just asserted.
            unsafe { self.address.add(at).write_volatile(byte) };
        }
    }

    /// memcpy(3) to all of it.
    pub fn copy_from(&self, bytes: &[u8]) {
        assert!(bytes.len() <= self.len, "stores are inside of the mapping");
        // SAFETY: The bytes are mapped, as just asserted, and `bytes` is memory of another kind.
        unsafe { self.address.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: This mapping is ours, and nobody has a reference into it.
        let unmapped = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped");
    }
}

/// Makes this process one of user `uid` that has no privileges, for good.
pub fn become_user(uid: u32) -> io::Result<()> {
    let check = |result| if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: The calls take no memory but an empty list.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(uid, uid, uid))?;
        check(libc::setresuid(uid, uid, uid))
    }
}

/// fork(2), after which the child runs `child` and stops for a signal. `child` must do with system
/// calls: other threads' locks are never released there.
pub fn fork_and_pause(child: impl FnOnce()) -> io::Result<i32> {
    // SAFETY: The child makes system calls and stores, and never returns.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            child();
            loop {
                // SAFETY: It takes nothing.
                unsafe { libc::pause() };
            }
        }
        pid => Ok(pid),
    }
}

/// Puts `device` in the place of /dev/fuse, for this process and its children alone.
pub fn replace_dev_fuse(device: &CStr) -> io::Result<()> {
    let check = |result| if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) };
    let (root, fuse, nothing) = (c"/".as_ptr(), c"/dev/fuse".as_ptr(), std::ptr::null());
    // SAFETY: All strings end with a NUL and outlive the calls.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(nothing, root, nothing, private, std::ptr::null()))?;
        check(libc::mount(device.as_ptr(), fuse, nothing, libc::MS_BIND, std::ptr::null()))
    }
}

/// Runs `prepare` in the child before it becomes another program: it makes system calls and nothing
/// else.
pub fn before_exec(
    command: &mut Command,
    prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: The caller says what it does.
    unsafe { command.pre_exec(prepare) };
}
