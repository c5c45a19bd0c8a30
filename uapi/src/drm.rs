//! The buffers of `drm/drm.h`, `drm/drm_mode.h` and `drm/vgem_drm.h`: PRIME, which turns a dma-buf
//! into a handle of a DRM device and back, dumb buffers, and vgem's fences.

use super::ioctl::{iow, iowr};

/// The type character of DRM's ioctls.
pub const DRM_IOCTL_BASE: u8 = b'd';

/// The first number of the drivers' own ioctls.
pub const DRM_COMMAND_BASE: u8 = 0x40;

/// The argument of [`DRM_IOCTL_GEM_CLOSE`]: `struct drm_gem_close`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrmGemClose {
    /// The handle to close.
    pub handle: u32,
    /// Zero.
    pub pad: u32,
}

/// The argument of the PRIME ioctls: `struct drm_prime_handle`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrmPrimeHandle {
    /// The device's handle.
    pub handle: u32,
    /// For an export `O_CLOEXEC` and `O_RDWR`; for an import unused.
    pub flags: u32,
    /// The dma-buf's descriptor.
    pub fd: i32,
}

/// The argument of [`DRM_IOCTL_MODE_CREATE_DUMB`]: `struct drm_mode_create_dumb`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrmModeCreateDumb {
    /// Rows.
    pub height: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Bits in a pixel.
    pub bpp: u32,
    /// Zero.
    pub flags: u32,
    /// The new buffer's handle, set by the kernel.
    pub handle: u32,
    /// The bytes from row to row, set by the kernel.
    pub pitch: u32,
    /// The size in bytes, set by the kernel.
    pub size: u64,
}

/// The argument of [`DRM_IOCTL_MODE_MAP_DUMB`]: `struct drm_mode_map_dumb`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrmModeMapDumb {
    /// The buffer's handle.
    pub handle: u32,
    /// Zero.
    pub pad: u32,
    /// The offset at which `mmap(2)` of the device's file shows the buffer, set by the kernel.
    pub offset: u64,
}

/// The argument of [`DRM_IOCTL_VGEM_FENCE_ATTACH`]: `struct drm_vgem_fence_attach`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrmVgemFenceAttach {
    /// The buffer's handle.
    pub handle: u32,
    /// [`VGEM_FENCE_WRITE`], or 0 for a reader's fence.
    pub flags: u32,
    /// The new fence's number, set by the kernel.
    pub out_fence: u32,
    /// Zero.
    pub pad: u32,
}

/// The argument of [`DRM_IOCTL_VGEM_FENCE_SIGNAL`]: `struct drm_vgem_fence_signal`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrmVgemFenceSignal {
    /// The fence's number.
    pub fence: u32,
    /// Zero.
    pub flags: u32,
}

/// The fence is a writer's.
pub const VGEM_FENCE_WRITE: u32 = 1;

/// Closes a handle.
pub const DRM_IOCTL_GEM_CLOSE: u32 = iow::<DrmGemClose>(DRM_IOCTL_BASE, 0x09);

/// Makes a dma-buf of a handle.
pub const DRM_IOCTL_PRIME_HANDLE_TO_FD: u32 = iowr::<DrmPrimeHandle>(DRM_IOCTL_BASE, 0x2d);

/// Makes a handle of a dma-buf. A dma-buf that the device's file has a handle of already gives the
/// same one, which is closed only once.
pub const DRM_IOCTL_PRIME_FD_TO_HANDLE: u32 = iowr::<DrmPrimeHandle>(DRM_IOCTL_BASE, 0x2e);

/// Allocates a buffer for software to draw in.
pub const DRM_IOCTL_MODE_CREATE_DUMB: u32 = iowr::<DrmModeCreateDumb>(DRM_IOCTL_BASE, 0xb2);

/// Tells where the device's file shows a dumb buffer. EINVAL for buffers of another exporter.
pub const DRM_IOCTL_MODE_MAP_DUMB: u32 = iowr::<DrmModeMapDumb>(DRM_IOCTL_BASE, 0xb3);

/// Attaches a fence that ends when it is signalled, or after ten seconds; vgem's own.
pub const DRM_IOCTL_VGEM_FENCE_ATTACH: u32 =
    iowr::<DrmVgemFenceAttach>(DRM_IOCTL_BASE, DRM_COMMAND_BASE + 0x1);

/// Signals such a fence.
pub const DRM_IOCTL_VGEM_FENCE_SIGNAL: u32 =
    iow::<DrmVgemFenceSignal>(DRM_IOCTL_BASE, DRM_COMMAND_BASE + 0x2);
