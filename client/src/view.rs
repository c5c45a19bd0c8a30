//! The bytes of an open bracket.
//!
//! This module holds the promise of soundness: memory that others may store to at any time is
//! reached by [`copy`](crate::copy) and by volatile accesses, never through a reference.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of_val};
use std::ops::RangeBounds;
use std::slice;

use dmabuf_core::Range;

use crate::bounds::{place, resolve};
use crate::direction::{Direction, Loads, Read, ReadWrite, Stores};
use crate::{Error, Mappable, Mapping, Plain, RowLayout, Rows, copy};

/// Bytes of a buffer inside of a bracket: of a whole [`Guard`](crate::Guard), of a part, of a row.
///
/// **Offsets count in bytes from the view's own first byte**, like a slice's. A view of direction
/// [`Read`](crate::Read) cannot store and one of [`Write`](crate::Write) cannot load.
///
/// Loads and stores are not synchronized with anyone's: bytes that somebody else stores to at the
/// same time may come out torn, but it is never undefined behaviour.
#[derive(Debug)]
pub struct View<'a, D: Direction> {
    /// # Invariants
    ///
    /// `len` bytes from here are mapped during `'a`, writable if `D` stores, at most `isize::MAX`,
    /// and no reference to any of them exists that safe code made.
    address: *mut u8,
    len: usize,
    bracket: PhantomData<(&'a (), D)>,
}

// SAFETY: The memory belongs to the process, and every access is one that may race.
unsafe impl<D: Direction> Send for View<'_, D> {}
// SAFETY: As above.
unsafe impl<D: Direction> Sync for View<'_, D> {}

impl<'a, D: Direction> View<'a, D> {
    /// The bytes of a range that lies in the mapping.
    pub(crate) fn of_mapping<B: Mappable>(mapping: &'a Mapping<B>, range: Range) -> View<'a, D> {
        View {
            address: mapping.address_of(range.start()),
            len: range.len() as usize,
            bracket: PhantomData,
        }
    }

    /// The number of bytes: never zero, so there is no `is_empty`.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// A part of the bytes.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyRange`] and [`Error::OutOfBounds`].
    pub fn slice(&self, range: impl RangeBounds<u64>) -> Result<View<'_, D>, Error> {
        let whole = Range::new(0, self.len()).map_err(|_| Error::EmptyRange)?;
        let part = resolve(&range, whole)?;
        Ok(self.part(part.start() as usize, part.len() as usize))
    }

    /// The rows of a picture, each a view of its own.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyRange`] for rows without bytes, [`Error::OutOfBounds`] if a row is not inside.
    pub fn rows(&self, layout: RowLayout) -> Result<Rows<'_, D>, Error> {
        Rows::new(self, layout)
    }

    /// The `len` bytes from `offset` on, which must be inside.
    pub(crate) fn part(&self, offset: usize, len: usize) -> View<'_, D> {
        debug_assert!(offset <= self.len && len <= self.len - offset);
        View { address: self.address.wrapping_add(offset), len, bracket: PhantomData }
    }

    /// The address of the first byte. It is for loads inside of the bracket, by whoever knows what
    /// accesses the memory can bear.
    pub fn as_ptr(&self) -> *const u8 {
        self.address
    }
}

impl<'a> View<'a, Read> {
    /// Memory of this process, to compare with a buffer's.
    pub(crate) fn of_own(memory: &'a mut [u8]) -> View<'a, Read> {
        View { address: memory.as_mut_ptr(), len: memory.len(), bracket: PhantomData }
    }
}

impl<D: Loads> View<'_, D> {
    /// Copies bytes out, from `offset` on, until `into` is full.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`]; then nothing is copied.
    pub fn copy_to<T: Plain>(&self, offset: u64, into: &mut [T]) -> Result<(), Error> {
        let len = size_of_val(into);
        let from = self.address.wrapping_add(place(offset, len, self.len)?);
        // SAFETY: `place` found `len` bytes here, mapped; `into` has as many, and takes any bytes
        // because `T` is plain.
        unsafe { copy::load(from, into.as_mut_ptr().cast(), len) };
        Ok(())
    }

    /// Copies the first bytes out by streaming loads, until `into` is full; `false` if this
    /// processor, or where the bytes are, does not allow it.
    pub(crate) fn stream_to(&self, into: &mut [u8]) -> bool {
        // SAFETY: The view has as many bytes as `into` takes, mapped.
        into.len() <= self.len
            && unsafe { copy::stream(self.address, into.as_mut_ptr(), into.len()) }
    }

    /// All the bytes, copied out.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        // SAFETY: The view's bytes are mapped, the vector has room for them, and `load` fills it.
        unsafe {
            copy::load(self.address, bytes.as_mut_ptr(), self.len);
            bytes.set_len(self.len);
        }
        bytes
    }

    /// Loads a number in the machine's byte order. It need not be aligned; if it is, it is loaded
    /// at once, in one piece where the machine can.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`].
    pub fn load<T: Plain>(&self, offset: u64) -> Result<T, Error> {
        let at = place(offset, size_of::<T>(), self.len)?;
        let from = self.address.wrapping_add(at).cast::<T>();
        if from.is_aligned() {
            // SAFETY: `place` found the bytes here, mapped and aligned, and any are a `T`.
            return Ok(unsafe { from.read_volatile() });
        }
        let mut number = MaybeUninit::<T>::uninit();
        // SAFETY: As above, but for the alignment, which `load` does not need; it fills `number`.
        unsafe {
            copy::load(from.cast(), number.as_mut_ptr().cast(), size_of::<T>());
            Ok(number.assume_init())
        }
    }

    /// The bytes as a slice.
    ///
    /// # Safety
    ///
    /// While the slice is used nobody stores to the bytes: no device, no process, no other guard
    /// of this one. Brackets alone do not promise that; whoever drives the devices may.
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: The bytes are mapped as long as the view is, and the caller promises the rest.
        unsafe { slice::from_raw_parts(self.address, self.len) }
    }
}

impl<D: Stores> View<'_, D> {
    /// Copies all of `from` in, to `offset` and on.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`]; then nothing is copied.
    pub fn copy_from<T: Plain>(&self, offset: u64, from: &[T]) -> Result<(), Error> {
        let len = size_of_val(from);
        let into = self.address.wrapping_add(place(offset, len, self.len)?);
        // SAFETY: `place` found `len` bytes here, mapped and writable; `from` has as many, all
        // initialized because `T` is plain.
        unsafe { copy::store(from.as_ptr().cast(), into, len) };
        Ok(())
    }

    /// Stores a number in the machine's byte order. It need not be aligned; if it is, it is stored
    /// at once, in one piece where the machine can.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`].
    pub fn store<T: Plain>(&self, offset: u64, number: T) -> Result<(), Error> {
        let at = place(offset, size_of::<T>(), self.len)?;
        let into = self.address.wrapping_add(at).cast::<T>();
        if into.is_aligned() {
            // SAFETY: `place` found the bytes here, mapped, writable and aligned.
            unsafe { into.write_volatile(number) };
            return Ok(());
        }
        // SAFETY: As above, but for the alignment, which `store` does not need.
        unsafe { copy::store((&raw const number).cast(), into.cast(), size_of::<T>()) };
        Ok(())
    }

    /// Stores one value to every byte.
    pub fn fill(&self, value: u8) {
        // SAFETY: The view's bytes are mapped and writable.
        unsafe { copy::fill(self.address, value, self.len) };
    }

    /// The address of the first byte. It is for stores inside of the bracket, by whoever knows
    /// what accesses the memory can bear.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.address
    }
}

impl View<'_, ReadWrite> {
    /// The bytes as a mutable slice.
    ///
    /// # Safety
    ///
    /// While the slice is used nobody else loads from the bytes or stores to them: no device, no
    /// process, no other guard or view of this one.
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: The bytes are mapped and writable as long as the view is, and the caller
        // promises the rest.
        unsafe { slice::from_raw_parts_mut(self.address, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::direction::Write;

    /// Memory that stands for a mapping: a view of it, and what it holds.
    struct Bytes(Vec<u8>);

    impl Bytes {
        fn counted(len: usize) -> Bytes {
            Bytes((0..len).map(|i| (i * 7 + i / 256) as u8).collect())
        }

        fn view<D: Direction>(&mut self) -> View<'_, D> {
            let len = self.0.len();
            View { address: self.0.as_mut_ptr(), len, bracket: PhantomData }
        }
    }

    // Lengths around every border of the copies, more often than any others.
    fn length() -> impl Strategy<Value = usize> {
        let longest = if cfg!(miri) { 300 } else { 20_000_usize };
        prop_oneof![0..300_usize, 0..longest]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 20 } else { 2000 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn copies_out_are_the_bytes_whatever_the_alignment(
            at in 0..130_usize, to in 0..130_usize, len in length(),
        ) {
            let mut memory = Bytes::counted(at + len + 1);
            let expected = memory.0[at..at + len].to_vec();
            let mut into = vec![0xaa; to + len + 130];
            memory.view::<Read>().copy_to(at as u64, &mut into[to..to + len]).unwrap();
            prop_assert_eq!(&into[to..to + len], &expected);
            prop_assert!(into[..to].iter().chain(&into[to + len..]).all(|&byte| byte == 0xaa));
        }

        #[test]
        fn copies_in_are_the_bytes_and_touch_no_others(
            at in 0..130_usize, from in 0..130_usize, len in length(),
        ) {
            let source = Bytes::counted(from + len).0;
            let mut memory = Bytes(vec![0xaa; at + len + 130]);
            memory.view::<Write>().copy_from(at as u64, &source[from..]).unwrap();
            prop_assert_eq!(&memory.0[at..at + len], &source[from..]);
            let (before, after) = (&memory.0[..at], &memory.0[at + len..]);
            prop_assert!(before.iter().chain(after).all(|&byte| byte == 0xaa));
        }

        #[test]
        fn fill_stores_to_every_byte_and_no_other(
            at in 0..130_usize, len in length(), value: u8,
        ) {
            let len = len + 1;
            let mut memory = Bytes(vec![!value; at + len + 130]);
            let part = at as u64..(at + len) as u64;
            memory.view::<Write>().slice(part).unwrap().fill(value);
            prop_assert!(memory.0[at..at + len].iter().all(|&byte| byte == value));
            let (before, after) = (&memory.0[..at], &memory.0[at + len..]);
            prop_assert!(before.iter().chain(after).all(|&byte| byte == !value));
        }

        #[test]
        fn numbers_are_the_bytes_in_the_machines_order(at in 0..40_usize, number: u64) {
            let mut memory = Bytes(vec![0; 48]);
            let view = memory.view::<ReadWrite>();
            view.store(at as u64, number).unwrap();
            prop_assert_eq!(view.load::<u64>(at as u64).unwrap(), number);
            let mut halves = [0_u32; 2];
            view.copy_to(at as u64, &mut halves).unwrap();
            prop_assert_eq!(view.load::<u32>(at as u64).unwrap(), halves[0]);
            prop_assert_eq!(&memory.0[at..at + 8], number.to_ne_bytes());
        }
    }

    #[test]
    fn streaming_copies_out_are_the_bytes_too() {
        let mut memory = Bytes::counted(64 * 6);
        let expected = memory.0.clone();
        let view = memory.view::<Read>();
        let at = (64 - view.as_ptr().addr() % 64) % 64;
        let view = view.slice(at as u64..).unwrap();
        let mut into = [0; 64 * 5];
        if !view.stream_to(&mut into) {
            println!("skipped: this processor has no streaming loads");
            return;
        }
        assert_eq!(into, expected[at..at + into.len()]);
        assert!(!view.stream_to(&mut [0; 65]), "not a whole number of lines");
        assert!(!view.stream_to(&mut [0; 64 * 7]), "more than there is");
        assert!(!view.slice(1..).unwrap().stream_to(&mut [0; 64]), "not where a line begins");
    }

    #[test]
    fn what_is_past_the_end_is_refused_and_not_touched() {
        let mut memory = Bytes(vec![1; 16]);
        let view = memory.view::<ReadWrite>();
        let mut nine = [0_u8; 9];
        assert!(matches!(
            view.copy_to(8, &mut nine),
            Err(Error::OutOfBounds { start: 8, end: 17, within }) if within == (0..16)
        ));
        assert!(view.copy_from(8, &nine).is_err());
        assert!(view.copy_from(u64::MAX, &nine).is_err());
        assert!(view.load::<u64>(9).is_err());
        assert!(view.store(13, 0_u32).is_err());
        assert!(view.slice(16..).is_err());
        assert!(view.slice(4..17).is_err());
        assert!(view.copy_to::<u8>(16, &mut []).is_ok(), "no bytes are always there");
        assert_eq!(nine, [0; 9]);
        assert_eq!(memory.0, [1; 16]);
    }

    #[test]
    fn a_part_counts_from_its_own_start() {
        let mut memory = Bytes::counted(100);
        let expected = memory.0[30..40].to_vec();
        let view = memory.view::<Read>();
        let part = view.slice(20..60).unwrap();
        assert_eq!(part.slice(10..20).unwrap().to_vec(), expected);
        assert_eq!(part.load::<u8>(10).unwrap(), expected[0]);
        assert_eq!(part.len(), 40);
    }

    #[test]
    fn slices_are_the_memory_itself() {
        let mut memory = Bytes::counted(64);
        let mut view = memory.view::<ReadWrite>();
        let address = view.as_ptr();
        // SAFETY: Nobody else knows the memory.
        let slice = unsafe { view.as_mut_slice() };
        slice[5] = 99;
        assert_eq!(slice.as_ptr(), address);
        // SAFETY: As above.
        assert_eq!(unsafe { view.as_slice() }[5], 99);
        assert_eq!(view.load::<u8>(5).unwrap(), 99);
    }
}
