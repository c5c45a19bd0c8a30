// SPDX-License-Identifier: GPL-2.0

//! What every buffer does, whichever heap it is from. No `unsafe` here.
//!
//! A bracket walks through it like this: `dma_buf.rs` of the abstractions, or `node.rs`, calls
//! [`buffer::Buffer`], which asks the rules (`../core`) for the runs of bytes to sync and syncs them
//! for the devices that need it.
//!
//! # Locks
//!
//! `bracket` is held while a bracket begins or ends, and while a device's mapping comes or goes. A page
//! fault never takes it. `state` is held to look, and for as long as it takes to sync a page or shoot
//! pages down: a store that is being let through and one that is being harvested cannot miss each
//! other. The order is: the kernel's reservation lock, or its mmap lock; `bracket`; `state`; the lock
//! of a [`Table`](crate::abstractions::sg::Table), or of the log.

pub(crate) mod brackets;
pub(crate) mod buffer;
pub(crate) mod device_only;
pub(crate) mod log;
pub(crate) mod node;
pub(crate) mod tracking;
