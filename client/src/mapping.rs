//! A buffer's bytes in this process, and the brackets over them.

use std::fmt;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::os::fd::AsFd;
use std::sync::Mutex;

use dmabuf_core::{CpuAccess, Range};

use crate::bounds::resolve;
use crate::direction::{Direction, Read, ReadWrite, Write};
use crate::mmap::Memory;
use crate::{DmaBuf, Error, Guard, ReadGuard, ReadWriteGuard, WriteGuard};

/// What can be mapped and bracketed: a descriptor to map, and the calls that begin and end.
///
/// Everything that is both is `Mappable`: a [`DmaBuf`], and an exporter's buffer in the same
/// process. The descriptor's file has the buffer's size and shows its bytes on the CPU's side.
pub trait Mappable: AsFd + CpuAccess<Error: Into<io::Error>> {}

impl<B: AsFd + CpuAccess<Error: Into<io::Error>>> Mappable for B {}

/// How a buffer is to be mapped. By default: all of it, for loads and stores.
#[derive(Clone, Debug)]
pub struct MapOptions {
    bounds: (Bound<u64>, Bound<u64>),
    read_only: bool,
}

impl MapOptions {
    /// The whole buffer, for loads and stores.
    pub fn new() -> MapOptions {
        MapOptions { bounds: (Bound::Unbounded, Bound::Unbounded), read_only: false }
    }

    /// Only these bytes of the buffer: `..4096`, `8192..`. They need not be aligned. Address space
    /// is taken from the buffer's first byte to the range's end, memory only where it is touched.
    pub fn range(mut self, range: impl RangeBounds<u64>) -> MapOptions {
        self.bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        self
    }

    /// Loads only, as a descriptor needs that is not open for writing.
    pub fn read_only(mut self) -> MapOptions {
        self.read_only = true;
        self
    }
}

impl Default for MapOptions {
    fn default() -> MapOptions {
        MapOptions::new()
    }
}

/// A buffer's bytes in this process's address space, until it is dropped.
///
/// They are reached through guards: [`read`](Mapping::read), [`write`](Mapping::write) and
/// [`read_write`](Mapping::read_write) begin a bracket over a range of **offsets in the buffer**,
/// also if only a part of it is mapped; `..` is all that is mapped. Guards borrow the mapping, so
/// nothing is unmapped inside of a bracket. They may overlap and nest, in one thread or several.
pub struct Mapping<B: Mappable = DmaBuf> {
    /// The buffer's bytes from 0 to the end of `range`.
    memory: Memory,
    range: Range,
    writable: bool,
    failed_end: Mutex<Option<Error>>,
    buffer: B,
}

impl<B: Mappable> Mapping<B> {
    /// Maps a buffer.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyRange`] and [`Error::OutOfBounds`] for a range that is not in the buffer, and
    /// the reasons of `mmap(2)`: [`Error::Unmappable`], [`Error::AccessMode`], [`Error::Sealed`],
    /// [`Error::NoRoom`], [`Error::Locked`], [`Error::Map`].
    pub fn new(buffer: B, options: &MapOptions) -> Result<Mapping<B>, Error> {
        let stat = rustix::fs::fstat(&buffer).map_err(|errno| Error::Inspect(errno.into()))?;
        let size = stat.st_size.try_into().unwrap_or(0);
        let whole = Range::new(0, size).map_err(|_| Error::EmptyRange)?;
        let range = resolve(&options.bounds, whole)?;
        let writable = !options.read_only;
        let refused = |errno| Error::from_mmap(errno, range.end());
        let len = isize::try_from(range.end()).map_err(|_| refused(rustix::io::Errno::NOMEM))?;
        let memory = Memory::map(buffer.as_fd(), len.unsigned_abs(), writable).map_err(refused)?;
        buffer.mapped(memory.address().addr(), 0, memory.len());
        Ok(Mapping { memory, range, writable, failed_end: Mutex::new(None), buffer })
    }

    /// The whole buffer, where its bytes are mapped already, for loads and stores; `None` if there
    /// are none.
    pub(crate) fn of_memory(buffer: B, memory: Memory) -> Option<Mapping<B>> {
        let range = Range::new(0, memory.len() as u64).ok()?;
        buffer.mapped(memory.address().addr(), 0, memory.len());
        Some(Mapping { memory, range, writable: true, failed_end: Mutex::new(None), buffer })
    }

    /// The buffer.
    pub fn buffer(&self) -> &B {
        &self.buffer
    }

    /// Which of the buffer's bytes are mapped.
    pub fn range(&self) -> Range {
        self.range
    }

    /// Begins a bracket of loads over a range of the buffer.
    ///
    /// Waits for devices that write to it; EINTR and EAGAIN are restarted.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyRange`] and [`Error::OutOfBounds`] for a range that is not mapped,
    /// [`Error::Begin`] from the exporter.
    pub fn read(&self, range: impl RangeBounds<u64>) -> Result<ReadGuard<'_, B>, Error> {
        self.begin::<Read>(range)
    }

    /// Begins a bracket of stores over a range of the buffer, of which every byte is to be stored
    /// to: a byte that is not is undefined afterwards.
    ///
    /// # Errors
    ///
    /// As [`read`](Mapping::read), and [`Error::ReadOnlyMapping`].
    pub fn write(&self, range: impl RangeBounds<u64>) -> Result<WriteGuard<'_, B>, Error> {
        self.begin::<Write>(range)
    }

    /// Begins a bracket of loads and stores over a range of the buffer.
    ///
    /// # Errors
    ///
    /// As [`write`](Mapping::write).
    pub fn read_write(&self, range: impl RangeBounds<u64>) -> Result<ReadWriteGuard<'_, B>, Error> {
        self.begin::<ReadWrite>(range)
    }

    /// The last error with which the bracket of a *dropped* guard did not end, once; a guard that
    /// is ended by [`Guard::end`] returns its own.
    pub fn take_failed_end(&self) -> Option<Error> {
        // A poisoned lock holds a whole value all the same: it is only ever replaced.
        self.failed_end.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }

    pub(crate) fn note_failed_end(&self, error: Error) {
        *self.failed_end.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(error);
    }

    /// The address of the byte at `offset` in the buffer, which must be mapped.
    pub(crate) fn address_of(&self, offset: u64) -> *mut u8 {
        self.memory.address().wrapping_add(offset as usize)
    }

    fn begin<D: Direction>(&self, range: impl RangeBounds<u64>) -> Result<Guard<'_, B, D>, Error> {
        Guard::begin(self, self.accessible::<D>(range)?)
    }

    /// The bytes that a bracket may be begun over.
    pub(crate) fn accessible<D: Direction>(
        &self,
        range: impl RangeBounds<u64>,
    ) -> Result<Range, Error> {
        if D::ACCESS.writes() && !self.writable {
            return Err(Error::ReadOnlyMapping);
        }
        resolve(&range, self.range)
    }
}

impl<B: Mappable> fmt::Debug for Mapping<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("memory", &self.memory)
            .field("range", &self.range)
            .field("writable", &self.writable)
            .finish_non_exhaustive()
    }
}

impl<B: Mappable> Drop for Mapping<B> {
    fn drop(&mut self) {
        self.buffer.unmapping(self.memory.address().addr());
    }
}
