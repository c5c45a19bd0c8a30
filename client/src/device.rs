//! `/dev/dmabuf`, which answers for the kernel module's buffers what the kernel does not let their
//! own descriptors answer: `dmabuf.h`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use dmabuf_uapi::DMABUF_DEVICE;
use rustix::fs::{FileType, Mode, OFlags, fstat, major, open};
use rustix::io::Errno;

use crate::ioctl::{self, Sync};

/// The major number of misc devices, `MISC_MAJOR` of linux/major.h.
const MISC: u32 = 10;

/// Who answers the ioctls that mainline does not know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Respondent {
    /// The buffer's own descriptor.
    Itself,
    /// The module's device.
    Device(BorrowedFd<'static>),
}

impl Respondent {
    /// Begins or ends a bracket of the buffer behind `fd`.
    pub fn sync(self, fd: BorrowedFd<'_>, sync: Sync) -> Result<(), Errno> {
        match (self, sync) {
            (Respondent::Device(device), Sync::Range(range)) => {
                ioctl::device_sync_range(device, fd, range)
            }
            _ => ioctl::sync(fd, sync),
        }
    }
}

/// The device; `None` if it is not there, or may not be opened. That is found out once.
pub(crate) fn device() -> Option<BorrowedFd<'static>> {
    static DEVICE: OnceLock<Option<OwnedFd>> = OnceLock::new();
    DEVICE.get_or_init(find).as_ref().map(AsFd::as_fd)
}

fn find() -> Option<OwnedFd> {
    let device = open(DMABUF_DEVICE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let stat = fstat(&device).ok()?;
    // To another device with that name the numbers could mean anything.
    let is_misc =
        FileType::from_raw_mode(stat.st_mode).is_char_device() && major(stat.st_rdev) == MISC;
    is_misc.then_some(device)
}
