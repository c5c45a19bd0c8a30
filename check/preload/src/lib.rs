//! The checker's engine as a library to preload: it starts where the environment asks for it.
//!
//! As the command carries it, built so that a panic aborts, it is without the standard library: each
//! program that is checked loads it, and the unwinder that the standard library brings along takes
//! as long to start as the engine.

#![cfg_attr(panic = "abort", no_std)]
#![allow(unsafe_code)]

use core::ffi::{c_char, c_int};

/// Runs before every other initialiser of the process: glibc hands over what `main` gets.
extern "C" fn start(_: c_int, _: *const *const c_char, environment: *const *const c_char) {
    // SAFETY: glibc passes the environment as the kernel laid it out.
    unsafe { dmabuf_check::engine::start_preloaded(environment) }
}

#[used]
// SAFETY: A function with the signature that the section's entries are called with.
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = start;

/// The engine does not panic; if it does, the program ends as by `abort(3)`.
#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    dmabuf_check::engine::abort()
}

// Named by the unwind tables of `core`, as it is delivered, and never called: nothing unwinds here.
// It is nobody else's to see, who may have one of the same name.
#[cfg(panic = "abort")]
core::arch::global_asm!(
    ".globl rust_eh_personality",
    ".hidden rust_eh_personality",
    "rust_eh_personality: ud2",
);
