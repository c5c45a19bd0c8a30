//! Compares copies through a view with `ptr::copy_nonoverlapping`, at many lengths.
//!
//! `cargo run --release -p dmabuf --example copy_speed`
//!
//! Prints time against time: 1.00 is memcpy's. The memory is a memfd, mapped once.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

const LARGEST: usize = 8 << 20;

/// The shortest of many rounds of `copies` copies: what the machine can do undisturbed.
fn shortest(copies: usize, mut copy: impl FnMut()) -> Duration {
    let round = || {
        let start = Instant::now();
        (0..copies).for_each(|_| copy());
        start.elapsed()
    };
    std::iter::repeat_with(round).take(15).min().unwrap_or_default()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let fd: OwnedFd = memfd_create("copy_speed", MemfdFlags::CLOEXEC)?;
    ftruncate(&fd, LARGEST as u64)?;
    let mapping = dmabuf::DmaBuf::from_fd(fd)?.map()?;
    let guard = mapping.read_write(..)?;
    guard.fill(1);
    let mut own = vec![2_u8; LARGEST];

    println!("{:>9}  {:>5}  {:>5}  {:>5}", "bytes", "out", "in", "fill");
    for len in (6..=23).map(|shift| 1_usize << shift) {
        let copies = (LARGEST / len).clamp(4, 20_000);
        let shared = guard.as_mut_ptr();
        let view = guard.slice(..len as u64)?;
        // SAFETY: Both have `len` bytes, and nobody else uses either here.
        let plain_out = shortest(copies, || unsafe {
            std::ptr::copy_nonoverlapping(black_box(shared), own.as_mut_ptr(), black_box(len));
        });
        let out =
            shortest(copies, || black_box(&view).copy_to(0, &mut own[..len]).expect("inside"));
        // SAFETY: As above.
        let plain_in = shortest(copies, || unsafe {
            std::ptr::copy_nonoverlapping(black_box(own.as_ptr()), shared, black_box(len));
        });
        let into = shortest(copies, || black_box(&view).copy_from(0, &own[..len]).expect("inside"));
        // SAFETY: As above.
        let plain_fill = shortest(copies, || unsafe {
            std::ptr::write_bytes(black_box(shared), black_box(3), black_box(len));
        });
        let fill = shortest(copies, || black_box(&view).fill(black_box(3)));
        let ratio = |ours: Duration, plain: Duration| ours.as_secs_f64() / plain.as_secs_f64();
        println!(
            "{len:>9}  {:>5.2}  {:>5.2}  {:>5.2}",
            ratio(out, plain_out),
            ratio(into, plain_in),
            ratio(fill, plain_fill)
        );
    }
    Ok(())
}
