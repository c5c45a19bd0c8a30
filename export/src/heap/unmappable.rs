//! Memory that only devices reach.

use std::os::fd::{AsFd, BorrowedFd};

use dmabuf_core::plan;

use crate::exporter::{Exporter, NoCpuAccess};
use crate::memory::Memory;

#[derive(Debug)]
pub(super) struct Unmappable {
    pub(super) memory: Memory,
    pub(super) size: u64,
}

impl Exporter for Unmappable {
    type Cpu = NoCpuAccess;

    fn name(&self) -> &str {
        "unmappable"
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
