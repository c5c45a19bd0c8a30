//! A served heap: `MOUNT/NAME`.

use std::any::Any;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use dmabuf_uapi::FUSE_SUPER_MAGIC;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::io::FdFlags;

use super::super::row::Stop;
use super::{Buffer, Exporter, FileSide, Wanted, errno, open};

/// The heap's directory.
pub struct Served {
    heap: PathBuf,
    device: PathBuf,
}

/// Names for files: one program may have several at once.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Served {
    /// A directory of the service.
    pub fn open(path: &Path) -> Result<Served, Errno> {
        let heap = path.canonicalize().map_err(|error| errno(&error))?;
        let name = heap.file_name().ok_or(Errno::NODEV)?;
        let device = heap.parent().ok_or(Errno::NODEV)?.join("device").join(name);
        if !is_fuse(&heap) || !device.is_dir() {
            return Err(Errno::NODEV);
        }
        Ok(Served { heap, device })
    }

    /// A file without a size, and its path: the caller unlinks it.
    pub fn file(&self) -> Result<(File, PathBuf), Errno> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.heap.join(format!("conform-{}-{number}", std::process::id()));
        let file = open(&path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
        Ok((File::from(file), path))
    }

    /// The device side of a buffer of this heap.
    pub fn device_of<'a>(&self, buffer: &'a Buffer) -> Result<&'a FileSide, Stop> {
        let side: &dyn Any = buffer.other.as_deref().ok_or(Stop::not_here("no device side"))?;
        side.downcast_ref().ok_or(Stop::not_here("no device side"))
    }

    fn sized(&self, path: &Path, file: &File, wanted: Wanted) -> Result<Buffer, Errno> {
        rustix::fs::ftruncate(file, wanted.size)?;
        let mode = if wanted.writable { OFlags::RDWR } else { OFlags::RDONLY };
        let fd = open(path, mode)?;
        if !wanted.cloexec {
            rustix::io::fcntl_setfd(&fd, FdFlags::empty())?;
        }
        let side = open(&self.device.join(path.file_name().ok_or(Errno::NOENT)?), OFlags::RDWR)?;
        Ok(Buffer { other: Some(Box::new(FileSide(File::from(side)))), ..Buffer::new(fd)? })
    }
}

impl Exporter for Served {
    fn create(&self, wanted: Wanted) -> Result<Buffer, Errno> {
        let (file, path) = self.file()?;
        let made = self.sized(&path, &file, wanted);
        rustix::fs::unlink(&path)?;
        made
    }
}

/// Whether a path is on a FUSE file system.
pub fn is_fuse(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type as u32 == FUSE_SUPER_MAGIC)
}

/// The heaps of a mount, in its own order: what has a device side.
pub fn heaps(mount: &Path) -> Vec<PathBuf> {
    let heaps = std::fs::read_dir(mount.join("device")).into_iter().flatten().flatten();
    heaps.map(|heap| mount.join(heap.file_name())).collect()
}
