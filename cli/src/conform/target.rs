//! How to get a buffer from each kind of node.

mod drm;
mod heap;
mod served;
mod udmabuf;
mod v4l2;

use std::any::Any;
use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dmabuf_uapi as uapi;
use rustix::fs::{Mode, OFlags, major, minor};
use rustix::io::Errno;

pub use self::drm::{Drm, Fence};
pub use self::heap::Heap;
pub use self::served::Served;
pub use self::udmabuf::Udmabuf;
pub use self::v4l2::V4l2;
use super::row::{Seen, Stop};
use super::sys::{self, Map};
use crate::importer::Importer;

/// The pages of a buffer, where an exporter lets its size be chosen.
pub const PAGES: u64 = 4;

/// What kind of node a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Udmabuf,
    Heap,
    Drm,
    V4l2,
    Served,
}

impl Family {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Family::Udmabuf => "udmabuf",
            Family::Heap => "heap",
            Family::Drm => "drm",
            Family::V4l2 => "v4l2",
            Family::Served => "served",
        }
    }
}

/// How a buffer is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Its size in bytes, where it can be chosen.
    pub size: u64,
    /// Close-on-exec.
    pub cloexec: bool,
    /// For stores too.
    pub writable: bool,
    /// With a flag that no exporter knows.
    pub unknown_flag: bool,
}

impl Wanted {
    /// A buffer of this size, as one wants it.
    pub fn of(size: u64) -> Wanted {
        Wanted { size, cloexec: true, writable: true, unknown_flag: false }
    }
}

/// Makes buffers.
pub trait Exporter {
    /// A new buffer.
    fn create(&self, wanted: Wanted) -> Result<Buffer, Errno>;

    /// Whether the size is the device's to say, and not the caller's.
    fn has_fixed_size(&self) -> bool {
        false
    }

    /// Whether a descriptor can be had that is only for loads.
    fn can_be_read_only(&self) -> bool {
        true
    }
}

/// A buffer, and what has to stay as long as it is used.
pub struct Buffer {
    /// The dma-buf.
    pub fd: OwnedFd,
    /// Its size in bytes.
    pub size: u64,
    /// The side that is not this descriptor: what a device sees, or another mapping of the memory.
    pub other: Option<Box<dyn Side>>,
    /// Where there is none: the module's device, attached when it is asked for.
    device: OnceCell<Importer>,
    /// What lives as long as the buffer is used: the device it is from.
    pub keep: Option<Box<dyn Any>>,
}

impl AsFd for Buffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Buffer {
    /// A buffer whose size the descriptor tells.
    pub fn new(fd: OwnedFd) -> Result<Buffer, Errno> {
        let size = rustix::fs::fstat(&fd)?.st_size as u64;
        Ok(Buffer { fd, size, other: None, device: OnceCell::new(), keep: None })
    }

    /// All of it, mapped for loads and stores.
    pub fn map(&self) -> Result<Map, Stop> {
        Ok(Map::shared(self, self.size, sys::RW)?)
    }

    /// DMA_BUF_IOCTL_SYNC.
    pub fn sync(&self, flags: u64) -> Result<(), Errno> {
        sync(self, flags)
    }

    /// DMA_BUF_IOCTL_QUERY, or the same by the kernel module's device; ENOTTY if it has none.
    fn query(&self) -> Result<uapi::DmaBufQuery, Errno> {
        let mut own = uapi::DmaBufQuery::default();
        let fd = self.fd.as_raw_fd();
        let mut by_device = uapi::DmabufDeviceQuery { fd, ..Default::default() };
        let (call, of_device) = (uapi::DMA_BUF_IOCTL_QUERY, uapi::DMABUF_DEVICE_QUERY);
        self.call(call, &mut own, of_device, &mut by_device)?;
        // Whoever was not asked has left his as it was.
        Ok(if own.size > 0 { own } else { by_device.query })
    }

    /// DMA_BUF_IOCTL_SYNC_RANGE, or the same by the kernel module's device; ENOTTY if it has none.
    pub fn sync_range(&self, flags: u64, offset: u64, len: u64) -> Result<(), Errno> {
        let mut sync = uapi::DmaBufSyncRange { flags, offset, len };
        let mut by_device = uapi::DmabufDeviceSyncRange { fd: self.fd.as_raw_fd(), pad: 0, sync };
        let (own, device) = (uapi::DMA_BUF_IOCTL_SYNC_RANGE, uapi::DMABUF_DEVICE_SYNC_RANGE);
        self.call(own, &mut sync, device, &mut by_device)
    }

    /// DMA_BUF_IOCTL_SYNC_PARTIAL, likewise.
    pub fn sync_partial(&self, flags: u64, offset: u32, len: u32) -> Result<(), Errno> {
        let mut sync = uapi::DmaBufSyncPartial { flags, offset, len };
        let mut by_device = uapi::DmabufDeviceSyncPartial { fd: self.fd.as_raw_fd(), pad: 0, sync };
        let (own, device) = (uapi::DMA_BUF_IOCTL_SYNC_PARTIAL, uapi::DMABUF_DEVICE_SYNC_PARTIAL);
        self.call(own, &mut sync, device, &mut by_device)
    }

    /// A call of the buffer itself, or if it does not know that, of the kernel module's device.
    fn call<T: Copy, U: Copy>(
        &self,
        own: u32,
        argument: &mut T,
        of_device: u32,
        by_device: &mut U,
    ) -> Result<(), Errno> {
        let answer = again(|| sys::ioctl(self, own, argument));
        if answer != Err(Errno::NOTTY) {
            return answer;
        }
        let device = open(Path::new(uapi::DMABUF_DEVICE), OFlags::RDONLY);
        let Ok(device) = device else { return Err(Errno::NOTTY) };
        again(|| sys::ioctl(&device, of_device, by_device))
    }

    /// The other side, if there is one.
    pub fn other(&self) -> Result<&dyn Side, Stop> {
        if let Some(other) = self.other.as_deref() {
            return Ok(other);
        }
        if !Importer::is_there() {
            return Err(Stop::not_here("no second side to look from"));
        }
        if self.device.get().is_none() {
            let _ = self.device.set(Importer::of(self, uapi::DMA_BUF_SYNC_RW)?);
        }
        Ok(self.device.get().expect("it was just set"))
    }

    /// The last page's offset.
    pub fn last_page(&self) -> u64 {
        self.size - sys::page()
    }
}

/// DMA_BUF_IOCTL_SYNC on any descriptor; what says EAGAIN or EINTR is asked again, as the header
/// has it.
pub fn sync(fd: impl AsFd, flags: u64) -> Result<(), Errno> {
    again(|| sync_once(&fd, flags))
}

fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<(), Errno> {
    loop {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result.map(drop),
        }
    }
}

/// DMA_BUF_IOCTL_SYNC, once.
pub fn sync_once(fd: impl AsFd, flags: u64) -> Result<(), Errno> {
    sys::ioctl(fd, uapi::DMA_BUF_IOCTL_SYNC, &mut uapi::DmaBufSync { flags }).map(drop)
}

/// Whoever else reaches the bytes.
pub trait Side: Any {
    /// Bytes from there.
    fn load(&self, offset: u64, len: u64) -> Result<Vec<u8>, Errno>;
    /// Stores bytes from there.
    fn store(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno>;
}

/// A side that is a file: the memfd of a udmabuf, a served buffer's device side.
pub struct FileSide(pub File);

impl Side for FileSide {
    fn load(&self, offset: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; len as usize];
        self.0.read_exact_at(&mut bytes, offset).map_err(|error| errno(&error))?;
        Ok(bytes)
    }

    fn store(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.0.write_all_at(bytes, offset).map_err(|error| errno(&error))
    }
}

/// A side that is the device's own mapping.
pub struct MapSide(pub Map);

impl Side for MapSide {
    fn load(&self, offset: u64, len: u64) -> Result<Vec<u8>, Errno> {
        Ok(self.0.bytes(offset, len))
    }

    fn store(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        (offset..).zip(bytes).for_each(|(at, &byte)| self.0.store(at, byte));
        Ok(())
    }
}

impl Side for Importer {
    fn load(&self, offset: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; len as usize];
        self.read(offset, &mut bytes).map_err(|error| errno(&error))?;
        Ok(bytes)
    }

    fn store(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.write(offset, bytes).map_err(|error| errno(&error))
    }
}

impl AsFd for FileSide {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What an I/O error's number is.
pub fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Opens a node or a file.
fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
}

/// What makes a target's buffers.
pub enum Node {
    Udmabuf(Udmabuf),
    Heap(Heap),
    Drm(Drm),
    V4l2(V4l2),
    Served(Served),
}

/// An exporter that is put to the test.
pub struct Target {
    /// The node or directory.
    pub path: PathBuf,
    /// What to call it: the driver's or the heap's name.
    pub label: String,
    node: Node,
}

impl Target {
    /// What is at the path, which has to be an exporter.
    pub fn open(path: &Path) -> Result<Target> {
        let about = || format!("cannot use {} as a target", path.display());
        let metadata = path.metadata().with_context(about)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (label, node) = if metadata.is_dir() {
            (name, Node::Served(Served::open(path).with_context(about)?))
        } else if metadata.file_type().is_char_device() {
            match Class::of(metadata.rdev()) {
                Class::Udmabuf => (name, Node::Udmabuf(Udmabuf::open(path).with_context(about)?)),
                Class::Heap => (name, Node::Heap(Heap::open(path).with_context(about)?)),
                Class::Drm => {
                    let card = Drm::open(path).with_context(about)?;
                    (card.driver.clone(), Node::Drm(card))
                }
                Class::V4l2 => {
                    let queue = V4l2::open(path).with_context(about)?;
                    (queue.driver.clone(), Node::V4l2(queue))
                }
                Class::Other => bail!("{}: it is no exporter of dma-bufs", about()),
            }
        } else {
            bail!(
                "{}: give /dev/udmabuf, a node of /dev/dma_heap, a DRM card, a V4L2 node, or a \
                 served heap's directory",
                about()
            );
        };
        Ok(Target { path: path.to_owned(), label, node })
    }

    /// What kind of node it is.
    pub fn family(&self) -> Family {
        match self.node {
            Node::Udmabuf(_) => Family::Udmabuf,
            Node::Heap(_) => Family::Heap,
            Node::Drm(_) => Family::Drm,
            Node::V4l2(_) => Family::V4l2,
            Node::Served(_) => Family::Served,
        }
    }

    /// What makes its buffers.
    pub fn exporter(&self) -> &dyn Exporter {
        match &self.node {
            Node::Udmabuf(exporter) => exporter,
            Node::Heap(exporter) => exporter,
            Node::Drm(exporter) => exporter,
            Node::V4l2(exporter) => exporter,
            Node::Served(exporter) => exporter,
        }
    }

    /// A buffer to look at.
    pub fn buffer(&self) -> Result<Buffer, Stop> {
        Ok(self.exporter().create(Wanted::of(PAGES * sys::page()))?)
    }

    /// A buffer with brackets, for checks of what is more than one.
    pub fn bracketed(&self) -> Result<Buffer, Stop> {
        let buffer = self.buffer()?;
        if self.refuses_mmap(&buffer) && self.buffer()?.sync(1).is_err() {
            return Err(Stop::not_here("its buffers have no brackets"));
        }
        Ok(buffer)
    }

    /// A buffer that can be mapped.
    pub fn mappable(&self) -> Result<Buffer, Stop> {
        let buffer = self.buffer()?;
        if self.refuses_mmap(&buffer) {
            return Err(Stop::not_here("its buffers cannot be mapped"));
        }
        Ok(buffer)
    }

    /// Whether the buffer says, by itself or by the kernel module's device, that it cannot be mapped.
    pub fn refuses_mmap(&self, buffer: &Buffer) -> bool {
        buffer.query().is_ok_and(|query| query.flags & uapi::DMA_BUF_QUERY_MMAP_READ == 0)
    }

    /// A buffer that is mapped whole, and the mapping.
    pub fn mapped(&self) -> Result<(Buffer, Map), Stop> {
        let buffer = self.mappable()?;
        let map = buffer.map()?;
        Ok((buffer, map))
    }

    /// A buffer whose descriptor is only for loads.
    pub fn read_only(&self) -> Result<Buffer, Stop> {
        if !self.exporter().can_be_read_only() {
            return Err(Stop::not_here("its descriptors are always for loads and stores"));
        }
        let buffer = self.mappable()?;
        let wanted = Wanted { writable: false, ..Wanted::of(buffer.size) };
        drop(buffer);
        Ok(self.exporter().create(wanted)?)
    }

    /// For checks of udmabuf alone.
    pub fn udmabuf(&self, check: impl FnOnce(&Udmabuf) -> Seen) -> Seen {
        match &self.node {
            Node::Udmabuf(udmabuf) => check(udmabuf),
            _ => Err(Stop::not_here("only of udmabuf")),
        }
    }

    /// For checks of the kernel's heaps alone.
    pub fn heap(&self, check: impl FnOnce(&Heap) -> Seen) -> Seen {
        match &self.node {
            Node::Heap(heap) => check(heap),
            _ => Err(Stop::not_here("only of the kernel's heaps")),
        }
    }

    /// For checks of DRM alone.
    pub fn drm(&self, check: impl FnOnce(&Drm) -> Seen) -> Seen {
        match &self.node {
            Node::Drm(card) => check(card),
            _ => Err(Stop::not_here("only of DRM")),
        }
    }

    /// For checks of V4L2 alone.
    pub fn v4l2(&self, check: impl FnOnce(&V4l2) -> Seen) -> Seen {
        match &self.node {
            Node::V4l2(queue) => check(queue),
            _ => Err(Stop::not_here("only of V4L2")),
        }
    }

    /// For checks of served heaps alone.
    pub fn served(&self, check: impl FnOnce(&Served) -> Seen) -> Seen {
        match &self.node {
            Node::Served(served) => check(served),
            _ => Err(Stop::not_here("only of served heaps")),
        }
    }
}

/// What the kernel says that a node's numbers stand for.
enum Class {
    Udmabuf,
    Heap,
    Drm,
    V4l2,
    Other,
}

impl Class {
    fn of(device: u64) -> Class {
        let link = format!("/sys/dev/char/{}:{}", major(device), minor(device));
        let device = std::fs::read_link(link).unwrap_or_default();
        let class = device.parent().and_then(Path::file_name).unwrap_or_default();
        match class.to_str().unwrap_or_default() {
            "misc" if device.ends_with("udmabuf") => Class::Udmabuf,
            "dma_heap" => Class::Heap,
            "drm" => Class::Drm,
            "video4linux" => Class::V4l2,
            _ => Class::Other,
        }
    }
}

/// Where exporters may be: nodes that are there, and heaps that are served.
pub fn candidates() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let udmabuf = PathBuf::from("/dev/udmabuf");
    found.extend(udmabuf.exists().then_some(udmabuf));
    found.extend(entries(Path::new("/dev/dma_heap"), |_| true));
    found.extend(entries(Path::new("/dev/dri"), |name| name.starts_with("card")));
    found.extend(crate::v4l2::nodes());
    let mut mounts = vec![PathBuf::from("/run/dmabuf")];
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR") {
        mounts.push(Path::new(&runtime).join("dmabuf"));
    }
    mounts.dedup();
    for mount in mounts.iter().filter(|mount| served::is_fuse(mount)) {
        found.extend(served::heaps(mount));
    }
    found
}

fn entries(directory: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .filter(|entry| is_wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// A memfd with some bytes in it, to be a file that is no dma-buf.
pub fn plain_file() -> Result<File, Errno> {
    let memory = rustix::fs::memfd_create("plain", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(memory);
    file.write_all(&[0; 64]).map_err(|error| errno(&error))?;
    Ok(file)
}
