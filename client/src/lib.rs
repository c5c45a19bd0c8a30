//! A client for dma-bufs: map a buffer that a device uses too, and access its bytes soundly.
//!
//! A buffer is reached through a file descriptor alone, wherever that came from: a kernel exporter,
//! the dmabuf service, or a plain memfd. Accesses stand in *brackets*, which a guard begins and ends,
//! because on much hardware CPU and device do not see each other's stores otherwise.
//!
//! ```
//! # use std::os::fd::OwnedFd;
//! # let fd: OwnedFd = rustix::fs::memfd_create("frame", rustix::fs::MemfdFlags::CLOEXEC)?;
//! # rustix::fs::ftruncate(&fd, 4096 * 4)?;
//! let buffer = dmabuf::DmaBuf::from_fd(fd)?;
//! println!("{} of {} bytes, {:?}", buffer.kind(), buffer.size(), buffer.capability().mmap);
//! let mapping = buffer.map()?;
//!
//! let pixels = mapping.read_write(4096..8192)?; // begins the bracket
//! pixels.store(0, 0xff00_ff00_u32)?;            // offsets count from the guard's first byte
//! let mut row = [0_u32; 256];
//! pixels.copy_to(1024, &mut row)?;
//! pixels.end()?;                                // or drop it: that ends the bracket as well
//! # assert_eq!(mapping.read(4096..4100)?.load::<u32>(0)?, 0xff00_ff00);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | type | what it is |
//! |---|---|
//! | [`Heap`] | allocates buffers: the kernel's heaps, udmabuf and served heaps alike |
//! | [`DmaBuf`] | a buffer: size, [`Kind`] and [`Capability`], before anything is mapped |
//! | [`Mapping`] | its bytes in this process, made by [`DmaBuf::map`] |
//! | [`Guard`] | an open bracket over a range of them; it ends when dropped, also by a panic |
//! | [`View`] | the bytes: copies, typed loads and stores, rows; never a `&[u8]` without `unsafe` |
//! | [`Bytes`] | copies in and out of a buffer whether it can be mapped or not, by [`Route`]s |
//! | [`SyncFile`] | fences of devices, to wait for, to hand over; a buffer's own: [`DmaBuf::wait`] |
//! | [`Frame`] | planes in buffers, checked, mapped once, and bracketed all or none |
//! | [`Probe`] | what a buffer really is and does, asked and measured, by [`DmaBuf::probe`] |
//! | [`Parcel`] | buffers that go to another program, checked when they arrive |
//! | [`Error`] | which of the reasons it was, and what to do |
//!
//! # Memory that others write
//!
//! A device or another process may store to a buffer at any time. A `&[u8]` to such memory is
//! undefined behaviour, so a [`View`] never gives one: it reaches the memory by volatile accesses and
//! by assembly that the compiler cannot see through, at `memcpy`'s speed. Bytes that others store
//! to at the same time come out torn, never worse.
//!
//! # What this crate does not do
//!
//! It converts no pixels, and lays out no frames: it checks the layouts that drivers and other
//! programs make.
//!
//! # Threads
//!
//! Every public type is [`Send`] and [`Sync`], [`Bytes`], [`Route`] and [`Transfer`] only [`Send`];
//! a [`Mapping`] and its guards as far as their buffer is. Brackets of several threads may overlap
//! and nest.

mod advice;
mod bounds;
mod bracket;
mod buffer;
mod capability;
#[cfg(all(feature = "check", target_arch = "x86_64"))]
pub mod check;
mod copy;
mod device;
mod direction;
mod error;
mod fd_info;
mod fence;
pub mod frame;
mod guard;
pub mod heap;
mod ioctl;
mod kind;
mod mapping;
mod mmap;
pub mod parcel;
mod plain;
pub mod probe;
mod ready;
mod route;
mod rows;
mod sync_file;
mod view;

pub use dmabuf_core::{Access, CpuAccess, Granule, Range};

pub use self::buffer::DmaBuf;
pub use self::capability::{Capability, Mmap};
pub use self::direction::{Direction, Loads, Read, ReadWrite, Stores, Write};
pub use self::error::{Error, RouteFailure};
pub use self::fd_info::FdInfo;
pub use self::fence::Within;
pub use self::frame::Frame;
pub use self::guard::{Guard, ReadGuard, ReadWriteGuard, WriteGuard};
pub use self::heap::{Heap, Udmabuf};
pub use self::kind::Kind;
pub use self::mapping::{MapOptions, Mappable, Mapping};
pub use self::parcel::Parcel;
pub use self::plain::Plain;
pub use self::probe::Probe;
pub use self::ready::Ready;
pub use self::route::{Bytes, Route, Transfer};
pub use self::rows::{RowLayout, Rows};
pub use self::sync_file::{FenceInfo, FenceStatus, SyncFile, SyncFileInfo};
pub use self::view::View;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
