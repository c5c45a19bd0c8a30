//! `/dev/dmabuf-importer`, an emulated device that imports dma-bufs of any exporter:
//! `include/dmabuf.h` of this crate.
//!
//! An open file is one attachment. While its buffer is mapped, `pread(2)` and `pwrite(2)` are what
//! the device does by DMA: they reach the bytes at the addresses that the DMA API gave, which are not
//! the buffer's own where DMA bounces. Both stop at the buffer's end. EINVAL if nothing is mapped,
//! EACCES against the direction.

use super::{
    access::DMA_BUF_ACCESS_BASE,
    ioctl::{io, iow},
};

/// The device's place.
pub const DMABUF_IMPORTER: &str = "/dev/dmabuf-importer";

/// Attaches a dma-buf, whose descriptor is the argument: `dma_buf_attach`. EBUSY if one is attached,
/// EBADF for a descriptor that is not open, EINVAL for a file that is no dma-buf, and what the exporter
/// answers.
pub const DMABUF_IMPORTER_ATTACH: u32 = iow::<i32>(DMA_BUF_ACCESS_BASE, 0x20);

/// Maps the attached buffer: `dma_buf_map_attachment`. The argument is what the device does with it:
/// `DMA_BUF_SYNC_READ`, `DMA_BUF_SYNC_WRITE`, or both; EINVAL for anything else, and if there is none
/// attached. EBUSY if it is mapped, and what the exporter answers.
pub const DMABUF_IMPORTER_MAP: u32 = iow::<u32>(DMA_BUF_ACCESS_BASE, 0x21);

/// Unmaps it: `dma_buf_unmap_attachment`. EINVAL if it is not mapped. Closing the file unmaps and
/// detaches.
pub const DMABUF_IMPORTER_UNMAP: u32 = io(DMA_BUF_ACCESS_BASE, 0x22);
