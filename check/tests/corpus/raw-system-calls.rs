//! Draws after the end of a bracket, and looks before the next one. No call passes libc's wrappers.
#![allow(unsafe_code, dead_code)]

#[path = "corpus.rs"]
mod corpus;

use corpus::*;

fn main() {
    let buffer = open_buffer();
    let pixels = map_buffer(&buffer);

    sync!(&buffer, START | WRITE);
    for i in 0..SIZE {
        // SAFETY: Inside of the mapping.
        unsafe { *pixels.add(i) = 1 }
    }
    sync!(&buffer, END | WRITE);
    // SAFETY: Inside of the mapping.
    unsafe { *pixels.add(PAGE) = 2 } // expect: outside-write

    let mut sum = 0_usize;
    for i in 0..SIZE {
        // SAFETY: Inside of the mapping.
        sum += usize::from(unsafe { *pixels.add(i) }); // expect: outside-read
    }
    assert!(sum >= SIZE);
    done();
}
