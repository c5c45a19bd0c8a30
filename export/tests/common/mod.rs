//! A mapping of a buffer's CPU side, with loads and stores of this process as a program does them.
#![allow(dead_code, unsafe_code)]

use std::ffi::c_void;
use std::sync::Arc;

use dmabuf_core::{CpuAccess, Owner, Range};
use dmabuf_export::mappings::Watched;
use dmabuf_export::{Buffer, CpuSide, Heap, HeapKind, Mappings};
use rustix::mm::{MapFlags, ProtFlags};

pub const PAGE: u64 = 4096;

pub fn range(start: u64, end: u64) -> Range {
    Range::between(start, end).unwrap()
}

pub fn whole(buffer: &Buffer) -> Range {
    range(0, buffer.size())
}

pub const ME: Owner = Owner(1);
pub const OTHER: Owner = Owner(2);

/// The heaps whose buffers can be mapped.
pub const MAPPABLE: [HeapKind; 4] =
    [HeapKind::Coherent, HeapKind::Bounce, HeapKind::Tracked, HeapKind::Checked];

pub fn allocate(kind: HeapKind, pages: u64) -> Buffer {
    Heap::new(kind).allocate(pages * PAGE).unwrap()
}

/// Whether this kernel tells which pages were stored to; says so if it does not.
pub fn kernel_watches() -> bool {
    let watched = Arc::new(Watched::new());
    let mappings: Arc<dyn Mappings> = Arc::clone(&watched) as _;
    let buffer = Heap::new(HeapKind::Tracked).reserve(0).unwrap().allocate(PAGE, mappings).unwrap();
    let _mapping = Mapping::new(&buffer);
    let knows = watched.knows();
    if !knows {
        eprintln!("skipped: this kernel has no asynchronous write-protection (Linux 6.7 has)");
    }
    knows
}

/// Bytes of a buffer, mapped for reading and writing, and the buffer told of it.
#[derive(Debug)]
pub struct Mapping {
    cpu: CpuSide,
    address: *mut c_void,
    range: Range,
}

impl Mapping {
    pub fn new(buffer: &Buffer) -> Mapping {
        Mapping::of(buffer, whole(buffer))
    }

    /// Maps whole pages.
    pub fn of(buffer: &Buffer, range: Range) -> Mapping {
        let mapping = Mapping::untold(buffer, range);
        mapping.cpu.mapped(mapping.address as usize, range.start(), range.len() as usize);
        mapping
    }

    /// Maps it and tells nobody.
    pub fn untold(buffer: &Buffer, range: Range) -> Mapping {
        let cpu = buffer.cpu().unwrap();
        // SAFETY: The kernel chooses the address, so no memory that is in use is replaced.
        let address = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                range.len() as usize,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &cpu,
                range.start(),
            )
        };
        Mapping { cpu, address: address.unwrap(), range }
    }

    fn at(&self, offset: u64) -> *mut u8 {
        assert!(self.range.contains(Range::new(offset, 1).unwrap()));
        self.address.cast::<u8>().wrapping_add((offset - self.range.start()) as usize)
    }

    pub fn store(&self, range: Range, value: u8) {
        for offset in range.start()..range.end() {
            // SAFETY: `at` checks that it is in the mapping, which is there until `self` is dropped.
            unsafe { self.at(offset).write_volatile(value) };
        }
    }

    pub fn load(&self, range: Range) -> Vec<u8> {
        let load = |offset| {
            // SAFETY: As in `store`.
            unsafe { self.at(offset).read_volatile() }
        };
        (range.start()..range.end()).map(load).collect()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.cpu.unmapping(self.address as usize);
        // SAFETY: It is the mapping that `untold` made, and nobody keeps a pointer into it.
        unsafe { rustix::mm::munmap(self.address, self.range.len() as usize) }.unwrap();
    }
}
