//! Ways to a buffer's bytes, for buffers that cannot be mapped too.

mod drm;

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::{Access, DmaBuf, Error, Kind, MapOptions, Mapping, RouteFailure};

/// Copies bytes of a buffer out and in, each copy complete in itself: no bracket stays open.
pub trait Transfer: Send {
    /// Copies bytes from `offset` in the buffer on, until `into` is full.
    ///
    /// # Errors
    ///
    /// What the route met; the bytes of `into` are unspecified then.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Copies all of `from` to `offset` in the buffer and on.
    ///
    /// # Errors
    ///
    /// What the route met; the buffer's bytes there are unspecified then.
    fn write_at(&mut self, offset: u64, from: &[u8]) -> io::Result<()>;
}

/// A way to a buffer's bytes.
pub enum Route<'a> {
    /// Map the buffer, and copy in brackets over just the bytes.
    Mmap,
    /// Import the buffer into a DRM device, `/dev/dri/card*`, by PRIME, and map it there as a dumb
    /// buffer, with the dma-buf's own brackets. A device maps only what it has exported itself.
    Drm,
    /// The device side of a served buffer, `MOUNT/device/HEAP/NAME`: each copy is one access by a
    /// device. The buffer must still have its name.
    ServedDevice,
    /// A way that the caller knows, such as a read-back by EGL or Vulkan.
    Closure {
        /// What to call it when it fails.
        name: String,
        /// Makes what copies.
        open: Box<OpenRoute<'a>>,
    },
}

/// What opens a route of the caller's.
type OpenRoute<'a> = dyn FnOnce(&DmaBuf) -> io::Result<Box<dyn Transfer>> + Send + 'a;

impl<'a> Route<'a> {
    /// The routes that need nothing of the caller, in this order: [`Route::Mmap`], [`Route::Drm`],
    /// [`Route::ServedDevice`].
    pub fn standard() -> [Route<'a>; 3] {
        [Route::Mmap, Route::Drm, Route::ServedDevice]
    }

    /// A [`Route::Closure`].
    pub fn closure<T: Transfer + 'static>(
        name: impl Into<String>,
        open: impl FnOnce(&DmaBuf) -> io::Result<T> + Send + 'a,
    ) -> Route<'a> {
        let open = Box::new(|buffer: &_| Ok(Box::new(open(buffer)?) as Box<dyn Transfer>));
        Route::Closure { name: name.into(), open }
    }

    fn name(&self) -> String {
        match self {
            Route::Mmap => "mmap".to_owned(),
            Route::Drm => "DRM dumb map".to_owned(),
            Route::ServedDevice => "served device".to_owned(),
            Route::Closure { name, .. } => name.clone(),
        }
    }

    fn open(self, buffer: &DmaBuf) -> io::Result<Box<dyn Transfer>> {
        Ok(match self {
            Route::Mmap => Box::new(Mapped::open(buffer)?),
            Route::Drm => Box::new(drm::Imported::open(buffer)?),
            Route::ServedDevice => Box::new(ServedDevice::open(buffer)?),
            Route::Closure { open, .. } => open(buffer)?,
        })
    }
}

impl fmt::Debug for Route<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Route").field(&self.name()).finish()
    }
}

/// A buffer's bytes, by whichever [`Route`] led there: copies out and in.
pub struct Bytes {
    size: u64,
    route: String,
    failures: Vec<RouteFailure>,
    transfer: Box<dyn Transfer>,
}

impl Bytes {
    pub(crate) fn find<'a>(
        buffer: &DmaBuf,
        routes: impl IntoIterator<Item = Route<'a>>,
    ) -> Result<Bytes, Error> {
        let mut failures = Vec::new();
        for route in routes {
            let name = route.name();
            match route.open(buffer) {
                Ok(transfer) => {
                    return Ok(Bytes { size: buffer.size(), route: name, failures, transfer });
                }
                Err(error) => failures.push(RouteFailure { route: name, error }),
            }
        }
        Err(Error::NoRoute(failures))
    }

    /// The name of the route that led here: `mmap`, `DRM dumb map`, `served device`, or the caller's.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// Why the routes before it did not, in the order they were tried.
    pub fn failures(&self) -> &[RouteFailure] {
        &self.failures
    }

    /// Copies bytes from `offset` in the buffer on, until `into` is full.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] inside of an [`io::Error`], and what the route met.
    pub fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        if self.check(offset, into.len())? { self.transfer.read_at(offset, into) } else { Ok(()) }
    }

    /// Copies all of `from` to `offset` in the buffer and on.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] inside of an [`io::Error`], and what the route met.
    pub fn write_at(&mut self, offset: u64, from: &[u8]) -> io::Result<()> {
        if self.check(offset, from.len())? { self.transfer.write_at(offset, from) } else { Ok(()) }
    }

    /// Whether there is anything to copy; an error if it is not in the buffer.
    fn check(&self, offset: u64, len: usize) -> Result<bool, Error> {
        let end = offset.saturating_add(len as u64);
        if end > self.size {
            return Err(Error::OutOfBounds { start: offset, end, within: 0..self.size });
        }
        Ok(len > 0)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bytes")
            .field("size", &self.size)
            .field("route", &self.route)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

/// [`Route::Mmap`].
struct Mapped(Mapping);

impl Mapped {
    /// For loads and stores if the buffer allows that, for loads otherwise.
    fn open(buffer: &DmaBuf) -> Result<Mapped, Error> {
        let mapping = match buffer.map() {
            Err(Error::AccessMode { .. } | Error::Sealed { .. }) => {
                buffer.map_with(&MapOptions::new().read_only())
            }
            mapped => mapped,
        };
        mapping.map(Mapped)
    }
}

impl Transfer for Mapped {
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let guard = self.0.read(offset..offset + into.len() as u64)?;
        guard.copy_to(0, into)?;
        Ok(guard.end()?)
    }

    fn write_at(&mut self, offset: u64, from: &[u8]) -> io::Result<()> {
        let guard = self.0.write(offset..offset + from.len() as u64)?;
        guard.copy_from(0, from)?;
        Ok(guard.end()?)
    }
}

/// [`Route::ServedDevice`].
struct ServedDevice(File);

impl ServedDevice {
    fn open(buffer: &DmaBuf) -> io::Result<ServedDevice> {
        if buffer.kind() != Kind::Served {
            let reason = "only a served buffer has a device side";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        let path = std::fs::read_link(format!("/proc/self/fd/{}", buffer.as_fd().as_raw_fd()))?;
        let device = rustix::fs::fstat(buffer)?.st_dev;
        ServedDevice::open_beside(&path, device)
    }

    /// Opens the device side of the buffer at `path`, on the file system `device`: read-write if
    /// permissions allow, for loads otherwise.
    fn open_beside(path: &Path, device: u64) -> io::Result<ServedDevice> {
        let nameless = || {
            let reason = format!("{} is no MOUNT/HEAP/NAME", path.display());
            io::Error::new(io::ErrorKind::NotFound, reason)
        };
        let path = device_side(path).ok_or_else(nameless)?;
        let open = |access: Access| {
            OpenOptions::new().read(access.reads()).write(access.writes()).open(&path)
        };
        let file = match open(Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(Access::Read),
            opened => opened,
        };
        let file = file.map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        if file.metadata()?.dev() != device {
            let reason = format!("{} is on another file system", path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, reason));
        }
        Ok(ServedDevice(file))
    }
}

impl Transfer for ServedDevice {
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn write_at(&mut self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.0.write_all_at(from, offset)
    }
}

/// `MOUNT/device/HEAP/NAME` for `MOUNT/HEAP/NAME`; `None` for a path that is too short, or of a
/// file without a name, as the kernel marks it in /proc.
fn device_side(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?;
    if name.as_encoded_bytes().ends_with(b" (deleted)") {
        return None;
    }
    let heap = path.parent()?;
    let mount = heap.parent()?;
    let [device, heap, name] = [OsStr::new("device"), heap.file_name()?, name];
    Some([mount.as_os_str(), device, heap, name].iter().collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_device_side_is_found_by_the_name() {
        let device = |path| device_side(Path::new(path));
        assert_eq!(device("/run/dmabuf/bounce/a"), Some("/run/dmabuf/device/bounce/a".into()));
        assert_eq!(device("/bounce/a"), Some("/device/bounce/a".into()));
        assert_eq!(device("/a"), None);
        assert_eq!(device("/run/dmabuf/bounce/a (deleted)"), None);
    }

    #[test]
    fn the_device_side_is_read_and_written_at_offsets() {
        let mount = tempfile::tempdir().unwrap();
        let heap = mount.path().join("device/unmappable");
        std::fs::create_dir_all(&heap).unwrap();
        std::fs::write(heap.join("a"), [7; 100]).unwrap();
        let path = mount.path().join("unmappable/a");
        let device = heap.join("a").metadata().unwrap().dev();

        let mut side = ServedDevice::open_beside(&path, device).unwrap();
        side.write_at(10, &[1, 2, 3]).unwrap();
        let mut bytes = [0; 5];
        side.read_at(9, &mut bytes).unwrap();
        assert_eq!(bytes, [7, 1, 2, 3, 7]);
        assert!(side.read_at(96, &mut bytes).is_err(), "short reads are errors");

        let elsewhere = ServedDevice::open_beside(&path, device + 1).map(|_| ()).unwrap_err();
        assert!(elsewhere.to_string().contains("another file system"), "{elsewhere}");
        let missing = ServedDevice::open_beside(&path.with_file_name("b"), device).map(|_| ());
        assert!(missing.unwrap_err().to_string().contains("device/unmappable/b"));
    }

    #[test]
    fn a_read_only_device_side_is_read() {
        let mount = tempfile::tempdir().unwrap();
        let heap = mount.path().join("device/unmappable");
        std::fs::create_dir_all(&heap).unwrap();
        std::fs::write(heap.join("a"), [7; 100]).unwrap();
        std::fs::set_permissions(heap.join("a"), PermissionsExt::from_mode(0o444)).unwrap();
        let path = mount.path().join("unmappable/a");
        let mut side =
            ServedDevice::open_beside(&path, heap.join("a").metadata().unwrap().dev()).unwrap();
        let mut bytes = [0; 2];
        side.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, [7, 7]);
    }
}
