//! An open bracket: it begins with the guard and ends with it, whatever happens in between.

use std::fmt;
use std::io;
use std::ops::{Deref, RangeBounds};
use std::thread;

use dmabuf_core::Range;

use crate::direction::{Direction, Read, ReadWrite, Write};
use crate::{DmaBuf, Error, Mappable, Mapping, View};

/// A bracket of loads.
pub type ReadGuard<'m, B = DmaBuf> = Guard<'m, B, Read>;
/// A bracket of stores.
pub type WriteGuard<'m, B = DmaBuf> = Guard<'m, B, Write>;
/// A bracket of loads and stores.
pub type ReadWriteGuard<'m, B = DmaBuf> = Guard<'m, B, ReadWrite>;

/// An open bracket over a range of a mapped buffer, and by `Deref` the [`View`] of its bytes.
///
/// [`end`](Guard::end) ends it and tells whether that failed. Dropping the guard ends it as well,
/// also when a panic unwinds; what fails then is kept for [`Mapping::take_failed_end`]. A guard
/// that is leaked ([`std::mem::forget`]) leaves its bracket open until the process ends.
///
/// The direction is in the type, so a store in a bracket of loads does not compile:
///
/// ```compile_fail,E0599
/// # fn f(mapping: &dmabuf::Mapping) -> Result<(), dmabuf::Error> {
/// mapping.read(..)?.store(0, 1_u8)?;
/// # Ok(()) }
/// ```
///
/// nor does a load in a bracket of stores:
///
/// ```compile_fail,E0599
/// # fn f(mapping: &dmabuf::Mapping) -> Result<(), dmabuf::Error> {
/// mapping.write(..)?.load::<u8>(0)?;
/// # Ok(()) }
/// ```
///
/// nor unmapping inside of one:
///
/// ```compile_fail,E0505
/// # fn f(mapping: dmabuf::Mapping) -> Result<(), dmabuf::Error> {
/// let guard = mapping.read(..)?;
/// drop(mapping);
/// # guard.end() }
/// ```
///
/// nor keeping a part of its bytes when it has ended:
///
/// ```compile_fail,E0505
/// # fn f(mapping: &dmabuf::Mapping) -> Result<u8, dmabuf::Error> {
/// let guard = mapping.read(..)?;
/// let part = guard.slice(..16)?;
/// guard.end()?;
/// # part.load(0) }
/// ```
#[must_use = "the bracket ends when the guard is dropped"]
pub struct Guard<'m, B: Mappable, D: Direction> {
    mapping: &'m Mapping<B>,
    range: Range,
    view: View<'m, D>,
    ended: bool,
}

impl<'m, B: Mappable, D: Direction> Guard<'m, B, D> {
    /// Begins a bracket over a range that is mapped.
    pub(crate) fn begin(mapping: &'m Mapping<B>, range: Range) -> Result<Self, Error> {
        restart(|| mapping.buffer().begin_cpu_access(D::ACCESS, range))
            .map_err(|source| Error::Begin { access: D::ACCESS, range, source })?;
        let view = View::of_mapping(mapping, range);
        Ok(Guard { mapping, range, view, ended: false })
    }

    /// Begins a bracket over each of the parts, or over none: where one does not begin, those
    /// before it are ended.
    ///
    /// # Errors
    ///
    /// As [`Mapping::read_write`].
    pub fn begin_all<R: RangeBounds<u64>>(
        parts: impl IntoIterator<Item = (&'m Mapping<B>, R)>,
    ) -> Result<Vec<Self>, Error> {
        // What is not there is found before any device is waited for.
        let parts = parts
            .into_iter()
            .map(|(mapping, range)| Ok((mapping, mapping.accessible::<D>(range)?)));
        let parts = parts.collect::<Result<Vec<_>, Error>>()?;
        parts.into_iter().map(|(mapping, range)| Guard::begin(mapping, range)).collect()
    }

    /// The bracket's range, in offsets of the buffer. The view's own offsets count from its start.
    pub fn range(&self) -> Range {
        self.range
    }

    /// Ends the bracket; EINTR and EAGAIN are restarted.
    ///
    /// # Errors
    ///
    /// [`Error::End`]: what was stored may not have reached the devices. The bracket is over.
    pub fn end(mut self) -> Result<(), Error> {
        self.end_once()
    }

    fn end_once(&mut self) -> Result<(), Error> {
        self.ended = true;
        let (access, range) = (D::ACCESS, self.range);
        restart(|| self.mapping.buffer().end_cpu_access(access, range))
            .map_err(|source| Error::End { access, range, source })
    }
}

impl<B: Mappable> Guard<'_, B, ReadWrite> {
    /// The bytes as a mutable slice: [`View::as_mut_slice`].
    ///
    /// # Safety
    ///
    /// As [`View::as_mut_slice`].
    #[allow(unsafe_code)]
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: The caller promises what the callee asks for.
        unsafe { self.view.as_mut_slice() }
    }
}

impl<'m, B: Mappable, D: Direction> Deref for Guard<'m, B, D> {
    type Target = View<'m, D>;

    fn deref(&self) -> &View<'m, D> {
        &self.view
    }
}

impl<B: Mappable, D: Direction> fmt::Debug for Guard<'_, B, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("access", &D::ACCESS).field("range", &self.range).finish()
    }
}

impl<B: Mappable, D: Direction> Drop for Guard<'_, B, D> {
    fn drop(&mut self) {
        if !self.ended
            && let Err(error) = self.end_once()
        {
            self.mapping.note_failed_end(error);
        }
    }
}

/// Calls again while a signal or a busy exporter is all that was in the way.
fn restart<E: Into<io::Error>>(call: impl Fn() -> Result<(), E>) -> io::Result<()> {
    loop {
        match call().map_err(E::into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
            result => return result,
        }
    }
}
