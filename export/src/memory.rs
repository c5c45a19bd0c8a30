//! Memory that cannot shrink: a sealed memfd.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use dmabuf_core::Range;
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Bytes that move between two memories at a time: they stay in the CPU's caches on the way.
const CHUNK: usize = 128 << 10;

/// A memfd: first without bytes, then with its size for good.
#[derive(Debug)]
pub(crate) struct Memory {
    fd: OwnedFd,
}

impl Memory {
    /// Memory without any bytes yet.
    pub(crate) fn new(name: &str) -> Result<Memory> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        Ok(Memory { fd: rustix::fs::memfd_create(format!("dmabuf-{name}"), flags)? })
    }

    /// Gives it memory for `size` bytes, zero: nobody who maps it gets SIGBUS for want of memory. It
    /// has no size yet, so nobody maps it who could miss the memory if it is taken away again.
    pub(crate) fn allocate(&self, size: u64) -> Result<()> {
        match rustix::io::retry_on_intr(|| {
            rustix::fs::fallocate(&self.fd, FallocateFlags::KEEP_SIZE, 0, size)
        }) {
            Ok(()) => Ok(()),
            Err(Errno::NOSPC | Errno::NOMEM) => Err(Error::Memory(size)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes the memory for `size` bytes away again.
    pub(crate) fn free(&self, size: u64) -> Result<()> {
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.fd, punch, 0, size)?)
    }

    /// Gives it its size for good: nobody who maps it gets SIGBUS by truncation.
    pub(crate) fn seal(&self, size: u64) -> Result<()> {
        rustix::fs::ftruncate(&self.fd, size)?;
        Ok(rustix::fs::fcntl_add_seals(&self.fd, SealFlags::SHRINK | SealFlags::GROW)?)
    }

    /// Copies the bytes of `range` from `other`. The kernel copies, so it does not matter who else
    /// writes to either.
    pub(crate) fn copy_from(&self, other: &Memory, range: Range) -> Result<()> {
        let chunk = |left: u64| usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        let mut bytes = vec![0; chunk(range.len())];
        let mut offset = range.start();
        while offset < range.end() {
            let len = chunk(range.end() - offset);
            read_at(other, offset, &mut bytes[..len])?;
            write_at(self, offset, &bytes[..len])?;
            offset += len as u64;
        }
        Ok(())
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Fills `bytes` from `offset` on; the file is long enough.
pub(crate) fn read_at(fd: impl AsFd, mut offset: u64, mut bytes: &mut [u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::pread(&fd, &mut *bytes, offset))? {
            0 => return Err(Errno::IO.into()),
            n => {
                offset += n as u64;
                bytes = &mut bytes[n..];
            }
        }
    }
    Ok(())
}

/// Writes all of `bytes` from `offset` on.
pub(crate) fn write_at(fd: impl AsFd, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::pwrite(&fd, bytes, offset))? {
            0 => return Err(Errno::IO.into()),
            n => {
                offset += n as u64;
                bytes = &bytes[n..];
            }
        }
    }
    Ok(())
}

/// Whether no other open file of this memfd is left, nor a mapping, which has one.
///
/// A write lease is granted only then: fcntl(2), F_SETLEASE.
pub(crate) fn is_alone(fd: BorrowedFd<'_>) -> bool {
    // The kernel counts opens by path, and a memfd's first file is none.
    let own = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(own, flags, Mode::empty()).is_ok_and(|own| sys::take_lease(&own).is_ok())
}

/// Held from looking how much memory there is until it is taken.
static ALLOCATING: Mutex<()> = Mutex::new(());

/// Runs `f`, which looks and takes, while nobody else does.
pub(crate) fn allocating<T>(f: impl FnOnce() -> T) -> T {
    let _allocating = ALLOCATING.lock().unwrap_or_else(PoisonError::into_inner);
    f()
}

/// Refuses sizes that are not whole pages, or none.
pub(crate) fn check_pages(size: u64) -> Result<()> {
    let is_whole = size != 0 && size.is_multiple_of(rustix::param::page_size() as u64);
    if is_whole { Ok(()) } else { Err(Error::Size(size)) }
}

/// Refuses sizes that are no buffer sizes, and `total` bytes of memory if there are not as many:
/// asking for them would end with the OOM killer, not with an error.
pub(crate) fn check_size(size: u64, total: u64) -> Result<()> {
    check_pages(size)?;
    if total > available()? { Err(Error::Memory(total)) } else { Ok(()) }
}

/// `MemAvailable` of proc_meminfo(5), in bytes.
fn available() -> Result<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo")?;
    let kib = meminfo.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kib.map(|kib| kib << 10).ok_or_else(|| {
        std::io::Error::other("no MemAvailable in /proc/meminfo: mount procfs").into()
    })
}

/// A system call that rustix does not have.
#[allow(unsafe_code)]
mod sys {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};

    /// fcntl(2), F_SETLEASE with F_WRLCK. The lease ends with the file.
    pub(super) fn take_lease(fd: &OwnedFd) -> io::Result<()> {
        // SAFETY: The call takes no pointers. Nobody can open the file while the lease is held,
        // which would send this process a signal: it has no path.
        match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
