//! What crosses the boundary between a program and an exporter of dma-bufs: ioctl numbers, the
//! structs they carry, flags, magic numbers.
//!
//! Only what a user-space program may know is here; what an exporter keeps to itself is not.
//! Constants bear the kernel's own names, structs the kernel's names in Rust's spelling
//! (`struct dma_buf_sync` is [`DmaBufSync`]). Everything is plain data: this crate makes no system
//! call, and decides nothing about what a bracket does.
//!
//! | file | the header it mirrors |
//! |---|---|
//! | `ioctl.rs` | `asm-generic/ioctl.h`: how an ioctl's number is put together |
//! | `dma_buf.rs` | `linux/dma-buf.h`, and the vendor kernels' `SYNC_PARTIAL` |
//! | `access.rs` | `include/dmabuf.h` of this crate: the argument-less brackets, the capability query, the brackets with a 64-bit range |
//! | `device.rs` | the same file: the module's `/dev/dmabuf` |
//! | `importer.rs` | `include/dmabuf.h` of this crate: the kernel module that imports |
//! | `dma_heap.rs` | `linux/dma-heap.h` |
//! | `udmabuf.rs` | `linux/udmabuf.h` |
//! | `sync_file.rs` | `linux/sync_file.h` |
//! | `drm.rs` | of `drm/drm.h`, `drm/drm_mode.h` and `drm/vgem_drm.h` what is about buffers |
//! | `videodev2.rs` | of `linux/videodev2.h` what is about frames with one plane for each buffer |
//!
//! C programs include `include/dmabuf.h` for what the system's headers do not have. A test compares
//! every number, size and offset of this crate with both.
//!
//! The kernel module may compile these files as they are (Kbuild defines `MODULE`), so they name
//! each other with `super::`.
#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

mod access;
mod device;
mod dma_buf;
mod dma_heap;
mod drm;
mod importer;
mod ioctl;
mod sync_file;
mod udmabuf;
mod videodev2;

pub use self::access::*;
pub use self::device::*;
pub use self::dma_buf::*;
pub use self::dma_heap::*;
pub use self::drm::*;
pub use self::importer::*;
pub use self::ioctl::*;
pub use self::sync_file::*;
pub use self::udmabuf::*;
pub use self::videodev2::*;
