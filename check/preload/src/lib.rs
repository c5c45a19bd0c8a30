//! The checker's engine as a library to preload: it starts where the environment asks for it.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

/// Runs before every other initialiser of the process: glibc hands over what `main` gets.
extern "C" fn start(_: c_int, _: *const *const c_char, environment: *const *const c_char) {
    // SAFETY: glibc passes the environment as the kernel laid it out.
    unsafe { dmabuf_check::engine::start_preloaded(environment) }
}

#[used]
// SAFETY: A function with the signature that the section's entries are called with.
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = start;
