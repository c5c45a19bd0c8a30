//! The memory of a mapping: `mmap(2)` and `munmap(2)`, and nothing about what is in it.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::ptr;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A shared mapping of a file's bytes; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Memory {
    address: *mut u8,
    len: usize,
}

// SAFETY: The mapping belongs to the process, not to a thread, and only `Memory` unmaps it.
unsafe impl Send for Memory {}
// SAFETY: A shared `Memory` tells an address and a length; neither ever changes.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps the file from its first byte on: four of the kernel's exporters accept an offset and
    /// then map the first page all the same.
    pub fn map(fd: BorrowedFd<'_>, len: usize, writable: bool) -> Result<Memory, Errno> {
        Memory::map_at(fd, 0, len, writable)
    }

    /// Maps `len` bytes from `offset` on, of a file that has them there: a DRM device's, whose
    /// offsets stand for buffers.
    pub fn map_at(
        fd: BorrowedFd<'_>,
        offset: u64,
        len: usize,
        writable: bool,
    ) -> Result<Memory, Errno> {
        let protection = match writable {
            true => ProtFlags::READ | ProtFlags::WRITE,
            false => ProtFlags::READ,
        };
        // SAFETY: The kernel chooses the address, so no mapping of anyone else is replaced.
        let address =
            unsafe { mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, fd, offset) }?;
        Ok(Memory { address: address.cast(), len })
    }

    /// The first byte's address.
    pub fn address(&self) -> *mut u8 {
        self.address
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `map` made this mapping, and whoever uses its address borrows it.
        let unmapped = unsafe { munmap(self.address.cast(), self.len) };
        debug_assert_eq!(unmapped, Ok(()), "munmap of a whole mapping does not fail");
    }
}
