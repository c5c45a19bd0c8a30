//! `linux/sync_file.h`: fences as file descriptors.

use super::ioctl::{iow, iowr};

/// The type character of the sync_file ioctls.
pub const SYNC_IOC_MAGIC: u8 = b'>';

/// The argument of [`SYNC_IOC_MERGE`]: `struct sync_merge_data`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncMergeData {
    /// The new sync_file's name, NUL-terminated.
    pub name: [u8; 32],
    /// The second sync_file.
    pub fd2: i32,
    /// The new sync_file's descriptor, set by the kernel.
    pub fence: i32,
    /// Zero.
    pub flags: u32,
    /// Zero.
    pub pad: u32,
}

/// One fence of a sync_file: `struct sync_fence_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncFenceInfo {
    /// The timeline's name, NUL-terminated.
    pub obj_name: [u8; 32],
    /// The driver's name, NUL-terminated.
    pub driver_name: [u8; 32],
    /// 0: active, 1: signalled, negative: an errno.
    pub status: i32,
    /// No flag is defined.
    pub flags: u32,
    /// When the status changed, in nanoseconds of the monotonic clock.
    pub timestamp_ns: u64,
}

/// The argument of [`SYNC_IOC_FILE_INFO`]: `struct sync_file_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncFileInfo {
    /// The sync_file's name, NUL-terminated.
    pub name: [u8; 32],
    /// 0: active, 1: signalled, negative: an errno.
    pub status: i32,
    /// Zero.
    pub flags: u32,
    /// The room for fences at `sync_fence_info`; the kernel sets the number there are.
    pub num_fences: u32,
    /// Zero.
    pub pad: u32,
    /// The address of an array of [`SyncFenceInfo`], or 0 to ask only for the number.
    pub sync_fence_info: u64,
}

/// The argument of [`SYNC_IOC_SET_DEADLINE`]: `struct sync_set_deadline`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncSetDeadline {
    /// When the fence is wanted, in nanoseconds of the monotonic clock.
    pub deadline_ns: u64,
    /// Zero.
    pub pad: u64,
}

/// Makes one sync_file of two.
pub const SYNC_IOC_MERGE: u32 = iowr::<SyncMergeData>(SYNC_IOC_MAGIC, 3);

/// Tells a sync_file's status and fences.
pub const SYNC_IOC_FILE_INFO: u32 = iowr::<SyncFileInfo>(SYNC_IOC_MAGIC, 4);

/// Asks the driver to signal by a time; since Linux 6.6.
pub const SYNC_IOC_SET_DEADLINE: u32 = iow::<SyncSetDeadline>(SYNC_IOC_MAGIC, 5);
