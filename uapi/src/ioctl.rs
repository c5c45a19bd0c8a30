//! How an ioctl's number is put together: `asm-generic/ioctl.h`, and the architectures that differ.

/// `_IOC_NONE`, `_IOC_WRITE`, `_IOC_READ` and the width of the size field, by architecture.
///
/// alpha and parisc differ as well, but no Rust compiler targets them on Linux.
#[cfg(any(
    target_arch = "mips",
    target_arch = "mips32r6",
    target_arch = "mips64",
    target_arch = "mips64r6",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "sparc",
    target_arch = "sparc64",
))]
mod arch {
    pub(super) const NONE: u32 = 1;
    pub(super) const READ: u32 = 2;
    pub(super) const WRITE: u32 = 4;
    pub(super) const SIZE_BITS: u32 = 13;
}

#[cfg(not(any(
    target_arch = "mips",
    target_arch = "mips32r6",
    target_arch = "mips64",
    target_arch = "mips64r6",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "sparc",
    target_arch = "sparc64",
)))]
mod arch {
    pub(super) const NONE: u32 = 0;
    pub(super) const WRITE: u32 = 1;
    pub(super) const READ: u32 = 2;
    pub(super) const SIZE_BITS: u32 = 14;
}

/// Direction on top, then size, type and number: `_IOC` of the header.
const fn ioc(direction: u32, kind: u8, number: u8, size: usize) -> u32 {
    assert!(size < 1 << arch::SIZE_BITS, "an ioctl's argument fits its size field");
    direction << (16 + arch::SIZE_BITS) | (size as u32) << 16 | (kind as u32) << 8 | number as u32
}

/// The number of an ioctl without an argument: `_IO(kind, number)`.
pub const fn io(kind: u8, number: u8) -> u32 {
    ioc(arch::NONE, kind, number, 0)
}

/// The number of an ioctl that returns a `T`: `_IOR(kind, number, T)`.
pub const fn ior<T>(kind: u8, number: u8) -> u32 {
    ioc(arch::READ, kind, number, size_of::<T>())
}

/// The number of an ioctl that takes a `T`: `_IOW(kind, number, T)`.
pub const fn iow<T>(kind: u8, number: u8) -> u32 {
    ioc(arch::WRITE, kind, number, size_of::<T>())
}

/// The number of an ioctl that takes a `T` and returns it changed: `_IOWR(kind, number, T)`.
pub const fn iowr<T>(kind: u8, number: u8) -> u32 {
    ioc(arch::READ | arch::WRITE, kind, number, size_of::<T>())
}
