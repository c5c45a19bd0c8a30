//! Mappings through the kernel's page cache.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::mpsc::channel;

use dmabuf_export::{Granule, Mappings, Range};
use fuser::INodeNo;
use rustix::fs::{Mode, OFlags};

use crate::kernel::Kernel;
pub(crate) use sys::leave_files;

/// Bytes that are sent to the page cache in one message.
const CHUNK: u64 = 1 << 20;

/// How this server itself opens the buffer with an inode number: `MOUNT/.buffers/<inode>`. Nobody
/// else can look these names up.
pub(crate) const OWN_DIRECTORY: &str = ".buffers";

/// The page cache of one buffer's inode.
#[derive(Debug)]
pub(crate) struct PageCache {
    kernel: Kernel,
    inode: u64,
    own_path: PathBuf,
}

impl PageCache {
    pub(crate) fn new(kernel: Kernel, inode: u64) -> PageCache {
        let own_path = kernel.mountpoint().join(OWN_DIRECTORY).join(inode.to_string());
        PageCache { kernel, inode, own_path }
    }

    /// Writes the dirty pages of `range` back in large requests, and leaves them mapped. Dropping
    /// them would write each page back by itself.
    fn sync_file_range(&self, range: Range) -> io::Result<()> {
        let path = CString::new(self.own_path.as_os_str().as_encoded_bytes())?;
        let (inode, waits) = (self.inode, self.kernel.copies_pages_to_write_back());
        let (done, outcome) = channel();
        self.kernel.users().run(move || {
            // Whoever asked for it waits for it.
            let _ = done.send(sync_file_range(&path, inode, range, waits));
        });
        // The threads have ended: so does the service.
        outcome.recv().unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into()))
    }
}

fn sync_file_range(path: &CStr, inode: u64, range: Range, waits: bool) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    if rustix::fs::fstat(&file)?.st_ino != inode {
        return Err(io::Error::from_raw_os_error(libc::ESTALE));
    }
    sys::sync_file_range(file.as_raw_fd(), range)?;
    if waits {
        // The pages are clean before this server has seen them; fdatasync(2) waits for that.
        rustix::fs::fdatasync(&file)?;
    }
    Ok(())
}

impl Mappings for PageCache {
    fn write_back(&self, range: Range) -> io::Result<Vec<Range>> {
        // The buffer is told by `Buffer::store` what was stored. Where another mount hides the
        // path, dropping the pages writes them back as well.
        self.sync_file_range(range).or_else(|_| self.shoot_down(range))?;
        Ok(Vec::new())
    }

    fn refresh(&self, range: Range, memory: BorrowedFd<'_>) -> io::Result<()> {
        let mut bytes = vec![0; CHUNK.min(range.len()) as usize];
        let mut offset = range.start();
        while offset < range.end() {
            let len = CHUNK.min(range.end() - offset) as usize;
            let read =
                rustix::io::retry_on_intr(|| rustix::io::pread(memory, &mut bytes[..len], offset))?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.kernel.notifier()?.store(INodeNo(self.inode), offset, &bytes[..read])?;
            offset += read as u64;
        }
        Ok(())
    }

    fn shoot_down(&self, range: Range) -> io::Result<()> {
        let (start, len) = (range.start() as i64, range.len() as i64);
        self.kernel.notifier()?.inval_inode(INodeNo(self.inode), start, len)
    }

    fn cache(&self) -> Option<Granule> {
        Some(Granule::PAGE)
    }

    fn faults(&self) -> bool {
        true
    }

    fn mapped(&self, _: usize, _: u64, _: usize) {}

    fn unmapping(&self, _: usize) {}
}

/// System calls that rustix does not have.
#[allow(unsafe_code)]
mod sys {
    use std::io;
    use std::os::fd::RawFd;

    use dmabuf_export::Range;

    /// Gives the calling thread descriptors of its own, and closes them, but for those of standard
    /// streams: `close_range(2)`.
    pub(crate) fn leave_files() -> io::Result<()> {
        // SAFETY: The thread has just begun, and has opened nothing.
        if unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_UNSHARE as i32) } == 0 {
            return Ok(());
        }
        Err(io::Error::last_os_error())
    }

    /// sync_file_range(2), waiting for all of it.
    pub(super) fn sync_file_range(fd: RawFd, range: Range) -> io::Result<()> {
        let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        let (start, len) = (range.start() as i64, range.len() as i64);
        loop {
            // SAFETY: The call takes no pointers.
            if unsafe { libc::sync_file_range(fd, start, len, flags) } == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}
