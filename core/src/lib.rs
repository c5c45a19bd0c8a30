//! The rules of bracketed access to a dma-buf: what a bracket is, and what has to be done about
//! caches when one begins or ends.
//!
//! A *bracket* is the time between beginning and ending a CPU access. This crate decides; it never
//! acts: no I/O, no allocation, no unsafe code, no dependency. The homes of the exporters (the
//! in-process heaps, the file system, the Linux module) hold the memory, ask here which runs of it
//! to clean or to invalidate, and do that.
//!
//! | module | what it holds |
//! |---|---|
//! | [`access`] | the direction of an access |
//! | [`range`] | a run of bytes, and the granule in which caches move them |
//! | [`ledger`] | who has which bracket open |
//! | [`tracker`] | for each granule, on which side its newest bytes are |
//! | [`plan`] | the runs to clean or invalidate |
//! | [`cost`] | when a cheaper way is the better one |
//! | [`cpu_access`] | the trait through which guards begin and end |
//!
//! The kernel module compiles these files as they are (Kbuild defines `MODULE`), so they name each
//! other with `super::` and keep to Rust 1.85 in the 2021 edition.
#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

pub mod access;
mod bitmap;
pub mod cost;
pub mod cpu_access;
pub mod ledger;
pub mod plan;
pub mod range;
pub mod tracker;

pub use self::access::Access;
pub use self::cost::CostModel;
pub use self::cpu_access::CpuAccess;
pub use self::ledger::{Bracket, Ledger, Owner};
pub use self::plan::Plan;
pub use self::range::{Granule, Range, RangeError};
pub use self::tracker::Tracker;
