//! Whether a page is mapped uncached, found out by time: the kernel copies it into a pipe, as it
//! copies a page of the engine's own. A page that cannot be read fails there, and traps nowhere.

use super::sys::{self, PAGE, Pipe};

/// How often each is copied, in turn: each time has to say the same, since a processor that does
/// something else meanwhile makes any copy slow.
const ROUNDS: usize = 8;
/// A copy that takes so many times as long is not from the cache.
const TIMES: u64 = 8;
/// Nor is one of a page within a cache that takes so many nanoseconds.
const AT_LEAST: u64 = 8_000;

/// Whether it is; false if that cannot be found out.
pub fn is(page: usize) -> bool {
    let (Ok(pipe), Ok(own)) = (Pipe::new(), sys::allocate(PAGE)) else { return false };
    let is_slower = |_| match (time(&pipe, own, own), time(&pipe, page, own)) {
        (Some(cached), Some(this)) => this > AT_LEAST && this > TIMES * cached,
        _ => false,
    };
    let is_uncached = (0..ROUNDS).all(is_slower);
    sys::release(own, PAGE);
    is_uncached
}

fn time(pipe: &Pipe, page: usize, own: usize) -> Option<u64> {
    let start = sys::now();
    let copied = pipe.write(page, PAGE);
    let time = sys::now().saturating_sub(start);
    (copied == Ok(PAGE) && pipe.read(own, PAGE) == Ok(PAGE)).then_some(time)
}
