//! `/dev/udmabuf`: a dma-buf of a memfd's pages.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use dmabuf_uapi::{
    UDMABUF_CREATE, UDMABUF_CREATE_LIST, UDMABUF_FLAGS_CLOEXEC, UdmabufCreate, UdmabufCreateItem,
};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;

use super::super::sys::{self, adopt};
use super::{Buffer, Exporter, FileSide, Wanted, open};

/// The device.
pub struct Udmabuf(OwnedFd);

/// The head of UDMABUF_CREATE_LIST's argument, with all the items that it may have and one more.
#[repr(C)]
#[derive(Clone, Copy)]
struct List {
    flags: u32,
    count: u32,
    items: [UdmabufCreateItem; 1025],
}

impl Udmabuf {
    /// Opens the node.
    pub fn open(path: &Path) -> Result<Udmabuf, Errno> {
        Ok(Udmabuf(open(path, OFlags::RDWR)?))
    }

    /// A memfd as udmabuf wants it.
    pub fn memory(&self, size: u64, seals: SealFlags) -> Result<OwnedFd, Errno> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = rustix::fs::memfd_create("conform", flags)?;
        rustix::fs::ftruncate(&memory, size)?;
        rustix::fs::fcntl_add_seals(&memory, seals)?;
        Ok(memory)
    }

    /// UDMABUF_CREATE.
    pub fn make(
        &self,
        memory: impl AsFd,
        flags: u32,
        offset: u64,
        size: u64,
    ) -> Result<OwnedFd, Errno> {
        let memfd = memory.as_fd().as_raw_fd() as u32;
        let mut argument = UdmabufCreate { memfd, flags, offset, size };
        adopt(sys::ioctl(&self.0, UDMABUF_CREATE, &mut argument)?)
    }

    /// UDMABUF_CREATE_LIST of `count` times the same page.
    pub fn make_list(&self, memory: impl AsFd, count: u32, size: u64) -> Result<OwnedFd, Errno> {
        let memfd = memory.as_fd().as_raw_fd() as u32;
        let item = UdmabufCreateItem { memfd, size, ..Default::default() };
        let mut list = List { flags: UDMABUF_FLAGS_CLOEXEC, count, items: [item; 1025] };
        adopt(sys::ioctl(&self.0, UDMABUF_CREATE_LIST, &mut list)?)
    }
}

impl Exporter for Udmabuf {
    fn create(&self, wanted: Wanted) -> Result<Buffer, Errno> {
        let memory = self.memory(wanted.size.min(1 << 40), SealFlags::SHRINK)?;
        let cloexec = if wanted.cloexec { UDMABUF_FLAGS_CLOEXEC } else { 0 };
        let flags = cloexec | if wanted.unknown_flag { 0x80 } else { 0 };
        let buffer = Buffer::new(self.make(&memory, flags, 0, wanted.size)?)?;
        Ok(Buffer { other: Some(Box::new(FileSide(File::from(memory)))), ..buffer })
    }

    fn can_be_read_only(&self) -> bool {
        false
    }
}
