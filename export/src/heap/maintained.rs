//! One memory behind the CPU's own caches: what is synced is cleaned or invalidated line by line.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use dmabuf_core::plan::{self, Run};

use crate::cache::{CachedMapping, Maintenance};
use crate::error::Result;
use crate::exporter::{Bracketed, CpuExporter, Exporter};
use crate::memory::{self, Memory};

/// The other memory of `bounce`: for a user-space driver whose device does not see the CPU's caches.
///
/// ```no_run
/// use dmabuf_export::{Buffer, Policy, cache::Maintenance, heap::Maintained};
///
/// let maintenance = Maintenance::detect().ok_or("this CPU lets no program maintain its caches")?;
/// let buffer = Buffer::export(Maintained::allocate(1 << 20, maintenance)?, Policy::Hints)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Maintained {
    memory: Memory,
    mapping: CachedMapping,
    maintenance: Maintenance,
    size: u64,
}

impl Maintained {
    /// Memory of `size` bytes, a multiple of the page size, zero.
    pub fn allocate(size: u64, maintenance: Maintenance) -> Result<Maintained> {
        memory::check_size(size, size)?;
        let memory = Memory::new("bounce")?;
        memory.allocate(size)?;
        memory.seal()?;
        let mapping = CachedMapping::new(&memory, size, maintenance)?;
        Ok(Maintained { memory, mapping, maintenance, size })
    }
}

impl Exporter for Maintained {
    type Cpu = Bracketed;

    fn name(&self) -> &str {
        "bounce"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn memory(&self) -> plan::Memory {
        plan::Memory::Caches { line: self.maintenance.line() }
    }

    fn device_memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl CpuExporter for Maintained {
    fn mmap(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    fn begin_cpu_access(&self, runs: &mut dyn Iterator<Item = Run>) -> io::Result<()> {
        self.mapping.sync(runs)
    }

    fn end_cpu_access(&self, runs: &mut dyn Iterator<Item = Run>) -> io::Result<()> {
        self.mapping.sync(runs)
    }
}

#[cfg(test)]
mod tests {
    use dmabuf_core::{Access, CpuAccess, Granule, Range};

    use super::*;
    use crate::buffer::{Buffer, Policy};

    #[test]
    fn brackets_maintain_whole_lines_of_the_range() {
        let Some(maintenance) = Maintenance::detect() else {
            return eprintln!("skipped: this CPU lets no program maintain its caches");
        };
        let exporter = Maintained::allocate(1 << 16, maintenance).unwrap();
        let buffer = Buffer::export(exporter, Policy::Hints).unwrap();
        let line = maintenance.line();
        assert_eq!(buffer.capability().granule, line);
        assert!(line > Granule::BYTE);

        let camera = buffer.attach("camera", Access::ReadWrite);
        camera.write(0, b"frame").unwrap();
        let before = buffer.stats();
        let cpu = buffer.cpu().unwrap();
        let range = Range::new(line.bytes() - 1, 2).unwrap();
        cpu.begin_cpu_access(Access::ReadWrite, range).unwrap();
        let begun = buffer.stats();
        assert_eq!(begun.bytes_invalidated - before.bytes_invalidated, 2 * line.bytes());
        rustix::io::pwrite(&cpu, b"xy", range.start()).unwrap();
        cpu.end_cpu_access(Access::ReadWrite, range).unwrap();
        let ended = buffer.stats();
        assert_eq!(ended.bytes_cleaned - begun.bytes_cleaned, 2 * line.bytes());

        let mut seen = [0; 2];
        camera.read(range.start(), &mut seen).unwrap();
        assert_eq!(&seen, b"xy");
    }
}
