//! One memory for both sides: a bracket has nothing to do.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use dmabuf_core::plan::{self, Run};

use crate::exporter::{Bracketed, CpuExporter, Exporter};
use crate::memory::Memory;

#[derive(Debug)]
pub(super) struct Coherent {
    pub(super) memory: Memory,
    pub(super) size: u64,
}

impl Exporter for Coherent {
    type Cpu = Bracketed;

    fn name(&self) -> &str {
        "coherent"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn memory(&self) -> plan::Memory {
        plan::Memory::Coherent
    }

    fn device_memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl CpuExporter for Coherent {
    fn mmap(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    fn begin_cpu_access(&self, _: &mut dyn Iterator<Item = Run>) -> io::Result<()> {
        Ok(())
    }

    fn end_cpu_access(&self, _: &mut dyn Iterator<Item = Run>) -> io::Result<()> {
        Ok(())
    }
}
