use std::os::fd::{BorrowedFd, OwnedFd};

use dmabuf_core::plan::{Memory, Run};
use dmabuf_export::{Bracketed, CpuExporter, Exporter};

struct Mine(OwnedFd);

impl Exporter for Mine {
    type Cpu = Bracketed;

    fn name(&self) -> &str {
        "mine"
    }

    fn size(&self) -> u64 {
        4096
    }

    fn memory(&self) -> Memory {
        Memory::Coherent
    }

    fn device_memory(&self) -> BorrowedFd<'_> {
        unimplemented!()
    }
}

impl CpuExporter for Mine {
    fn mmap(&self) -> BorrowedFd<'_> {
        unimplemented!()
    }

    fn end_cpu_access(&self, _: &mut dyn Iterator<Item = Run>) -> std::io::Result<()> {
        Ok(())
    }
}

fn main() {}
