//! A run of bytes of a buffer, and the granule in which caches move bytes.

use core::fmt;
use core::num::NonZeroU32;

/// Why a range was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeError {
    /// It holds no byte.
    Empty,
    /// Its end is past 2^64 - 1.
    Overflow,
    /// It ends past the end of the buffer.
    PastEnd,
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RangeError::Empty => "the range is empty",
            RangeError::Overflow => "the range's offset and length overflow",
            RangeError::PastEnd => "the range ends past the end of the buffer",
        })
    }
}

impl core::error::Error for RangeError {}

/// A run of at least one byte of a buffer: `start..end`, in bytes.
///
/// # Invariants
///
/// `start < end`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    start: u64,
    end: u64,
}

impl Range {
    /// The `len` bytes from `offset` on.
    pub const fn new(offset: u64, len: u64) -> Result<Range, RangeError> {
        if len == 0 {
            return Err(RangeError::Empty);
        }
        match offset.checked_add(len) {
            Some(end) => Ok(Range { start: offset, end }),
            None => Err(RangeError::Overflow),
        }
    }

    /// The bytes `start..end`.
    pub const fn between(start: u64, end: u64) -> Result<Range, RangeError> {
        if start < end {
            Ok(Range { start, end })
        } else {
            Err(RangeError::Empty)
        }
    }

    /// The first byte's offset.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// One past the last byte's offset.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// The number of bytes: never zero, so there is no `is_empty`.
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// The range itself, if it lies in a buffer of `size` bytes.
    pub const fn within(self, size: u64) -> Result<Range, RangeError> {
        if self.end <= size {
            Ok(self)
        } else {
            Err(RangeError::PastEnd)
        }
    }

    /// The bytes in both, if there are any.
    pub const fn intersect(self, other: Range) -> Option<Range> {
        let start = if self.start > other.start { self.start } else { other.start };
        let end = if self.end < other.end { self.end } else { other.end };
        if start < end {
            Some(Range { start, end })
        } else {
            None
        }
    }

    /// The smallest range that holds both.
    pub const fn hull(self, other: Range) -> Range {
        let start = if self.start < other.start { self.start } else { other.start };
        let end = if self.end > other.end { self.end } else { other.end };
        Range { start, end }
    }

    /// The bytes before and behind `hole`, where there are any.
    pub fn without(self, hole: Range) -> impl Iterator<Item = Range> {
        let before = Range::between(self.start, hole.start.min(self.end));
        let behind = Range::between(hole.end.max(self.start), self.end);
        before.into_iter().chain(behind)
    }

    /// Whether the two share a byte.
    pub const fn overlaps(self, other: Range) -> bool {
        self.intersect(other).is_some()
    }

    /// Whether every byte of `other` is in this range.
    pub const fn contains(self, other: Range) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The smallest run of whole granules that holds the range, cut off at the buffer's `size`,
    /// which the range must lie in.
    pub const fn align_out(self, granule: Granule, size: u64) -> Range {
        let mask = granule.bytes() - 1;
        let start = self.start & !mask;
        // Rounding up overflows only past the end of every buffer there can be.
        let end = match self.end.checked_add(mask) {
            Some(end) if end & !mask < size => end & !mask,
            _ => size,
        };
        Range { start, end }
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

/// The unit in which bytes move between the CPU's side and the devices': a power of two.
///
/// Bytes that share a granule with a range may move along with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Granule(NonZeroU32);

impl Granule {
    /// One byte: copies can be exact.
    pub const BYTE: Granule = Granule(NonZeroU32::MIN);
    /// A page of 4096 bytes, the unit in which page faults tell what was touched.
    pub const PAGE: Granule = match Granule::new(4096) {
        Some(page) => page,
        None => panic!("4096 is a power of two"),
    };

    /// A granule of `bytes`, which must be a power of two.
    pub const fn new(bytes: u32) -> Option<Granule> {
        match NonZeroU32::new(bytes) {
            Some(nonzero) if bytes.is_power_of_two() => Some(Granule(nonzero)),
            _ => None,
        }
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0.get() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_ranges_are_told_apart() {
        assert_eq!(Range::new(7, 0), Err(RangeError::Empty));
        assert_eq!(Range::new(u64::MAX, 1), Err(RangeError::Overflow));
        assert_eq!(Range::new(1, u64::MAX), Err(RangeError::Overflow));
        assert_eq!(Range::new(0, 5).unwrap().within(4), Err(RangeError::PastEnd));
        assert!(Range::new(0, 4).unwrap().within(4).is_ok());
        assert!(Range::new(0, u64::MAX).is_ok());
    }

    #[test]
    fn align_out_covers_whole_granules_and_stops_at_the_size() {
        let range = |start, end| Range::between(start, end).unwrap();
        assert_eq!(range(1, 2).align_out(Granule::PAGE, 10_000), range(0, 4096));
        assert_eq!(range(4095, 4097).align_out(Granule::PAGE, 10_000), range(0, 8192));
        assert_eq!(range(9000, 9001).align_out(Granule::PAGE, 10_000), range(8192, 10_000));
        assert_eq!(range(3, 5).align_out(Granule::BYTE, 10), range(3, 5));
        let top = range(u64::MAX - 1, u64::MAX);
        assert_eq!(top.align_out(Granule::PAGE, u64::MAX), range(u64::MAX - 4095, u64::MAX));
    }

    #[test]
    fn a_hole_leaves_what_is_before_and_behind_it() {
        extern crate std;
        use std::vec::Vec;
        let range = |start, end| Range::between(start, end).unwrap();
        let left = |hole| range(10, 20).without(hole).collect::<Vec<_>>();
        assert_eq!(left(range(12, 15)), [range(10, 12), range(15, 20)]);
        assert_eq!(left(range(0, 15)), [range(15, 20)]);
        assert_eq!(left(range(15, 30)), [range(10, 15)]);
        assert_eq!(left(range(0, 30)), []);
        assert_eq!(left(range(0, 10)), [range(10, 20)]);
        assert_eq!(left(range(20, 30)), [range(10, 20)]);
    }

    #[test]
    fn only_powers_of_two_are_granules() {
        assert!(Granule::new(0).is_none() && Granule::new(48).is_none());
        assert_eq!(Granule::new(64).unwrap().bytes(), 64);
    }
}
