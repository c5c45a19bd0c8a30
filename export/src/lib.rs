//! dma-buf exporters in user space: buffers, attachments, and five heaps.
//!
//! An [`Exporter`] owns memory; a [`Buffer`] is what the framework makes of it, and does everything
//! that exporters would otherwise each do in their own way: it keeps the ledger of brackets, plans
//! what to clean and to invalidate, waits for devices, counts, and finds mistakes. Devices reach a
//! buffer through an [`Attachment`], programs through its [`CpuSide`].
//!
//! ```
//! use dmabuf_core::{Access, CpuAccess, Range};
//! use dmabuf_export::{Heap, HeapKind};
//!
//! let buffer = Heap::new(HeapKind::Bounce).allocate(4096)?;
//! let camera = buffer.attach("camera", Access::Write);
//! camera.write(0, b"a frame")?;
//!
//! let cpu = buffer.cpu()?; // a file descriptor to map, and brackets
//! let frame = Range::new(0, 7)?;
//! cpu.begin_cpu_access(Access::Read, frame)?;
//! // Here loads through a mapping of `cpu` see the frame.
//! cpu.end_cpu_access(Access::Read, frame)?;
//! assert_eq!(buffer.stats().bytes_invalidated, 7);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`exporter`] | what a heap implements, and the rule that mmap needs begin and end |
//! | [`buffer`] | the framework around an exporter |
//! | [`attachment`] | a device's side of a buffer |
//! | [`heap`] | the five heaps |
//! | [`cache`] | cache maintenance by the CPU, for devices that do not see its caches |
//! | [`mappings`] | programs' mappings: where touched pages are found |
//! | [`quota`] | how much a user may have |
//! | [`stats`], [`violation`] | what happened, and what should not have |

pub mod attachment;
pub mod buffer;
pub mod cache;
pub mod error;
pub mod exporter;
mod flight;
pub mod heap;
pub mod mappings;
mod memory;
pub mod quota;
pub mod stats;
pub mod violation;

pub use dmabuf_core::{Access, CpuAccess, Granule, Owner, Range, RangeError};

pub use attachment::{Attachment, DeviceAccess, Segment};
pub use buffer::{Buffer, Capability, CpuSide, Policy};
pub use error::{Error, Result};
pub use exporter::{Bracketed, CpuExporter, Exporter, NoCpuAccess};
pub use heap::{Heap, HeapKind, Reservation};
pub use mappings::Mappings;
pub use quota::{Accounts, Quota};
pub use stats::Stats;
pub use violation::Violation;
