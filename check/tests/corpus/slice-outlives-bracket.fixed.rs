//! Lends a slice for as long as the bracket is open.
#![allow(unsafe_code, dead_code)]

#[path = "corpus.rs"]
mod corpus;

use corpus::*;

fn with_pixels(buffer: &std::os::fd::OwnedFd, bytes: *mut u8, draw: impl FnOnce(&mut [u8])) {
    sync!(buffer, START | WRITE);
    // SAFETY: The size of the mapping, in a bracket, in a program that is alone with its buffer.
    draw(unsafe { std::slice::from_raw_parts_mut(bytes, SIZE) });
    sync!(buffer, END | WRITE);
}

fn main() {
    let buffer = open_buffer();
    with_pixels(&buffer, map_buffer(&buffer), |pixels| {
        pixels.fill(0);
        pixels[PAGE] = 1;
    });
    done();
}
