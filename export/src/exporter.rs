//! What an exporter implements.
//!
//! The review of 2012 asks that the access ops be optional only where mmap is not implemented. Here
//! that is a type: an exporter says [`NoCpuAccess`] or [`Bracketed`], and `Bracketed` requires
//! [`CpuExporter`], in which mmap, begin and end come together and have no defaults.

use std::io;
use std::os::fd::BorrowedFd;

use dmabuf_core::plan::{Memory, Run};

/// The owner of a buffer's memory.
pub trait Exporter: Send + Sync + 'static {
    /// Whether programs can map the memory: [`NoCpuAccess`], or [`Bracketed`].
    type Cpu: CpuMode<Self>;

    /// The exporter's name, at most 31 bytes: what fdinfo calls `exp_name`.
    fn name(&self) -> &str;

    /// Bytes, a multiple of the page size; never changes.
    fn size(&self) -> u64;

    /// What lies between the CPU's view and the devices'; never changes.
    fn memory(&self) -> Memory;

    /// The memory that devices access. Offsets in it are what an attachment's segments name.
    fn device_memory(&self) -> BorrowedFd<'_>;
}

/// CPU access to an exporter's memory. Whoever offers the first of these offers all three.
///
/// The framework plans and an exporter acts: it carries out the runs it is given, of whatever
/// operation, and nothing else.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can be mapped, but has no begin and end",
    note = "say `type Cpu = NoCpuAccess` if only devices reach the memory"
)]
pub trait CpuExporter: Send + Sync {
    /// The memory that programs map.
    fn mmap(&self) -> BorrowedFd<'_>;

    /// Hands the bytes of `runs` to the CPU: after this, mappings show what devices wrote.
    fn begin_cpu_access(&self, runs: &mut dyn Iterator<Item = Run>) -> io::Result<()>;

    /// Hands the bytes of `runs` to devices: after this, they see what the CPU stored.
    fn end_cpu_access(&self, runs: &mut dyn Iterator<Item = Run>) -> io::Result<()>;
}

/// [`NoCpuAccess`] or [`Bracketed`].
pub trait CpuMode<E: ?Sized>: sealed::Sealed {
    /// The CPU access of `exporter`, if it has any.
    fn cpu(exporter: &E) -> Option<&dyn CpuExporter>;
}

/// The memory cannot be mapped: only devices reach it.
#[derive(Debug)]
pub enum NoCpuAccess {}

/// The memory can be mapped, and accesses are bracketed.
#[derive(Debug)]
pub enum Bracketed {}

impl<E: ?Sized> CpuMode<E> for NoCpuAccess {
    fn cpu(_: &E) -> Option<&dyn CpuExporter> {
        None
    }
}

impl<E: CpuExporter> CpuMode<E> for Bracketed {
    fn cpu(exporter: &E) -> Option<&dyn CpuExporter> {
        Some(exporter)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::NoCpuAccess {}
    impl Sealed for super::Bracketed {}
}

/// An exporter of any type, as a buffer holds it.
pub(crate) trait AnyExporter: Send + Sync {
    fn name(&self) -> &str;
    fn size(&self) -> u64;
    fn device_memory(&self) -> BorrowedFd<'_>;
    fn cpu(&self) -> Option<&dyn CpuExporter>;
}

impl<E: Exporter> AnyExporter for E {
    fn name(&self) -> &str {
        Exporter::name(self)
    }

    fn size(&self) -> u64 {
        Exporter::size(self)
    }

    fn device_memory(&self) -> BorrowedFd<'_> {
        Exporter::device_memory(self)
    }

    fn cpu(&self) -> Option<&dyn CpuExporter> {
        E::Cpu::cpu(self)
    }
}
