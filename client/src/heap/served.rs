//! Heaps of the dmabuf service: a file created in a heap's directory and given its size, once, is
//! a buffer.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use super::{Description, Source, is_fuse};
use crate::{DmaBuf, Error, Kind};

/// Where services mount by default, as far as there is one.
pub(super) fn mounts() -> impl Iterator<Item = PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(|run| Path::new(&run).join("dmabuf"));
    [Some(PathBuf::from("/run/dmabuf")), own].into_iter().flatten().filter(|mount| is_fuse(mount))
}

/// The heaps of the service that is mounted here, by name.
pub(super) fn heaps(mount: &Path) -> Vec<Description> {
    let entries = std::fs::read_dir(mount).into_iter().flatten().flatten();
    let mut heaps: Vec<_> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        // The heaps' device sides are no heaps.
        .filter(|entry| entry.file_name() != "device")
        .map(|entry| Description::new(Source::Served, &entry.path()))
        .collect();
    heaps.sort_by(|a, b| a.name.cmp(&b.name));
    heaps
}

/// A buffer of `size` bytes that has no name; within, what the service said.
pub(super) fn allocate(heap: &Path, size: u64) -> Result<Result<DmaBuf, Errno>, Error> {
    let (path, fd) = match create(heap) {
        Ok(created) => created,
        Err(errno) => return Ok(Err(errno)),
    };
    let sized = fs::ftruncate(&fd, size);
    // With or without its size, nobody else is to find it.
    let unlinked = fs::unlink(&path);
    if let Err(errno) = sized.and(unlinked) {
        return Ok(Err(errno));
    }
    let buffer = DmaBuf::from_fd(fd)?;
    match buffer.kind() {
        Kind::Served => Ok(Ok(buffer)),
        _ => Err(Error::NotAHeap { path: heap.to_owned() }),
    }
}

/// A new file that no other program uses.
fn create(heap: &Path) -> Result<(PathBuf, std::os::fd::OwnedFd), Errno> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    loop {
        let number = NEXT.fetch_add(1, Relaxed);
        let path = heap.join(format!(".{}-{number}", std::process::id()));
        match fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
            // Another program of the same number, in another process namespace.
            Err(Errno::EXIST) => {}
            opened => return opened.map(|fd| (path, fd)),
        }
    }
}
