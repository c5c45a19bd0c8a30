//! Where new buffers come from: the kernel's heaps, udmabuf, and the heaps of a dmabuf service.

mod choice;
mod properties;
mod served;
mod udmabuf;

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use dmabuf_uapi::FUSE_SUPER_MAGIC;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use rustix::param::page_size;

pub use self::choice::{Choice, HeapFailure};
pub(crate) use self::properties::is_kernel_heap;
pub use self::properties::{Needs, Properties};
pub use self::udmabuf::{Limits, Piece, Refusal, Udmabuf};
use crate::probe::Memory;
use crate::{DmaBuf, Error, Mmap, ioctl};

const HEAPS: &str = "/dev/dma_heap";
const UDMABUF: &str = "/dev/udmabuf";

/// Who allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A heap of the kernel, `/dev/dma_heap/NAME`: `linux/dma-heap.h`.
    Kernel,
    /// `/dev/udmabuf`, which makes a dma-buf of a memfd: `linux/udmabuf.h`.
    Udmabuf,
    /// A heap of the dmabuf service, the directory `MOUNT/NAME`.
    Served,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Kernel => "kernel heap",
            Source::Udmabuf => "udmabuf",
            Source::Served => "served heap",
        })
    }
}

/// What is known of a heap without opening it, which may need permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// The heap's own name: `system`, `default_cma_region`, `udmabuf`, `bounce`. For a symbolic
    /// link it is that of the heap behind it.
    pub name: String,
    /// What [`Heap::open`] takes.
    pub path: PathBuf,
    /// Who allocates.
    pub source: Source,
    /// What its memory is like, as far as its name tells.
    pub properties: Properties,
}

impl Description {
    /// What is at the path.
    fn of(path: &Path) -> Result<Description, Error> {
        let open = |source| Error::Open { path: path.to_owned(), source };
        let metadata = path.metadata().map_err(open)?;
        if metadata.is_dir() && is_fuse(path) {
            return Ok(Description::new(Source::Served, path));
        }
        if metadata.file_type().is_char_device() {
            // The kernel's own word on what the node's numbers stand for, wherever the node is.
            let (major, minor) = (fs::major(metadata.rdev()), fs::minor(metadata.rdev()));
            let device = std::fs::read_link(format!("/sys/dev/char/{major}:{minor}"));
            let device = device.unwrap_or_default();
            let is = |end: &str| device.ends_with(end);
            if device.parent().is_some_and(|class| class.ends_with("dma_heap")) {
                let mut heap = Description::new(Source::Kernel, path);
                heap.name = text(device.file_name());
                heap.properties = Properties::of(Source::Kernel, &heap.name);
                return Ok(heap);
            }
            if is("misc/udmabuf") {
                return Ok(Description::new(Source::Udmabuf, path));
            }
        }
        Err(Error::NotAHeap { path: path.to_owned() })
    }

    /// By the path's own name.
    fn new(source: Source, path: &Path) -> Description {
        let name = match source {
            Source::Udmabuf => "udmabuf".to_owned(),
            Source::Kernel | Source::Served => text(path.file_name()),
        };
        let properties = Properties::of(source, &name);
        Description { name, path: path.to_owned(), source, properties }
    }

    /// Opens the heap.
    ///
    /// # Errors
    ///
    /// [`Error::Open`], whose message says what would give access.
    pub fn open(&self) -> Result<Heap, Error> {
        let device = match self.source {
            Source::Kernel => Device::Kernel(open(&self.path, OFlags::RDONLY)?),
            Source::Udmabuf => Device::Udmabuf(Udmabuf::open_at(&self.path)?),
            Source::Served => Device::Served,
        };
        Ok(Heap { description: self.clone(), device })
    }
}

/// The heaps there are: the kernel's, `/dev/udmabuf`, and those of services at `/run/dmabuf` and
/// `$XDG_RUNTIME_DIR/dmabuf`. Heaps that may not be opened are listed, too.
pub fn list() -> Vec<Description> {
    let mut heaps = kernel_heaps(Path::new(HEAPS));
    if Path::new(UDMABUF).exists() {
        heaps.push(Description::new(Source::Udmabuf, Path::new(UDMABUF)));
    }
    for mount in served::mounts() {
        heaps.extend(served::heaps(&mount));
    }
    heaps
}

/// The heaps in a directory like `/dev/dma_heap`, by name; a link to another heap is no other heap.
fn kernel_heaps(directory: &Path) -> Vec<Description> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut heaps: Vec<_> = entries
        .filter(|entry| !entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .map(|entry| Description::new(Source::Kernel, &entry.path()))
        .collect();
    heaps.sort_by(|a, b| a.name.cmp(&b.name));
    heaps
}

fn is_fuse(path: &Path) -> bool {
    fs::statfs(path).is_ok_and(|found| found.f_type as u32 == FUSE_SUPER_MAGIC)
}

fn text(name: Option<&OsStr>) -> String {
    name.unwrap_or_default().to_string_lossy().into_owned()
}

fn open(path: &Path, mode: OFlags) -> Result<OwnedFd, Error> {
    fs::open(path, mode | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::Open { path: path.to_owned(), source: errno.into() })
}

/// The machine's memory in bytes.
fn memory() -> u128 {
    let info = rustix::system::sysinfo();
    u128::from(info.totalram) * u128::from(info.mem_unit)
}

/// A heap: an open source of new buffers.
///
/// ```no_run
/// use dmabuf::{Heap, heap::{Choice, Needs}};
///
/// let heap = Heap::first_of([Choice::Cma, Choice::System, Choice::Udmabuf])?;
/// let buffer = heap.allocate(4096 * 1024)?;
/// println!("{} bytes of {}", buffer.size(), heap.name());
/// # Ok::<(), dmabuf::Error>(())
/// ```
#[derive(Debug)]
pub struct Heap {
    description: Description,
    device: Device,
}

#[derive(Debug)]
enum Device {
    Kernel(OwnedFd),
    Udmabuf(Udmabuf),
    Served,
}

impl Heap {
    /// Opens a heap: a node of `/dev/dma_heap`, `/dev/udmabuf`, or a served heap's directory,
    /// `MOUNT/NAME`.
    ///
    /// # Errors
    ///
    /// [`Error::Open`], whose message says what would give access, and [`Error::NotAHeap`].
    pub fn open(path: impl AsRef<Path>) -> Result<Heap, Error> {
        Description::of(path.as_ref())?.open()
    }

    /// The first heap that is known to have the properties that are needed, and opens: the
    /// kernel's before udmabuf, and both before served ones.
    ///
    /// # Errors
    ///
    /// [`Error::NoHeap`], with each heap that there is and why it was not taken.
    pub fn find(needs: &Needs) -> Result<Heap, Error> {
        choice::first_of([Choice::Needs(needs.clone())], list())
    }

    /// The heap of the first choice that is there and opens.
    ///
    /// # Errors
    ///
    /// [`Error::NoHeap`], with the reason of each choice.
    pub fn first_of(choices: impl IntoIterator<Item = Choice>) -> Result<Heap, Error> {
        choice::first_of(choices, list())
    }

    /// Its name: [`Description::name`].
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// What is known of it.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What its memory is like, by its name, and where that does not tell, by a buffer of 64 KiB
    /// that is allocated, mapped and read. Whether memory is contiguous cannot be measured.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Heap::allocate).
    pub fn measure(&self) -> Result<Properties, Error> {
        let mut properties = self.description.properties;
        if properties.cached.is_none() || properties.protected.is_none() {
            let probe = self.allocate(1 << 16)?.probe();
            let cached = match probe.memory {
                Memory::Cached => Some(true),
                Memory::WriteCombined | Memory::Uncached | Memory::NotCached => Some(false),
                Memory::Unknown => None,
            };
            properties.cached = properties.cached.or(cached);
            // Memory without mmap may be protected, or only be without mmap.
            let reachable = (probe.mmap > Mmap::Never).then_some(false);
            properties.protected = properties.protected.or(reachable);
        }
        Ok(properties)
    }

    /// As [`allocate`](Heap::allocate), a buffer with a name: [`DmaBuf::set_name`]. A served
    /// buffer's is that of its file, `MOUNT/HEAP/NAME`, which stays until it is unlinked, and by
    /// which other programs open it.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Heap::allocate); [`Error::Name`] from the kernel's heaps. Served heaps say
    /// EEXIST where there is such a file already.
    pub fn allocate_named(&self, size: u64, name: &str) -> Result<DmaBuf, Error> {
        match self.device {
            Device::Served => self.allocate_as(size, Some(name)),
            Device::Kernel(_) | Device::Udmabuf(_) => {
                let buffer = self.allocate(size)?;
                buffer.set_name(name)?;
                Ok(buffer)
            }
        }
    }

    /// Allocates a buffer of zeros of at least `size` bytes, in whole pages. Its descriptor is open for reading and writing, and close-on-exec.
    ///
    /// More than the machine's memory is refused before the kernel is asked, whose OOM killer would
    /// end some program otherwise. A served buffer has no name in its heap's directory.
    ///
    /// # Errors
    ///
    /// [`Error::Allocate`] for what the heap says, [`Error::Udmabuf`] for what udmabuf would
    /// refuse, [`Error::EmptyRange`] for a size of 0.
    pub fn allocate(&self, size: u64) -> Result<DmaBuf, Error> {
        self.allocate_as(size, None)
    }

    /// With the name of its file, if it is served.
    fn allocate_as(&self, size: u64, file: Option<&str>) -> Result<DmaBuf, Error> {
        if size == 0 {
            return Err(Error::EmptyRange);
        }
        let refused = |errno| {
            let heap = self.name().to_owned();
            Error::Allocate { heap, size, source: std::io::Error::from(errno) }
        };
        // The kernel would try, and its OOM killer would answer, perhaps to another program. The
        // service has quotas.
        if !matches!(self.device, Device::Served) && u128::from(size) > memory() {
            return Err(refused(Errno::NOMEM));
        }
        let size = size.checked_next_multiple_of(page_size() as u64);
        let size = size.ok_or_else(|| refused(Errno::NOMEM))?;
        match &self.device {
            Device::Kernel(heap) => {
                let fd = ioctl::heap_allocate(heap.as_fd(), size).map_err(refused)?;
                DmaBuf::from_fd(fd)
            }
            Device::Udmabuf(device) => device.allocate(size),
            Device::Served => {
                served::allocate(&self.description.path, size, file)?.map_err(refused)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_a_heap_is_not_listed_twice() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["system", "linux,cma", "mystery"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("linux,cma", directory.path().join("vidbuf_cached")).unwrap();
        let heaps = kernel_heaps(directory.path());
        let names: Vec<_> = heaps.iter().map(|heap| heap.name.as_str()).collect();
        assert_eq!(names, ["linux,cma", "mystery", "system"]);
        assert_eq!(heaps[0].properties.contiguous, Some(true));
        assert_eq!(heaps[1].properties, Properties::default());
    }

    #[test]
    fn what_is_no_heap_is_not_opened_as_one() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path(), Path::new("/dev/null"), Path::new("/proc/self/exe")] {
            let error = Heap::open(path).unwrap_err();
            assert!(matches!(error, Error::NotAHeap { .. }), "{error:?}");
            assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
        }
    }
}
