//! From what a caller writes as a range to bytes that are there.

use std::ops::{Bound, RangeBounds};

use dmabuf_core::Range;

use crate::Error;

/// The bytes that `bounds` names inside of `within`; an open end is that of `within`.
pub(crate) fn resolve(bounds: &impl RangeBounds<u64>, within: Range) -> Result<Range, Error> {
    let start = match bounds.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => within.start(),
    };
    let end = match bounds.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => within.end(),
    };
    if start < within.start() || end > within.end() || start > within.end() {
        let within = within.start()..within.end();
        return Err(Error::OutOfBounds { start, end, within });
    }
    Range::between(start, end).map_err(|_| Error::EmptyRange)
}

/// The place of `len` bytes from `offset` on, among `size`; a copy of no bytes is one, too.
pub(crate) fn place(offset: u64, len: usize, size: usize) -> Result<usize, Error> {
    let end = offset.saturating_add(len as u64);
    // A size is at most isize::MAX, so an end that saturated is past it.
    if end <= size as u64 {
        Ok(offset as usize)
    } else {
        Err(Error::OutOfBounds { start: offset, end, within: 0..size as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(bounds: impl RangeBounds<u64>) -> Result<(u64, u64), Option<std::ops::Range<u64>>> {
        match resolve(&bounds, Range::between(10, 20).expect("not empty")) {
            Ok(range) => Ok((range.start(), range.end())),
            Err(Error::OutOfBounds { start, end, .. }) => Err(Some(start..end)),
            Err(Error::EmptyRange) => Err(None),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn open_ends_are_those_of_what_is_there() {
        assert_eq!(pair(..), Ok((10, 20)));
        assert_eq!(pair(12..), Ok((12, 20)));
        assert_eq!(pair(..12), Ok((10, 12)));
        assert_eq!(pair(12..=19), Ok((12, 20)));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        assert_eq!(pair(9..12), Err(Some(9..12)));
        assert_eq!(pair(12..21), Err(Some(12..21)));
        assert_eq!(pair(12..=20), Err(Some(12..21)));
        assert!(matches!(pair(30..), Err(Some(_))));
        assert_eq!(pair(0..=u64::MAX), Err(Some(0..u64::MAX)));
        assert_eq!(pair(12..12), Err(None));
        #[allow(clippy::reversed_empty_ranges)]
        let backwards = 15..12;
        assert_eq!(pair(backwards), Err(None));
    }

    #[test]
    fn places_do_not_overflow() {
        assert_eq!(place(4, 4, 8).ok(), Some(4));
        assert_eq!(place(8, 0, 8).ok(), Some(8));
        assert!(place(5, 4, 8).is_err());
        assert!(place(u64::MAX, 1, 8).is_err());
        assert!(place(u64::MAX - 3, usize::MAX, 8).is_err());
    }
}
