//! The trait through which a guard brackets a CPU's accesses.

use super::{Access, Range};

/// Something whose memory a program has mapped and must bracket its accesses to.
///
/// A dma-buf's file descriptor implements it with ioctls, an in-process buffer with plain calls;
/// the client's guards work over either. Implementations promise the contract of the design: after
/// `begin_cpu_access` returns, loads from the range see every device write that completed before;
/// after `end_cpu_access` of a writing bracket returns, devices see every store to the range.
pub trait CpuAccess {
    /// Why a bracket could not be begun or ended.
    type Error;

    /// Begins a bracket; waits for device accesses in flight that conflict with it.
    ///
    /// No byte may be touched when this fails.
    fn begin_cpu_access(&self, access: Access, range: Range) -> Result<(), Self::Error>;

    /// Ends a bracket that was begun with the same access and range.
    fn end_cpu_access(&self, access: Access, range: Range) -> Result<(), Self::Error>;

    /// Tells that the program has mapped the buffer's bytes from `offset` on, `len` of them, at
    /// `address` in its own address space. An exporter that finds the touched pages in the page
    /// tables needs to know; the others ignore it.
    fn mapped(&self, address: usize, offset: u64, len: usize) {
        let _ = (address, offset, len);
    }

    /// Tells that the mapping at `address` is about to go.
    fn unmapping(&self, address: usize) {
        let _ = address;
    }
}
