//! Parses before the bracket.
#![allow(unsafe_code, dead_code)]

#[path = "corpus.rs"]
mod corpus;

use corpus::*;

fn draw(buffer: &std::os::fd::OwnedFd, pixels: *mut u8, colour: &str) -> Result<(), ()> {
    let colour: u8 = colour.parse().map_err(drop)?;
    sync!(buffer, START | WRITE);
    // SAFETY: The size of the mapping.
    unsafe { pixels.write_bytes(colour, SIZE) }
    sync!(buffer, END | WRITE);
    Ok(())
}

fn main() {
    let buffer = open_buffer();
    let pixels = map_buffer(&buffer);
    assert!(draw(&buffer, pixels, "17").is_ok());
    assert!(draw(&buffer, pixels, "red").is_err());
    done();
}
