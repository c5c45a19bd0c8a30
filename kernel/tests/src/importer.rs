//! The emulated device, `/dev/dmabuf-importer`.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;

use dmabuf_uapi::*;
use rustix::io::Errno;

use crate::sys::ioctl;

/// An attachment of a buffer to the device. While it is mapped the device reads and writes by DMA.
#[derive(Debug)]
pub struct Importer(File);

impl Importer {
    /// Attaches a buffer.
    pub fn attach(buffer: impl AsFd) -> Importer {
        let node = OpenOptions::new().read(true).write(true).open(DMABUF_IMPORTER);
        let node = node.unwrap_or_else(|error| panic!("{DMABUF_IMPORTER}: {error}"));
        ioctl(&node, DMABUF_IMPORTER_ATTACH, &mut buffer.as_fd().as_raw_fd())
            .expect("a buffer can be attached");
        Importer(node)
    }

    /// Attaches a buffer and maps it, for `DMA_BUF_SYNC_*`: what the device does with it.
    pub fn of(buffer: impl AsFd, does: u64) -> Importer {
        let importer = Importer::attach(buffer);
        importer.map(does).expect("an attached buffer can be mapped");
        importer
    }

    /// Maps the buffer.
    pub fn map(&self, does: u64) -> Result<(), Errno> {
        ioctl(&self.0, DMABUF_IMPORTER_MAP, &mut (does as u32)).map(drop)
    }

    /// Unmaps it.
    pub fn unmap(&self) -> Result<(), Errno> {
        ioctl(&self.0, DMABUF_IMPORTER_UNMAP, &mut 0_u32).map(drop)
    }

    /// What the device reads.
    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact_at(&mut bytes, offset as u64).expect("the device reads");
        bytes
    }

    /// The device writes.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        self.0.write_all_at(bytes, offset as u64).expect("the device writes");
    }
}
