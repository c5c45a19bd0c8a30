//! Programs' mappings of a buffer: what stands between their loads and stores and the memory that
//! an exporter hands to devices.
//!
//! [`Direct`] mappings are of that memory itself. [`Watched`] ones too, but in the page tables of
//! this process it is seen which pages were stored to. A file system has a page cache in between,
//! and brings its own [`Mappings`].

mod watched;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use dmabuf_core::{Granule, Range};

use crate::buffer::Policy;

pub use watched::Watched;

/// What the framework asks of the mappings of one buffer.
///
/// It calls none of these while it holds a lock that [`Buffer::fault`](crate::Buffer::fault) or
/// [`Buffer::store`](crate::Buffer::store) take, so they may wait for faults and for write-back.
pub trait Mappings: Send + Sync {
    /// Brings what programs have stored to `range` so far into the CPU-side memory. Runs that were
    /// found by looking come back, in whole pages or not; stores that arrived by `Buffer::store` are
    /// known already.
    fn write_back(&self, range: Range) -> io::Result<Vec<Range>>;

    /// Shows programs what `memory`, the CPU-side memory, holds in `range`.
    fn refresh(&self, range: Range, memory: BorrowedFd<'_>) -> io::Result<()>;

    /// Takes `range` out of the page tables: the next access to a page faults. What was stored to it
    /// is written back first.
    fn shoot_down(&self, range: Range) -> io::Result<()>;

    /// The granule of a cache that these mappings put in front of the memory.
    fn cache(&self) -> Option<Granule>;

    /// Whether `write_back` gives only what was stored to. Where it does not, a range comes back whole
    /// to be on the safe side, and says nothing about who stored where.
    fn knows(&self) -> bool {
        true
    }

    /// Whether faults call `Buffer::fault`.
    fn faults(&self) -> bool;

    /// See [`CpuAccess::mapped`](dmabuf_core::CpuAccess::mapped).
    fn mapped(&self, address: usize, offset: u64, len: usize);

    /// See [`CpuAccess::unmapping`](dmabuf_core::CpuAccess::unmapping).
    fn unmapping(&self, address: usize);
}

/// The mappings of a buffer that is used in this process: watched where its policy wants to know.
pub(crate) fn in_process(policy: Policy) -> Arc<dyn Mappings> {
    match policy {
        Policy::Hints => Arc::new(Direct),
        Policy::Tracked | Policy::Checked => Arc::new(Watched::new()),
    }
}

/// Mappings of the memory itself, at which nobody looks.
#[derive(Clone, Copy, Debug)]
pub struct Direct;

impl Mappings for Direct {
    fn write_back(&self, _: Range) -> io::Result<Vec<Range>> {
        Ok(Vec::new())
    }

    fn refresh(&self, _: Range, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    fn shoot_down(&self, _: Range) -> io::Result<()> {
        Ok(())
    }

    fn cache(&self) -> Option<Granule> {
        None
    }

    fn faults(&self) -> bool {
        false
    }

    fn mapped(&self, _: usize, _: u64, _: usize) {}

    fn unmapping(&self, _: usize) {}
}
