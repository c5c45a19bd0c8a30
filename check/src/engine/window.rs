//! Where the engine maps buffers: a part of the address space that nothing else is in, so that a
//! filter can tell a pointer to a buffer by comparing it.
//!
//! It is below the lowest address at which the kernel begins to map libraries (1 TiB below the top,
//! by address space randomisation), in what AddressSanitizer, MemorySanitizer and ThreadSanitizer
//! take for a program's own memory, and far from where Go and Java put their heaps.

use super::filter::Span;
use super::sys::{self, Errno, PAGE};

/// The first address.
pub const START: usize = 0x7e80_0000_0000;
/// The address after the last: 256 GiB.
pub const END: usize = 0x7ec0_0000_0000;
/// Buffers are mapped below this address; above it are the pages of those that nobody may access.
pub const MIDDLE: usize = START + (END - START) / 2;
/// All of it for a filter.
pub const SPAN: Span = Span::of(START, END);

/// Whether an address is in it.
pub const fn holds(address: usize) -> bool {
    START <= address && address < END
}

/// Where the pages of a mapping are while nobody may access it; `None` if the engine has not chosen
/// where it is.
pub const fn aside(start: usize, end: usize) -> Option<usize> {
    if START <= start && end <= MIDDLE { Some(start + (MIDDLE - START)) } else { None }
}

/// Mappings of nothing, at the window's end, so many that the kernel moves pages once they are gone:
/// it moves none in a process that has almost as many mappings as it may have.
const SPARE: usize = END - 16 * PAGE;

/// Makes the spare mappings, apart from each other so that they stay as many.
pub fn make_spare() -> Result<(), Errno> {
    (SPARE..END).step_by(2 * PAGE).try_for_each(|page| sys::reserve(page, PAGE).map(|_| ()))
}

/// Gives them up.
pub fn give_up_spare() {
    sys::release(SPARE, END - SPARE);
}
