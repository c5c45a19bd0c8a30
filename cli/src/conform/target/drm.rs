//! A DRM card: dumb buffers, exported with PRIME. `drm/drm.h`, `drm/drm_mode.h`, `drm/vgem_drm.h`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use dmabuf_uapi::{
    DMA_BUF_IOCTL_EXPORT_SYNC_FILE, DMA_BUF_SYNC_RW, DmaBufExportSyncFile, iow, iowr,
};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::super::sys::{self, Map, Mmap, adopt};
use super::{Buffer, Exporter, MapSide, Wanted, open};

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Version {
    numbers: [i32; 3],
    pad: u32,
    name_len: usize,
    name: usize,
    rest: [usize; 4],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CreateDumb {
    height: u32,
    width: u32,
    bpp: u32,
    flags: u32,
    handle: u32,
    pitch: u32,
    size: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct MapDumb {
    handle: u32,
    pad: u32,
    offset: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PrimeHandle {
    handle: u32,
    flags: u32,
    fd: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct VgemFenceAttach {
    handle: u32,
    flags: u32,
    out_fence: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct VgemFenceSignal {
    fence: u32,
    flags: u32,
}

const VERSION: u32 = iowr::<Version>(b'd', 0x00);
const GEM_CLOSE: u32 = iow::<[u32; 2]>(b'd', 0x09);
const PRIME_HANDLE_TO_FD: u32 = iowr::<PrimeHandle>(b'd', 0x2d);
const PRIME_FD_TO_HANDLE: u32 = iowr::<PrimeHandle>(b'd', 0x2e);
const CREATE_DUMB: u32 = iowr::<CreateDumb>(b'd', 0xb2);
const MAP_DUMB: u32 = iowr::<MapDumb>(b'd', 0xb3);
const VGEM_FENCE_ATTACH: u32 = iowr::<VgemFenceAttach>(b'd', 0x41);
const VGEM_FENCE_SIGNAL: u32 = iow::<VgemFenceSignal>(b'd', 0x42);
const VGEM_FENCE_WRITE: u32 = 1;

/// The card.
pub struct Drm {
    card: Rc<OwnedFd>,
    /// The driver's name.
    pub driver: String,
}

impl Drm {
    /// Opens the node.
    pub fn open(path: &Path) -> Result<Drm, Errno> {
        let card = open(path, OFlags::RDWR)?;
        let driver = driver(&card)?;
        Ok(Drm { card: Rc::new(card), driver })
    }

    /// The first card of this driver.
    pub fn find(driver: &str) -> Option<Drm> {
        let cards = super::entries(Path::new("/dev/dri"), |name| name.starts_with("card"));
        cards.iter().filter_map(|card| Drm::open(card).ok()).find(|card| card.driver == driver)
    }

    /// A dumb buffer of one row, and its size.
    pub fn dumb(&self, size: u64) -> Result<(u32, u64), Errno> {
        let width = u32::try_from(size.div_ceil(4)).unwrap_or(u32::MAX);
        let mut dumb = CreateDumb { height: 1, width, bpp: 32, ..Default::default() };
        sys::ioctl(&*self.card, CREATE_DUMB, &mut dumb)?;
        Ok((dumb.handle, dumb.size))
    }

    /// DRM_IOCTL_PRIME_HANDLE_TO_FD.
    pub fn export(&self, handle: u32, flags: u32) -> Result<OwnedFd, Errno> {
        let mut argument = PrimeHandle { handle, flags, fd: -1 };
        sys::ioctl(&*self.card, PRIME_HANDLE_TO_FD, &mut argument)?;
        adopt(argument.fd)
    }

    /// DRM_IOCTL_PRIME_FD_TO_HANDLE.
    pub fn import(&self, fd: impl AsFd) -> Result<u32, Errno> {
        let mut argument = PrimeHandle { fd: fd.as_fd().as_raw_fd(), ..Default::default() };
        sys::ioctl(&*self.card, PRIME_FD_TO_HANDLE, &mut argument)?;
        Ok(argument.handle)
    }

    /// DRM_IOCTL_GEM_CLOSE.
    pub fn close(&self, handle: u32) -> Result<(), Errno> {
        sys::ioctl(&*self.card, GEM_CLOSE, &mut [handle, 0]).map(drop)
    }

    fn map(&self, handle: u32, len: u64) -> Result<Map, Errno> {
        let mut argument = MapDumb { handle, ..Default::default() };
        sys::ioctl(&*self.card, MAP_DUMB, &mut argument)?;
        let offset = argument.offset as i64;
        let flags = libc::MAP_SHARED;
        Map::new(&*self.card, Mmap { offset, len, prot: sys::RW, flags })
    }
}

fn driver(card: &OwnedFd) -> Result<String, Errno> {
    let mut name = [0_u8; 64];
    let address = name.as_mut_ptr().expose_provenance();
    let mut version = Version { name_len: name.len(), name: address, ..Default::default() };
    sys::ioctl(card, VERSION, &mut version)?;
    let len = version.name_len.min(name.len());
    Ok(String::from_utf8_lossy(&name[..len]).into_owned())
}

impl Exporter for Drm {
    fn create(&self, wanted: Wanted) -> Result<Buffer, Errno> {
        let (handle, _) = self.dumb(wanted.size)?;
        let mut flags = if wanted.writable { OFlags::RDWR } else { OFlags::RDONLY };
        flags.set(OFlags::CLOEXEC, wanted.cloexec);
        let unknown = if wanted.unknown_flag { 0x40 } else { 0 };
        let mut buffer = Buffer::new(self.export(handle, flags.bits() | unknown)?)?;
        if let Ok(map) = self.map(handle, buffer.size) {
            buffer.other = Some(Box::new(MapSide(map)));
        }
        self.close(handle)?;
        Ok(buffer)
    }
}

/// A fence that has not been signalled, of vgem: it expires after ten seconds.
pub struct Fence {
    card: Drm,
    number: u32,
    /// As a sync_file.
    pub sync_file: OwnedFd,
}

impl Fence {
    /// A new one, if there is a vgem card.
    pub fn pending() -> Option<Result<Fence, Errno>> {
        Some(Fence::of(Drm::find("vgem")?))
    }

    fn of(card: Drm) -> Result<Fence, Errno> {
        let (handle, _) = card.dumb(4096)?;
        let mut attach = VgemFenceAttach { handle, flags: VGEM_FENCE_WRITE, ..Default::default() };
        sys::ioctl(&*card.card, VGEM_FENCE_ATTACH, &mut attach)?;
        let buffer = card.export(handle, OFlags::CLOEXEC.bits())?;
        let mut export = DmaBufExportSyncFile { flags: DMA_BUF_SYNC_RW as u32, fd: -1 };
        sys::ioctl(&buffer, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &mut export)?;
        let sync_file = adopt(export.fd)?;
        Ok(Fence { card, number: attach.out_fence, sync_file })
    }

    /// Signals it.
    pub fn signal(&self) -> Result<(), Errno> {
        let mut signal = VgemFenceSignal { fence: self.number, flags: 0 };
        sys::ioctl(&*self.card.card, VGEM_FENCE_SIGNAL, &mut signal).map(drop)
    }
}
