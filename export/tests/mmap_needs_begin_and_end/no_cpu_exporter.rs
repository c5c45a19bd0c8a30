use std::os::fd::{BorrowedFd, OwnedFd};

use dmabuf_core::plan::Memory;
use dmabuf_export::{Bracketed, Exporter};

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

fn main() {}
