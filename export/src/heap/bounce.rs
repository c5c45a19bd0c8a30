//! Two memories, as on a machine without coherency: what is synced is copied.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use dmabuf_core::plan::{self, Op, Run};

use crate::exporter::{Bracketed, CpuExporter, Exporter};
use crate::memory::Memory;

/// The exporter of `bounce`, and of `tracked` and `checked`, which differ in what is planned.
#[derive(Debug)]
pub(super) struct Bounce {
    pub(super) name: &'static str,
    pub(super) cpu: Memory,
    pub(super) device: Memory,
    pub(super) size: u64,
}

impl Bounce {
    fn sync(&self, runs: &mut dyn Iterator<Item = Run>) -> io::Result<()> {
        for run in runs {
            if run.op != Op::Invalidate {
                self.device.copy_from(&self.cpu, run.range)?;
            }
            if run.op != Op::Clean {
                self.cpu.copy_from(&self.device, run.range)?;
            }
        }
        Ok(())
    }
}

impl Exporter for Bounce {
    type Cpu = Bracketed;

    fn name(&self) -> &str {
        self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn memory(&self) -> plan::Memory {
        plan::Memory::Copies
    }

    fn device_memory(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl CpuExporter for Bounce {
    fn mmap(&self) -> BorrowedFd<'_> {
        self.cpu.as_fd()
    }

    fn begin_cpu_access(&self, runs: &mut dyn Iterator<Item = Run>) -> io::Result<()> {
        self.sync(runs)
    }

    fn end_cpu_access(&self, runs: &mut dyn Iterator<Item = Run>) -> io::Result<()> {
        self.sync(runs)
    }
}
