//! Directions as types, so that a read guard has no store to call.

use dmabuf_core::Access;

/// The direction of a guard or a view: [`Read`], [`Write`] or [`ReadWrite`].
pub trait Direction: sealed::Sealed + Send + Sync + 'static {
    /// The same as a value.
    const ACCESS: Access;
}

/// A direction that may load.
pub trait Loads: Direction {}

/// A direction that may store.
pub trait Stores: Direction {}

/// Loads only.
#[derive(Debug)]
pub enum Read {}

/// Stores only. What the bytes were before is given up, so there is nothing to load, and a byte
/// of the bracket's range that is not stored to is undefined afterwards.
#[derive(Debug)]
pub enum Write {}

/// Loads and stores.
#[derive(Debug)]
pub enum ReadWrite {}

impl Direction for Read {
    const ACCESS: Access = Access::Read;
}

impl Direction for Write {
    const ACCESS: Access = Access::Write;
}

impl Direction for ReadWrite {
    const ACCESS: Access = Access::ReadWrite;
}

impl Loads for Read {}
impl Loads for ReadWrite {}
impl Stores for Write {}
impl Stores for ReadWrite {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Read {}
    impl Sealed for super::Write {}
    impl Sealed for super::ReadWrite {}
}
