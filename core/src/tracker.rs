//! For each granule of a buffer: on which side its newest bytes are.

use core::ops::{Deref, DerefMut};

use super::bitmap::Bitmap;
use super::{Granule, Range};

/// Where the newest bytes of a granule are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// Both sides have the same bytes.
    Equal,
    /// The CPU has stored to it and devices do not see that yet.
    Cpu,
    /// A device has written it and the CPU does not see that yet.
    Device,
}

/// Knows what was written since the two sides were last made equal, so that only that is synced.
///
/// Finding the next granule takes a handful of steps wherever it is: 1 GiB in pages is three levels
/// of bitmap.
#[derive(Clone, Debug)]
pub struct Tracker<S> {
    size: u64,
    granule: Granule,
    bitmap: Bitmap,
    /// The bitmap of what the CPU wrote, then the one of what devices wrote. No bit is set in both.
    words: S,
}

/// How many words a tracker of `size` bytes in granules needs; `None` where that cannot be counted.
pub const fn words(size: u64, granule: Granule) -> Option<usize> {
    match Bitmap::new(size.div_ceil(granule.bytes())) {
        Some(bitmap) => bitmap.words().checked_mul(2),
        None => None,
    }
}

impl<S: Deref<Target = [u64]>> Tracker<S> {
    /// A tracker over `storage`, which must be [`words`] long and zero; `None` if it is not as long.
    pub fn new(size: u64, granule: Granule, storage: S) -> Option<Self> {
        let bitmap = Bitmap::new(size.div_ceil(granule.bytes()))?;
        (size > 0 && storage.len() == words(size, granule)?).then_some(Tracker {
            size,
            granule,
            bitmap,
            words: storage,
        })
    }

    /// The unit in which it knows.
    pub fn granule(&self) -> Granule {
        self.granule
    }

    /// Where the newest bytes of the granule at `offset` are.
    pub fn newest(&self, offset: u64) -> Newest {
        let has = |words| {
            let bit = offset / self.granule.bytes();
            self.bitmap.next_set(words, bit) == Some(bit)
        };
        if has(self.cpu()) {
            Newest::Cpu
        } else if has(self.device()) {
            Newest::Device
        } else {
            Newest::Equal
        }
    }

    /// The runs of granules touching `range` that the CPU wrote last.
    pub fn cpu_newer(&self, range: Range) -> Runs<'_> {
        self.runs(self.cpu(), range)
    }

    /// The runs of granules touching `range` that a device wrote last.
    pub fn device_newer(&self, range: Range) -> Runs<'_> {
        self.runs(self.device(), range)
    }

    fn runs<'a>(&self, words: &'a [u64], range: Range) -> Runs<'a> {
        let (next, end) = self.bits(range);
        Runs { size: self.size, granule: self.granule, bitmap: self.bitmap, words, next, end }
    }

    fn cpu(&self) -> &[u64] {
        &self.words[..self.bitmap.words()]
    }

    fn device(&self) -> &[u64] {
        &self.words[self.bitmap.words()..]
    }

    /// The bits of the granules that `range` touches.
    fn bits(&self, range: Range) -> (u64, u64) {
        debug_assert!(range.end() <= self.size, "the range lies in the buffer");
        (range.start() / self.granule.bytes(), range.end().div_ceil(self.granule.bytes()))
    }
}

impl<S: DerefMut<Target = [u64]>> Tracker<S> {
    /// Writes down that the CPU stored to `range`. The first run that a device had written and the
    /// CPU had not seen comes back: both wrote there at once, which is a program's mistake.
    pub fn cpu_wrote(&mut self, range: Range) -> Option<Range> {
        let conflict = self.device_newer(range).next();
        let (bitmap, (start, end)) = (self.bitmap, self.bits(range));
        let (cpu, device) = self.words.split_at_mut(bitmap.words());
        bitmap.clear(device, start, end);
        bitmap.set(cpu, start, end);
        conflict
    }

    /// Writes down that a device wrote `range`. The first run that the CPU had stored to and devices
    /// had not seen comes back, as from [`Tracker::cpu_wrote`].
    pub fn device_wrote(&mut self, range: Range) -> Option<Range> {
        let conflict = self.cpu_newer(range).next();
        let (bitmap, (start, end)) = (self.bitmap, self.bits(range));
        let (cpu, device) = self.words.split_at_mut(bitmap.words());
        bitmap.clear(cpu, start, end);
        bitmap.set(device, start, end);
        conflict
    }

    /// Writes down that both sides have the same bytes in every granule that `range` touches.
    pub fn synced(&mut self, range: Range) {
        let (bitmap, (start, end)) = (self.bitmap, self.bits(range));
        let (cpu, device) = self.words.split_at_mut(bitmap.words());
        bitmap.clear(cpu, start, end);
        bitmap.clear(device, start, end);
    }
}

/// Runs of granules, as bytes: whole granules, but for the last one of the buffer.
#[derive(Clone, Debug)]
pub struct Runs<'a> {
    size: u64,
    granule: Granule,
    bitmap: Bitmap,
    words: &'a [u64],
    next: u64,
    end: u64,
}

impl Iterator for Runs<'_> {
    type Item = Range;

    fn next(&mut self) -> Option<Range> {
        let start = self.bitmap.next_set(self.words, self.next).filter(|&bit| bit < self.end)?;
        let end = self.bitmap.next_clear(self.words, start).min(self.end);
        self.next = end;
        let bytes = self.granule.bytes();
        Range::between(start * bytes, end.saturating_mul(bytes).min(self.size)).ok()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeMap;
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::super::bitmap::tests::STEPS;
    use super::*;

    fn tracker(size: u64, granule: Granule) -> Tracker<Vec<u64>> {
        Tracker::new(size, granule, vec![0; words(size, granule).unwrap()]).unwrap()
    }

    fn range(start: u64, end: u64) -> Range {
        Range::between(start, end).unwrap()
    }

    #[test]
    fn ten_dirty_pages_in_a_gigabyte_take_tens_of_steps() {
        let mut tracker = tracker(1 << 30, Granule::PAGE);
        for n in 0..10 {
            tracker.cpu_wrote(Range::new(n * 100_000_000 + 12_345, 1).unwrap());
        }
        STEPS.set(0);
        assert_eq!(tracker.cpu_newer(range(0, 1 << 30)).count(), 10);
        assert!(STEPS.get() < 100, "{} steps", STEPS.get());
    }

    #[test]
    fn storage_of_the_wrong_length_is_refused() {
        let needed = words(1 << 20, Granule::PAGE).unwrap();
        assert!(Tracker::new(1 << 20, Granule::PAGE, vec![0; needed - 1]).is_none());
        assert!(Tracker::new(0, Granule::PAGE, vec![0; 0]).is_none());
    }

    #[test]
    fn writes_from_both_sides_to_a_granule_are_told() {
        let mut tracker = tracker(3 * 4096 + 5, Granule::PAGE);
        assert_eq!(tracker.device_wrote(range(100, 200)), None);
        assert_eq!(tracker.cpu_wrote(range(300, 400)), Some(range(0, 4096)));
        assert_eq!(tracker.newest(0), Newest::Cpu);
        assert_eq!(tracker.device_wrote(range(0, 3 * 4096 + 5)), Some(range(0, 4096)));
        assert_eq!(tracker.device_newer(range(0, 1)).next(), Some(range(0, 4096)));
        let last = tracker.device_newer(range(3 * 4096, 3 * 4096 + 1)).next();
        assert_eq!(last, Some(range(3 * 4096, 3 * 4096 + 5)));
    }

    proptest! {
        #[test]
        fn knows_what_a_map_of_granules_knows(
            size in 1u64..3_000,
            shift in 0u32..8,
            events in prop::collection::vec((0u8..3, any::<u64>(), any::<u64>()), 1..30),
        ) {
            let granule = Granule::new(1 << shift).unwrap();
            let mut tracker = tracker(size, granule);
            let mut model = BTreeMap::new();
            for (what, a, b) in events {
                let (a, b) = (a % size, b % size);
                let range = range(a.min(b), a.max(b) + 1);
                let newest = [Newest::Equal, Newest::Cpu, Newest::Device][what as usize];
                let touched = range.start() >> shift..=(range.end() - 1) >> shift;
                let conflict = touched.clone().any(|bit| {
                    let was = *model.get(&bit).unwrap_or(&Newest::Equal);
                    was != Newest::Equal && newest != Newest::Equal && was != newest
                });
                let told = match newest {
                    Newest::Equal => { tracker.synced(range); None }
                    Newest::Cpu => tracker.cpu_wrote(range),
                    Newest::Device => tracker.device_wrote(range),
                };
                prop_assert_eq!(told.is_some(), conflict);
                for bit in touched {
                    model.insert(bit, newest);
                }
                for bit in 0..size.div_ceil(granule.bytes()) {
                    let expected = *model.get(&bit).unwrap_or(&Newest::Equal);
                    prop_assert_eq!(tracker.newest(bit << shift), expected);
                }
            }
        }
    }
}
