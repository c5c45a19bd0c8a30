//! Draws in a bracket and looks in another. No call passes libc's wrappers.
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

    let mut sum = 0_usize;
    sync!(&buffer, START | READ);
    for i in 0..SIZE {
        // SAFETY: Inside of the mapping.
        sum += usize::from(unsafe { *pixels.add(i) });
    }
    sync!(&buffer, END | READ);
    assert_eq!(sum, SIZE);
    done();
}
