//! A bitmap with summaries of itself above it, so that the next set bit is found in a few steps
//! however far away it is.
//!
//! Bit `i` of a level says whether word `i` of the level below has a bit set. The top level is one
//! word. All levels lie one behind the other in words that the caller provides.

/// More levels than a bitmap of 2^64 bits needs.
const MAX_LEVELS: usize = 12;

/// Where the levels of a bitmap lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bitmap {
    bits: u64,
    levels: usize,
    /// The first word of each level; behind the last one, the number of words in all.
    offsets: [usize; MAX_LEVELS + 1],
}

impl Bitmap {
    /// The layout of a bitmap of `bits` bits; `None` if its words cannot be counted in a `usize`.
    pub(super) const fn new(bits: u64) -> Option<Bitmap> {
        let mut bitmap = Bitmap { bits, levels: 0, offsets: [0; MAX_LEVELS + 1] };
        let mut level_bits = bits;
        loop {
            let words = level_bits.div_ceil(64);
            if words > usize::MAX as u64 {
                return None;
            }
            let Some(next) = bitmap.offsets[bitmap.levels].checked_add(words as usize) else {
                return None;
            };
            bitmap.levels += 1;
            bitmap.offsets[bitmap.levels] = next;
            if words <= 1 {
                return Some(bitmap);
            }
            level_bits = words;
        }
    }

    /// How many words the caller provides.
    pub(super) const fn words(&self) -> usize {
        self.offsets[self.levels]
    }

    /// Sets the bits `start..end`, of which there is at least one.
    pub(super) fn set(&self, words: &mut [u64], start: u64, end: u64) {
        let (mut first, mut last) = (start, end - 1);
        for level in 0..self.levels {
            self.each_word(level, first, last, |index, mask| words[index] |= mask);
            (first, last) = (first / 64, last / 64);
        }
    }

    /// Clears the bits `start..end`, of which there is at least one.
    pub(super) fn clear(&self, words: &mut [u64], start: u64, end: u64) {
        let (mut first, mut last) = (start, end - 1);
        self.each_word(0, first, last, |index, mask| words[index] &= !mask);
        for level in 1..self.levels {
            let below = self.offsets[level - 1];
            (first, last) = (first / 64, last / 64);
            // Words between the first and the last are empty now; those two may have bits left.
            let last_is_empty = words[below + last as usize] == 0;
            let first_is_empty = words[below + first as usize] == 0;
            let (from, to) = (first + u64::from(!first_is_empty), last + u64::from(last_is_empty));
            if from < to {
                self.each_word(level, from, to - 1, |index, mask| words[index] &= !mask);
            }
        }
    }

    /// The first set bit at or after `from`.
    pub(super) fn next_set(&self, words: &[u64], from: u64) -> Option<u64> {
        let mut from = from;
        for level in 0..self.levels {
            let word = from / 64;
            if word >= (self.offsets[level + 1] - self.offsets[level]) as u64 {
                return None;
            }
            step();
            let left = words[self.offsets[level] + word as usize] & (u64::MAX << (from % 64));
            if left != 0 {
                let mut bit = word * 64 + u64::from(left.trailing_zeros());
                for below in (0..level).rev() {
                    step();
                    let word = words[self.offsets[below] + bit as usize];
                    bit = bit * 64 + u64::from(word.trailing_zeros());
                }
                return Some(bit);
            }
            from = word + 1;
        }
        None
    }

    /// The first clear bit at or after `from`, or the number of bits.
    pub(super) fn next_clear(&self, words: &[u64], from: u64) -> u64 {
        let mut from = from;
        while from < self.bits {
            step();
            let left = !words[(from / 64) as usize] & (u64::MAX << (from % 64));
            if left != 0 {
                return (from / 64 * 64 + u64::from(left.trailing_zeros())).min(self.bits);
            }
            from = (from / 64 + 1) * 64;
        }
        self.bits
    }

    /// Calls `f` with the index and the mask of each word that holds bits `first..=last` of `level`.
    fn each_word(&self, level: usize, first: u64, last: u64, mut f: impl FnMut(usize, u64)) {
        for word in first / 64..=last / 64 {
            let mut mask = u64::MAX;
            if word == first / 64 {
                mask &= u64::MAX << (first % 64);
            }
            if word == last / 64 {
                mask &= u64::MAX >> (63 - last % 64);
            }
            f(self.offsets[level] + word as usize, mask);
        }
    }
}

/// Counts a word that was looked at while searching, for the test that says how few they are.
#[inline]
fn step() {
    #[cfg(test)]
    tests::STEPS.with(|steps| steps.set(steps.get() + 1));
}

#[cfg(test)]
pub(super) mod tests {
    extern crate std;
    use std::cell::Cell;
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    std::thread_local! {
        pub(in super::super) static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    proptest! {
        #[test]
        fn does_what_an_array_of_bools_does(
            bits in 1u64..9_000,
            edits in prop::collection::vec((any::<bool>(), any::<u64>(), any::<u64>()), 1..40),
        ) {
            let bitmap = Bitmap::new(bits).unwrap();
            let mut words = vec![0; bitmap.words()];
            let mut model = vec![false; bits as usize];
            for (set, a, b) in edits {
                let (a, b) = (a % bits, b % bits);
                let (start, end) = (a.min(b), a.max(b) + 1);
                model[start as usize..end as usize].fill(set);
                if set {
                    bitmap.set(&mut words, start, end);
                } else {
                    bitmap.clear(&mut words, start, end);
                }
                let mut seen = Vec::new();
                let mut from = 0;
                while let Some(bit) = bitmap.next_set(&words, from) {
                    let end = bitmap.next_clear(&words, bit);
                    seen.extend(bit..end);
                    from = end;
                }
                let expected: Vec<u64> =
                    (0..bits).filter(|&bit| model[bit as usize]).collect();
                prop_assert_eq!(seen, expected);
            }
        }
    }
}
