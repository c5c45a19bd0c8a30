//! What the programs in Rust share: a buffer, from what the command line names, its mapping, and
//! brackets; by rustix, whose system calls pass by libc.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::{self, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::ioctl::{self, Opcode, Setter, Updater, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap};

pub const PAGE: usize = 4096;
pub const SIZE: usize = 16 * PAGE;

pub const READ: u64 = 1;
pub const WRITE: u64 = 2;
pub const START: u64 = 0;
pub const END: u64 = 4;

#[repr(C)]
struct HeapAllocation {
    len: u64,
    fd: u32,
    fd_flags: u32,
    heap_flags: u64,
}

#[repr(C)]
struct UdmabufCreate {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

const HEAP_ALLOC: Opcode = opcode::read_write::<HeapAllocation>(b'H', 0);
const UDMABUF_CREATE: Opcode = opcode::write::<UdmabufCreate>(b'u', 0x42);

/// A new buffer.
pub fn open_buffer() -> OwnedFd {
    let path = std::env::args().nth(1).expect("usage: PROGRAM BUFFER");
    let access = OFlags::RDWR | OFlags::CLOEXEC;
    if !path.starts_with("/dev/") {
        let file = fs::open(path, access | OFlags::CREATE, Mode::RUSR | Mode::WUSR).unwrap();
        fs::ftruncate(&file, SIZE as u64).unwrap();
        return file;
    }
    let device = fs::open(&path, access, Mode::empty()).unwrap();
    if path == "/dev/udmabuf" { of_memory_file(&device) } else { of_heap(&device) }
}

fn of_heap(heap: &OwnedFd) -> OwnedFd {
    let fd_flags = (OFlags::RDWR | OFlags::CLOEXEC).bits();
    let mut allocation = HeapAllocation { len: SIZE as u64, fd: 0, fd_flags, heap_flags: 0 };
    // SAFETY: The number encodes the size of the struct, which the kernel reads and writes, and the
    // descriptor in it is new.
    unsafe {
        ioctl::ioctl(heap, Updater::<HEAP_ALLOC, _>::new(&mut allocation)).unwrap();
        OwnedFd::from_raw_fd(allocation.fd as i32)
    }
}

fn of_memory_file(device: &OwnedFd) -> OwnedFd {
    let memfd =
        fs::memfd_create("corpus", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
    fs::ftruncate(&memfd, SIZE as u64).unwrap();
    fs::fcntl_add_seals(&memfd, SealFlags::SHRINK).unwrap();
    let memfd = memfd.as_raw_fd() as u32;
    let create = UdmabufCreate { memfd, flags: 1, offset: 0, size: SIZE as u64 };
    // SAFETY: The number encodes the size of the struct, which the kernel reads, and the descriptor
    // that it answers with is new.
    unsafe { OwnedFd::from_raw_fd(ioctl::ioctl(device, Create(create)).unwrap()) }
}

/// An ioctl whose answer is a descriptor.
struct Create(UdmabufCreate);

// SAFETY: The number and the pointer belong together, and the kernel only reads.
unsafe impl ioctl::Ioctl for Create {
    type Output = i32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        UDMABUF_CREATE
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(
        answer: ioctl::IoctlOutput,
        _: *mut std::ffi::c_void,
    ) -> rustix::io::Result<i32> {
        Ok(answer)
    }
}

/// Its bytes.
pub fn map_buffer(buffer: impl AsFd) -> *mut u8 {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: A new mapping at an address of the kernel's choice.
    unsafe {
        mmap(std::ptr::null_mut(), SIZE, protection, MapFlags::SHARED, buffer, 0).unwrap().cast()
    }
}

/// `DMA_BUF_IOCTL_SYNC`, restarted as linux/dma-buf.h asks. A macro, so that its place in the code is
/// the line of the program that has it.
#[collapse_debuginfo(yes)]
macro_rules! sync {
    ($buffer:expr, $flags:expr) => {
        loop {
            // SAFETY: The number encodes the size of the flags, which the kernel reads.
            match unsafe { rustix::ioctl::ioctl($buffer, Sync::new($flags)) } {
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                result => break result.unwrap(),
            }
        }
    };
}
pub(crate) use sync;

/// The ioctl of [`sync!`].
pub type Sync = Setter<{ opcode::write::<u64>(b'b', 0) }, u64>;

/// The last word of a program that came to its end.
pub fn done() {
    eprintln!("done");
}
