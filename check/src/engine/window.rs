//! Where the engine maps buffers: a part of the address space that nothing else is in, so that a
//! filter can tell a pointer to a buffer by comparing it.
//!
//! It is below the lowest address at which the kernel begins to map libraries (1 TiB below the top,
//! by address space randomisation), in what AddressSanitizer, MemorySanitizer and ThreadSanitizer
//! take for a program's own memory, and far from where Go and Java put their heaps.

use super::filter::Span;

/// The first address.
pub const START: usize = 0x7e80_0000_0000;
/// The address after the last: 256 GiB.
pub const END: usize = 0x7ec0_0000_0000;
/// The same for a filter.
pub const SPAN: Span = Span::of(START, END);

/// Whether an address is in it.
pub const fn holds(address: usize) -> bool {
    START <= address && address < END
}
