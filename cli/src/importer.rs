//! The kernel module's emulated device, `/dev/dmabuf-importer`: it attaches to a dma-buf of any
//! exporter and reaches its bytes by DMA. `dmabuf.h` says what each call does.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use dmabuf_uapi::*;
use rustix::io::Errno;

use crate::conform::sys;

/// An attachment that is mapped, until it is dropped.
pub struct Importer(File);

impl Importer {
    /// Whether there is such a device.
    pub fn is_there() -> bool {
        Path::new(DMABUF_IMPORTER).exists()
    }

    /// Attaches a buffer and maps it for a device that does so with it: `DMA_BUF_SYNC_READ`,
    /// `DMA_BUF_SYNC_WRITE`, or both.
    pub fn of(buffer: impl AsFd, does: u64) -> Result<Importer, Errno> {
        let device = File::options().read(true).write(true).open(DMABUF_IMPORTER);
        let device = device.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        sys::ioctl(&device, DMABUF_IMPORTER_ATTACH, &mut buffer.as_fd().as_raw_fd())?;
        sys::ioctl(&device, DMABUF_IMPORTER_MAP, &mut (does as u32))?;
        Ok(Importer(device))
    }

    /// What the device reads.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    /// The device writes.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
}
