//! Heaps of the dmabuf service: a file created in a heap's directory and given its size, once, is
//! a buffer.

use std::os::fd::OwnedFd;
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

/// A buffer of `size` bytes, with a name or without one; within, what the service said.
pub(super) fn allocate(
    heap: &Path,
    size: u64,
    name: Option<&str>,
) -> Result<Result<DmaBuf, Errno>, Error> {
    let created = match name {
        Some(name) => create(heap, name),
        None => create_unused(heap),
    };
    let (path, fd) = match created {
        Ok(created) => created,
        Err(errno) => return Ok(Err(errno)),
    };
    let sized = fs::ftruncate(&fd, size);
    // Without a size it is no buffer, and without a name nobody else is to find it.
    let unlinked = if name.is_none() || sized.is_err() { fs::unlink(&path) } else { Ok(()) };
    if let Err(errno) = sized.and(unlinked) {
        return Ok(Err(errno));
    }
    let buffer = DmaBuf::from_fd(fd)?;
    match buffer.kind() {
        Kind::Served => Ok(Ok(buffer)),
        _ => Err(Error::NotAHeap { path: heap.to_owned() }),
    }
}

/// A new file in the heap's directory, and nowhere else.
fn create(heap: &Path, name: &str) -> Result<(PathBuf, OwnedFd), Errno> {
    if name.contains('/') {
        return Err(Errno::INVAL);
    }
    let path = heap.join(name);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
    Ok((path, fd))
}

/// A new file that no other program uses.
fn create_unused(heap: &Path) -> Result<(PathBuf, OwnedFd), Errno> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Relaxed);
        match create(heap, &format!(".{}-{number}", std::process::id())) {
            // Another program of the same number, in another process namespace.
            Err(Errno::EXIST) => {}
            created => return created,
        }
    }
}
