// SPDX-License-Identifier: GPL-2.0

//! What the `kernel` crate does not have yet: safe interfaces for exporters of dma-bufs.
//!
//! All `unsafe` of the module is in this folder. What is above it is told by types what it may do.
//!
//! | file | what it stands for |
//! |---|---|
//! | `dma_buf.rs` | `include/linux/dma-buf.h`, the exporter's side |
//! | `dma_heap.rs` | `include/linux/dma-heap.h` |
//! | `pages.rs` | the memory of a buffer |
//! | `sg.rs` | that memory as one device sees it: `include/linux/scatterlist.h`, `dma-mapping.h` |
//! | `uapi.rs` | the structs of `/dev/dmabuf` as bytes |
//! | `vma.rs` | mappings of a buffer into processes, and their page faults |
//! | `mm.rs` | which process it is |
//! | `misc.rs` | a misc device whose files share data |
//! | `param.rs` | a module parameter that is a string |

pub(crate) mod dma_buf;
pub(crate) mod dma_heap;
pub(crate) mod misc;
pub(crate) mod mm;
pub(crate) mod pages;
pub(crate) mod param;
pub(crate) mod sg;
mod uapi;
pub(crate) mod vma;
