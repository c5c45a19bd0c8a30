//! [`Route::Drm`](super::Route::Drm): import by PRIME, map as a dumb buffer.
//!
//! The kernel maps so only what the device itself has exported: `drm_gem_dumb_map_offset` of
//! drivers/gpu/drm/drm_gem.c refuses imported buffers.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Mapped;
use crate::mmap::Memory;
use crate::{DmaBuf, Kind, Mapping, Transfer, ioctl};

const NODES: &str = "/dev/dri";

/// A mapping by way of a DRM device.
pub(super) struct Imported {
    // Unmapped before the handle is closed.
    mapped: Mapped,
    _handle: Handle,
}

impl Imported {
    /// By the first device that takes the buffer.
    pub fn open(buffer: &DmaBuf) -> io::Result<Imported> {
        if buffer.kind() != Kind::Kernel {
            let reason = "only a dma-buf of the kernel can be imported";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        let mut reasons = Vec::new();
        for node in nodes() {
            match Imported::open_at(buffer, &node) {
                Ok(imported) => return Ok(imported),
                Err((what, errno)) => {
                    reasons.push(format!("{} does not {what}: {errno}", node.display()));
                }
            }
        }
        if reasons.is_empty() {
            reasons.push(format!("there is no {NODES}/card*"));
        }
        Err(io::Error::new(io::ErrorKind::Unsupported, reasons.join("; ")))
    }

    fn open_at(buffer: &DmaBuf, node: &Path) -> Result<Imported, (&'static str, Errno)> {
        let mode = OFlags::RDWR | OFlags::CLOEXEC;
        let device =
            rustix::fs::open(node, mode, Mode::empty()).map_err(|errno| ("open", errno))?;
        let number = ioctl::prime_import(device.as_fd(), buffer.as_fd());
        let number = number.map_err(|errno| ("import the buffer", errno))?;
        let handle = Handle { device, number };
        let map = |errno| ("map what it has not exported itself", errno);
        let offset = ioctl::map_dumb(handle.device.as_fd(), number).map_err(map)?;
        let len = usize::try_from(buffer.size()).map_err(|_| ("map so much", Errno::NOMEM))?;
        let memory = Memory::map_at(handle.device.as_fd(), offset, len, true).map_err(map)?;
        let mapping = Mapping::of_memory(buffer.clone(), memory);
        let mapped = Mapped(mapping.ok_or(("map no bytes", Errno::INVAL))?);
        Ok(Imported { mapped, _handle: handle })
    }
}

impl Transfer for Imported {
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.mapped.read_at(offset, into)
    }

    fn write_at(&mut self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.mapped.write_at(offset, from)
    }
}

/// A buffer's handle in a device's file that nobody else uses.
struct Handle {
    device: OwnedFd,
    number: u32,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The device's file closes next, and with it whatever this did not.
        let _ = ioctl::gem_close(self.device.as_fd(), self.number);
    }
}

/// The nodes that have dumb buffers; render nodes do not.
fn nodes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(NODES).into_iter().flatten().flatten();
    let cards = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"card"));
    let mut nodes: Vec<_> = cards.map(|entry| entry.path()).collect();
    nodes.sort();
    nodes
}
