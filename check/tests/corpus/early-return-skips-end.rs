//! Parses in the middle of a bracket; a `?` leaves it open.
#![allow(unsafe_code, dead_code)]

#[path = "corpus.rs"]
mod corpus;

use corpus::*;

fn draw(buffer: &std::os::fd::OwnedFd, pixels: *mut u8, colour: &str) -> Result<(), ()> {
    sync!(buffer, START | WRITE); // expect: start-without-end
    let colour: u8 = colour.parse().map_err(drop)?;
    // SAFETY: The size of the mapping.
    unsafe { pixels.write_bytes(colour, SIZE) }
    sync!(buffer, END | WRITE);
    Ok(())
}

fn main() {
    // Open until the program ends.
    let buffer = std::mem::ManuallyDrop::new(open_buffer());
    let pixels = map_buffer(&*buffer);
    assert!(draw(&buffer, pixels, "17").is_ok());
    assert!(draw(&buffer, pixels, "red").is_err());
    done();
}
