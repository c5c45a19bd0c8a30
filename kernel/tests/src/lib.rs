//! What the tests of the kernel module share: its buffers, its devices, and processes that use them.
//!
//! The tests are programs for a machine that has the module, or may load it: `cargo xtask kernel
//! test` builds it, boots machines and runs them there. Elsewhere they fail.

mod buffer;
mod importer;
pub mod machine;
pub mod module;
mod program;
mod records;
mod sys;

pub use buffer::{Buffer, HEAPS};
pub use importer::Importer;
pub use program::Program;
pub use records::{KernelLog, Records};
pub use sys::{
    Child, Ended, Map, alone_with_its_mounts, become_nobody, in_a_fork, interrupt_after, ioctl,
    page,
};

/// The flags of `DMA_BUF_IOCTL_SYNC` that begin and end brackets.
#[allow(missing_docs, reason = "their names say it")]
pub mod flags {
    use dmabuf_uapi::*;

    pub const START_READ: u64 = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ;
    pub const START_WRITE: u64 = DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE;
    pub const START_RW: u64 = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW;
    pub const END_READ: u64 = DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ;
    pub const END_WRITE: u64 = DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE;
    pub const END_RW: u64 = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
}
