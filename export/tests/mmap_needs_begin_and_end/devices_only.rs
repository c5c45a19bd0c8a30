use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use dmabuf_core::plan::Memory;
use dmabuf_export::{Buffer, Error, Exporter, NoCpuAccess, Policy};

struct Mine(File);

impl Exporter for Mine {
    type Cpu = NoCpuAccess;

    fn name(&self) -> &str {
        "mine"
    }

    fn size(&self) -> u64 {
        1 << 16
    }

    fn memory(&self) -> Memory {
        Memory::Coherent
    }

    fn device_memory(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn main() {
    let memory = File::open("/dev/zero").unwrap();
    let buffer = Buffer::export(Mine(memory), Policy::Hints).unwrap();
    assert!(!buffer.capability().mmap);
    assert!(matches!(buffer.cpu(), Err(Error::NotMappable)));
}
