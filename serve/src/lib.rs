//! dma-buf heaps as a file system.
//!
//! | path | what it is |
//! |---|---|
//! | `MOUNT/<heap>/` | a heap: creating a file in it and giving it its size with ftruncate(2), once, allocates a buffer |
//! | `MOUNT/<heap>/<name>` | a buffer's CPU side: mmap(2) and the ioctls of `dmabuf-uapi` work on it |
//! | `MOUNT/device/<heap>/<name>` | its device side: opening attaches a device, a read is a DMA read of the buffer, a write a DMA write |
//! | `MOUNT/stats.json` | what happened on each buffer |
//!
//! A buffer that is unlinked has no name any more; its memory is free when its last file descriptor
//! and its last mapping are gone.
//!
//! How programs' stores are seen: `coherent` and `bounce` are mapped by FUSE passthrough, which is
//! the memory itself, where the kernel and the privileges allow that; everything else goes through
//! the kernel's page cache, of which `page_cache` makes the framework's
//! [`Mappings`](dmabuf_export::Mappings). A page fault then arrives here as a read with the process
//! that faulted, stored-to pages are written back, and taking a page out of the cache is the PTE
//! shoot-down.
//!
//! A program that maps a buffer must not be the process that serves it: the fault holds the address
//! space's lock while the server wants memory.

mod filesystem;
mod handle;
mod ioctl;
mod kernel;
mod mount;
mod owner;
mod page_cache;
mod report;
mod service;
mod shared;
mod tree;
mod workers;

pub use dmabuf_export as export;
pub use service::{Error, Options, run};
