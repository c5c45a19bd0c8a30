//! Copies between memory that others store to, and memory of our own.
//!
//! The *shared* side is outside of every Rust allocation: nothing but these functions and volatile
//! accesses ever touch it. What races there is the machine's business, not the language's; a byte
//! that somebody stores to meanwhile comes out old or new.
//!
//! On x86-64 the copies are assembly, which the compiler cannot see through and so cannot build
//! upon a byte's staying the same. Elsewhere, and under Miri, they are volatile words.
#![allow(unsafe_code)]

/// Copies `len` bytes from shared memory to our own.
///
/// # Safety
///
/// `len` bytes at `shared` can be loaded; as many at `own` belong to the caller; they are apart.
pub(crate) unsafe fn load(shared: *const u8, own: *mut u8, len: usize) {
    // SAFETY: The caller promises what either way asks for.
    unsafe {
        if fast::is_worth_it(len) {
            fast::copy(shared, own, len);
        } else {
            words::load(shared, own, len);
        }
    }
}

/// Copies `len` bytes from our own memory to shared memory.
///
/// # Safety
///
/// `len` bytes at `own` are initialized; as many at `shared` can be stored to; they are apart.
pub(crate) unsafe fn store(own: *const u8, shared: *mut u8, len: usize) {
    // SAFETY: The caller promises what either way asks for.
    unsafe {
        if fast::is_worth_it(len) {
            fast::copy(own, shared, len);
        } else {
            words::store(own, shared, len);
        }
    }
}

/// Stores `value` to `len` bytes of shared memory.
///
/// # Safety
///
/// `len` bytes at `shared` can be stored to.
pub(crate) unsafe fn fill(shared: *mut u8, value: u8, len: usize) {
    // SAFETY: The caller promises what either way asks for.
    unsafe {
        if fast::is_worth_it(len) {
            fast::fill(shared, value, len);
        } else {
            words::fill(shared, value, len);
        }
    }
}

/// As [`load`], by streaming loads, which fetch a whole line of write-combined memory at once and
/// are ordinary loads of any other: MOVNTDQA of Intel's manual. `false` where there are none, and
/// unless `shared` is aligned to 64 bytes and `len` a multiple of them; then nothing is copied.
///
/// # Safety
///
/// As [`load`].
pub(crate) unsafe fn stream(shared: *const u8, own: *mut u8, len: usize) -> bool {
    if !shared.addr().is_multiple_of(64) || !len.is_multiple_of(64) || len == 0 {
        return false;
    }
    // SAFETY: The caller promises the bytes; alignment and length have been seen to.
    unsafe { fast::stream(shared, own, len) }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod fast {
    use std::arch::{asm, is_x86_feature_detected};

    /// What the loop of vector moves takes at a time.
    const BLOCK: usize = 128;

    /// From here on a processor that says so moves a string faster than a loop does: its own start
    /// has been paid off. Measured with examples/copy_speed.rs.
    const STRING: usize = 4096;

    pub fn is_worth_it(len: usize) -> bool {
        len >= BLOCK
    }

    /// # Safety
    ///
    /// `len` bytes at `from` can be loaded, as many at `to` stored to, and `len >= BLOCK`.
    pub unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
        let string = len >= STRING && is_x86_feature_detected!("ermsb");
        if string || !is_x86_feature_detected!("avx") {
            // SAFETY: The caller promises the bytes; the direction flag is clear, as the ABI has it.
            unsafe {
                asm!(
                    "rep movsb",
                    inout("rcx") len => _,
                    inout("rsi") from => _,
                    inout("rdi") to => _,
                    options(nostack, preserves_flags),
                );
            }
            return;
        }
        let last = len - BLOCK;
        // SAFETY: Each round moves one block, as many as begin before the last one, which ends
        // with the last byte and may move bytes of the block before it again. AVX is there.
        unsafe {
            asm!(
                "test rcx, rcx",
                "jz 3f",
                "2:",
                "vmovdqu ymm0, [rsi]",
                "vmovdqu ymm1, [rsi + 32]",
                "vmovdqu ymm2, [rsi + 64]",
                "vmovdqu ymm3, [rsi + 96]",
                "vmovdqu [rdi], ymm0",
                "vmovdqu [rdi + 32], ymm1",
                "vmovdqu [rdi + 64], ymm2",
                "vmovdqu [rdi + 96], ymm3",
                "add rsi, 128",
                "add rdi, 128",
                "dec rcx",
                "jnz 2b",
                "3:",
                "vmovdqu ymm0, [{last_from}]",
                "vmovdqu ymm1, [{last_from} + 32]",
                "vmovdqu ymm2, [{last_from} + 64]",
                "vmovdqu ymm3, [{last_from} + 96]",
                "vmovdqu [{last_to}], ymm0",
                "vmovdqu [{last_to} + 32], ymm1",
                "vmovdqu [{last_to} + 64], ymm2",
                "vmovdqu [{last_to} + 96], ymm3",
                "vzeroupper",
                inout("rcx") last.div_ceil(BLOCK) => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                last_from = in(reg) from.add(last),
                last_to = in(reg) to.add(last),
                // vzeroupper clears the upper half of every vector register.
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack),
            );
        }
    }

    /// # Safety
    ///
    /// `len` bytes at `from` can be loaded, as many at `to` stored to; `from` is aligned to 64
    /// bytes, and `len` a multiple of 64 that is not 0.
    pub unsafe fn stream(from: *const u8, to: *mut u8, len: usize) -> bool {
        if !is_x86_feature_detected!("sse4.1") {
            return false;
        }
        // SAFETY: Each round moves one line, as many as there are; SSE4.1 is there.
        unsafe {
            asm!(
                // Streaming loads are not ordered with other accesses.
                "mfence",
                "2:",
                "movntdqa xmm0, [rsi]",
                "movntdqa xmm1, [rsi + 16]",
                "movntdqa xmm2, [rsi + 32]",
                "movntdqa xmm3, [rsi + 48]",
                "movdqu [rdi], xmm0",
                "movdqu [rdi + 16], xmm1",
                "movdqu [rdi + 32], xmm2",
                "movdqu [rdi + 48], xmm3",
                "add rsi, 64",
                "add rdi, 64",
                "dec rcx",
                "jnz 2b",
                "mfence",
                inout("rcx") len / 64 => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                options(nostack),
            );
        }
        true
    }

    /// # Safety
    ///
    /// `len` bytes at `to` can be stored to, and `len >= BLOCK`.
    pub unsafe fn fill(to: *mut u8, value: u8, len: usize) {
        let string = len >= STRING && is_x86_feature_detected!("ermsb");
        if string || !is_x86_feature_detected!("avx") {
            // SAFETY: The caller promises the bytes; the direction flag is clear, as the ABI has it.
            unsafe {
                asm!(
                    "rep stosb",
                    inout("rcx") len => _,
                    inout("rdi") to => _,
                    in("al") value,
                    options(nostack, preserves_flags),
                );
            }
            return;
        }
        let last = len - BLOCK;
        // SAFETY: As in `copy`.
        unsafe {
            asm!(
                "vmovq xmm0, rax",
                "vpunpcklqdq xmm0, xmm0, xmm0",
                "vinsertf128 ymm0, ymm0, xmm0, 1",
                "test rcx, rcx",
                "jz 3f",
                "2:",
                "vmovdqu [rdi], ymm0",
                "vmovdqu [rdi + 32], ymm0",
                "vmovdqu [rdi + 64], ymm0",
                "vmovdqu [rdi + 96], ymm0",
                "add rdi, 128",
                "dec rcx",
                "jnz 2b",
                "3:",
                "vmovdqu [{last_to}], ymm0",
                "vmovdqu [{last_to} + 32], ymm0",
                "vmovdqu [{last_to} + 64], ymm0",
                "vmovdqu [{last_to} + 96], ymm0",
                "vzeroupper",
                in("rax") u64::from_ne_bytes([value; 8]),
                inout("rcx") last.div_ceil(BLOCK) => _,
                inout("rdi") to => _,
                last_to = in(reg) to.add(last),
                // As in `copy`.
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack),
            );
        }
    }
}

#[cfg(any(not(target_arch = "x86_64"), miri))]
mod fast {
    pub fn is_worth_it(_len: usize) -> bool {
        false
    }

    pub unsafe fn copy(_from: *const u8, _to: *mut u8, _len: usize) {
        unreachable!("nothing is worth it here");
    }

    pub unsafe fn stream(_from: *const u8, _to: *mut u8, _len: usize) -> bool {
        false
    }

    pub unsafe fn fill(_to: *mut u8, _value: u8, _len: usize) {
        unreachable!("nothing is worth it here");
    }
}

/// Volatile accesses to the shared side: bytes up to its alignment, words, the bytes that are left.
mod words {
    const WORD: usize = size_of::<u64>();

    /// The bytes up to alignment, and the words after them.
    fn split(shared: *const u8, len: usize) -> (usize, usize) {
        let head = shared.align_offset(WORD).min(len);
        (head, (len - head) / WORD)
    }

    /// # Safety
    ///
    /// As [`super::load`].
    pub unsafe fn load(shared: *const u8, own: *mut u8, len: usize) {
        let (head, words) = split(shared, len);
        // SAFETY: Every index is below `len`, and words start where `shared` is aligned to them.
        unsafe {
            for i in (0..head).chain(head + words * WORD..len) {
                own.add(i).write(shared.add(i).read_volatile());
            }
            for i in (0..words).map(|word| head + word * WORD) {
                let word = shared.add(i).cast::<u64>().read_volatile();
                own.add(i).cast::<u64>().write_unaligned(word);
            }
        }
    }

    /// # Safety
    ///
    /// As [`super::store`].
    pub unsafe fn store(own: *const u8, shared: *mut u8, len: usize) {
        let (head, words) = split(shared, len);
        // SAFETY: As in `load`.
        unsafe {
            for i in (0..head).chain(head + words * WORD..len) {
                shared.add(i).write_volatile(own.add(i).read());
            }
            for i in (0..words).map(|word| head + word * WORD) {
                let word = own.add(i).cast::<u64>().read_unaligned();
                shared.add(i).cast::<u64>().write_volatile(word);
            }
        }
    }

    /// # Safety
    ///
    /// As [`super::fill`].
    pub unsafe fn fill(shared: *mut u8, value: u8, len: usize) {
        let (head, words) = split(shared, len);
        let word = u64::from_ne_bytes([value; WORD]);
        // SAFETY: As in `load`.
        unsafe {
            for i in (0..head).chain(head + words * WORD..len) {
                shared.add(i).write_volatile(value);
            }
            for i in (0..words).map(|word| head + word * WORD) {
                shared.add(i).cast::<u64>().write_volatile(word);
            }
        }
    }
}
