//! Buffers of the vgem driver, with fences that a test signals.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use dmabuf::DmaBuf;
use dmabuf_uapi::*;
use rustix::fs::{OFlags, major, minor};
use rustix::ioctl::{Opcode, Setter, Updater, ioctl};

/// The DRM device of the driver vgem, if it is loaded.
pub struct Vgem {
    card: File,
}

/// A buffer of vgem's.
pub struct Vbuf<'a> {
    vgem: &'a Vgem,
    handle: u32,
    pub buffer: DmaBuf,
}

/// A fence that has not signalled.
pub struct Vfence<'a> {
    vgem: &'a Vgem,
    fence: u32,
}

/// The nodes `/dev/dri/card*` of a driver, by its device's path in /sys.
pub fn card_of(driver: &str) -> Option<File> {
    let nodes = std::fs::read_dir("/dev/dri").ok()?.flatten();
    let cards = nodes.filter(|node| node.file_name().to_string_lossy().starts_with("card"));
    let opened = cards.filter_map(|node| {
        let card = File::options().read(true).write(true).open(node.path()).ok()?;
        let number = card.metadata().ok()?.rdev();
        let device = format!("/sys/dev/char/{}:{}", major(number), minor(number));
        let device = std::fs::canonicalize(device).ok()?;
        let link = std::fs::read_link(device.join("device/driver")).unwrap_or_default();
        let found = [&device, &link].map(|path| path.to_string_lossy().contains(driver));
        found.contains(&true).then_some(card)
    });
    { opened }.next()
}

/// A dumb buffer of a card: its handle, and the dma-buf.
pub fn dumb(card: BorrowedFd<'_>, width: u32, height: u32) -> (u32, OwnedFd) {
    let mut dumb = DrmModeCreateDumb { width, height, bpp: 32, ..Default::default() };
    let flags = (OFlags::CLOEXEC | OFlags::RDWR).bits();
    // SAFETY: Each number encodes the struct that it reads and writes, and PRIME returns a new
    // descriptor.
    unsafe {
        const CREATE: Opcode = DRM_IOCTL_MODE_CREATE_DUMB as Opcode;
        ioctl(card, Updater::<CREATE, _>::new(&mut dumb)).unwrap();
        let mut prime = DrmPrimeHandle { handle: dumb.handle, flags, fd: -1 };
        const EXPORT: Opcode = DRM_IOCTL_PRIME_HANDLE_TO_FD as Opcode;
        ioctl(card, Updater::<EXPORT, _>::new(&mut prime)).unwrap();
        (dumb.handle, OwnedFd::from_raw_fd(prime.fd))
    }
}

impl Vgem {
    /// vgem, or a line that says that there is none.
    pub fn open() -> Option<Vgem> {
        let card = card_of("vgem");
        if card.is_none() {
            println!("skipped: the module vgem is not loaded");
        }
        card.map(|card| Vgem { card })
    }

    pub fn allocate(&self) -> Vbuf<'_> {
        let (handle, fd) = dumb(self.card.as_fd(), 64, 64);
        Vbuf { vgem: self, handle, buffer: DmaBuf::from_fd(fd).unwrap() }
    }
}

impl Vgem {
    /// Attaches vgem to a buffer of anyone's, until the device is closed.
    pub fn import(&self, buffer: BorrowedFd<'_>) {
        const IMPORT: Opcode = DRM_IOCTL_PRIME_FD_TO_HANDLE as Opcode;
        let mut prime =
            DrmPrimeHandle { fd: std::os::fd::AsRawFd::as_raw_fd(&buffer), ..Default::default() };
        // SAFETY: The number encodes the struct that it reads and writes.
        unsafe { ioctl(&self.card, Updater::<IMPORT, _>::new(&mut prime)) }.unwrap();
    }
}

impl<'a> Vbuf<'a> {
    /// Attaches a fence of a device that writes, or one that reads.
    pub fn fence(&self, writes: bool) -> Vfence<'a> {
        const ATTACH: Opcode = DRM_IOCTL_VGEM_FENCE_ATTACH as Opcode;
        let flags = if writes { VGEM_FENCE_WRITE } else { 0 };
        let mut attach = DrmVgemFenceAttach { handle: self.handle, flags, ..Default::default() };
        // SAFETY: The number encodes the struct that it reads and writes.
        unsafe { ioctl(&self.vgem.card, Updater::<ATTACH, _>::new(&mut attach)) }.unwrap();
        Vfence { vgem: self.vgem, fence: attach.out_fence }
    }
}

impl Vfence<'_> {
    pub fn signal(self) {
        const SIGNAL: Opcode = DRM_IOCTL_VGEM_FENCE_SIGNAL as Opcode;
        let signal = DrmVgemFenceSignal { fence: self.fence, flags: 0 };
        // SAFETY: The number encodes the struct that it reads.
        unsafe { ioctl(&self.vgem.card, Setter::<SIGNAL, _>::new(signal)) }.unwrap();
    }
}
