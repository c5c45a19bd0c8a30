//! Hands out a slice from inside of a bracket, which is kept for longer.
#![allow(unsafe_code, dead_code)]

#[path = "corpus.rs"]
mod corpus;

use corpus::*;

/// The pixels; as if they were this program's alone.
fn pixels(buffer: &std::os::fd::OwnedFd, bytes: *mut u8) -> &'static mut [u8] {
    sync!(buffer, START | WRITE);
    // SAFETY: None: this is the mistake.
    let pixels = unsafe { std::slice::from_raw_parts_mut(bytes, SIZE) };
    pixels.fill(0);
    sync!(buffer, END | WRITE);
    pixels
}

fn main() {
    let buffer = open_buffer();
    let pixels = pixels(&buffer, map_buffer(&buffer));
    pixels[PAGE] = 1; // expect: outside-write
    done();
}
