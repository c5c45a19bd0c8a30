//! A device's side of a buffer.

use std::os::fd::BorrowedFd;

use dmabuf_core::{Access, Range};

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::memory;

/// A run of the backing memory: what a scatter-gather entry is to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Bytes from the start of [`Attachment::memory`].
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// A device's mapping of a buffer, in one direction.
///
/// Importers do no cache maintenance: beginning and ending an access does all there is to do.
#[derive(Debug)]
pub struct Attachment {
    buffer: Buffer,
    device: String,
    access: Access,
    segments: Vec<Segment>,
}

impl Attachment {
    pub(crate) fn new(buffer: Buffer, device: &str, access: Access, longest: u64) -> Attachment {
        let size = buffer.size();
        let page = rustix::param::page_size() as u64;
        let longest = (longest / page * page).clamp(page, size);
        let segments = (0..size.div_ceil(longest))
            .map(|index| index * longest)
            .map(|offset| Segment { offset, len: longest.min(size - offset) })
            .collect();
        Attachment { buffer, device: device.to_owned(), access, segments }
    }

    /// The name of the device.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// What the device may do.
    pub fn access(&self) -> Access {
        self.access
    }

    /// The buffer as runs of [`Attachment::memory`], in the order of the buffer's bytes.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The memory that the segments are of, for a device that maps it. Every access to it belongs
    /// between [`Attachment::begin`] and the end of what that returns.
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.buffer.device_memory()
    }

    /// Begins a device access to `range`. CPU brackets that conflict with it wait until it ends; it
    /// waits for none.
    pub fn begin(&self, access: Access, range: Range) -> Result<DeviceAccess> {
        if !self.access.allows(access) {
            return Err(Error::Direction { attached: self.access, wanted: access });
        }
        self.buffer.device_begin(access, range)?;
        Ok(DeviceAccess { buffer: self.buffer.clone(), access, range })
    }

    /// One access that reads `bytes` from `offset` on.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let range = Range::new(offset, bytes.len() as u64)?;
        self.begin(Access::Read, range)?.read(offset, bytes)
    }

    /// One access that writes `bytes` from `offset` on.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let range = Range::new(offset, bytes.len() as u64)?;
        self.begin(Access::Write, range)?.write(offset, bytes)
    }
}

/// A device access in flight; it ends when this is dropped.
#[derive(Debug)]
pub struct DeviceAccess {
    buffer: Buffer,
    access: Access,
    range: Range,
}

impl DeviceAccess {
    /// The direction of the access.
    pub fn access(&self) -> Access {
        self.access
    }

    /// The bytes that it may touch.
    pub fn range(&self) -> Range {
        self.range
    }

    /// Reads `bytes` from `offset` on, which must be in the range of a reading access.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.check(Access::Read, offset, bytes.len())?;
        memory::read_at(self.buffer.device_memory(), offset, bytes)?;
        self.buffer.device_moved(Access::Read, bytes.len());
        Ok(())
    }

    /// Writes `bytes` from `offset` on, which must be in the range of a writing access.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.check(Access::Write, offset, bytes.len())?;
        memory::write_at(self.buffer.device_memory(), offset, bytes)?;
        self.buffer.device_moved(Access::Write, bytes.len());
        Ok(())
    }

    fn check(&self, wanted: Access, offset: u64, len: usize) -> Result<()> {
        if !self.access.allows(wanted) {
            return Err(Error::Direction { attached: self.access, wanted });
        }
        let range = Range::new(offset, len as u64)?;
        if self.range.contains(range) {
            Ok(())
        } else {
            Err(dmabuf_core::RangeError::PastEnd.into())
        }
    }
}

impl Drop for DeviceAccess {
    fn drop(&mut self) {
        self.buffer.device_end(self.access, self.range);
    }
}
