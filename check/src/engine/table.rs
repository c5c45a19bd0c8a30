//! Vectors with room for so many and no more, in memory that costs nothing until it is used.

#![allow(unsafe_code)]

use core::ops::{Deref, DerefMut};

use super::sys::{self, Errno};

/// A type of which memory that is all zero holds a value.
///
/// # Safety
///
/// It does.
pub unsafe trait Zeroed: Copy {}

/// At most `ROOM` values, one after the other.
pub struct Table<T: Copy, const ROOM: usize> {
    at: *mut T,
    len: usize,
}

// SAFETY: The memory is the table's own.
unsafe impl<T: Copy + Send, const ROOM: usize> Send for Table<T, ROOM> {}

impl<T: Copy, const ROOM: usize> Table<T, ROOM> {
    /// Without memory: nothing can be pushed.
    pub const fn new() -> Self {
        Table { at: core::ptr::null_mut(), len: 0 }
    }

    /// Gets memory, once.
    pub fn prepare(&mut self) -> Result<(), Errno> {
        if self.at.is_null() {
            self.at = sys::allocate(ROOM * size_of::<T>())? as *mut T;
        }
        Ok(())
    }

    /// Adds a value; `None` if there is no room.
    pub fn push(&mut self, value: T) -> Option<usize> {
        if self.at.is_null() || self.len == ROOM {
            return None;
        }
        // SAFETY: There is memory for `ROOM` values, page-aligned.
        unsafe { self.at.add(self.len).write(value) };
        self.len += 1;
        Some(self.len - 1)
    }

    /// Adds a value of zeroes, in memory that has never been used; it never passes by the stack.
    pub fn grow(&mut self) -> Option<usize>
    where
        T: Zeroed,
    {
        if self.at.is_null() || self.len == ROOM {
            return None;
        }
        self.len += 1;
        Some(self.len - 1)
    }

    /// As many values of zeroes as there is room for.
    pub fn fill(&mut self)
    where
        T: Zeroed,
    {
        if !self.at.is_null() {
            self.len = ROOM;
        }
    }

    /// Takes a value away and puts the last one in its place.
    pub fn swap_remove(&mut self, index: usize) {
        let last = self.len - 1;
        self.swap(index, last);
        self.len = last;
    }

    /// Gives the memory back.
    pub fn release(&mut self) {
        if !self.at.is_null() {
            sys::release(self.at as usize, ROOM * size_of::<T>());
            *self = Table::new();
        }
    }

    /// Takes all away.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl<T: Copy, const ROOM: usize> Deref for Table<T, ROOM> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        if self.at.is_null() {
            return &[];
        }
        // SAFETY: So many values have been written.
        unsafe { core::slice::from_raw_parts(self.at, self.len) }
    }
}

impl<T: Copy, const ROOM: usize> DerefMut for Table<T, ROOM> {
    fn deref_mut(&mut self) -> &mut [T] {
        if self.at.is_null() {
            return &mut [];
        }
        // SAFETY: As above.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.len) }
    }
}
