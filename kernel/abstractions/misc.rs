// SPDX-License-Identifier: GPL-2.0

//! A misc device with data of its own, which the files opened on it share. The registration of the
//! `kernel` crate tells those who open it nothing but that it is theirs.
//!
//! C header: `include/linux/miscdevice.h`.

use core::mem::offset_of;

use kernel::fs::file::flags::O_NONBLOCK;
use kernel::fs::Kiocb;
use kernel::miscdevice::{MiscDevice, MiscDeviceOptions, MiscDeviceRegistration};
use kernel::prelude::*;
use kernel::types::ForeignOwnable;

/// A registered device.
///
/// Every registration of `T` is in one of these, since `T` is a type that only the user of this file
/// registers, by [`Registration::new`].
#[pin_data]
#[repr(C)]
pub(crate) struct Registration<T: WithData> {
    // Set before the device can be opened, and dropped after it cannot be any more.
    data: T::Data,
    #[pin]
    device: MiscDeviceRegistration<T>,
}

/// A device whose files share data.
///
/// # Safety
///
/// The implementor is registered by [`Registration::new`] and by nothing else.
pub(crate) unsafe trait WithData: MiscDevice {
    /// What they share.
    type Data: Send + Sync;
}

/// Says that a type is registered by [`Registration::new`] alone, which its module sees to.
macro_rules! with_data {
    ($device:ty, $data:ty) => {
        // SAFETY: `MiscDeviceRegistration::register` is not called for it.
        unsafe impl $crate::abstractions::misc::WithData for $device {
            type Data = $data;
        }
    };
}
pub(crate) use with_data;

impl<T: WithData> Registration<T> {
    /// Registers the device.
    pub(crate) fn new(name: &'static CStr, data: T::Data) -> impl PinInit<Self, Error> {
        try_pin_init!(Registration {
            data,
            device <- MiscDeviceRegistration::register(MiscDeviceOptions { name }),
        })
    }
}

/// The data of the device that is being opened.
pub(crate) fn data<T: WithData>(device: &MiscDeviceRegistration<T>) -> &T::Data {
    let device = core::ptr::from_ref(device);
    // SAFETY: By the promise of `WithData` it is the field of a `Registration`, which is pinned and has
    // its data as long as its device is registered.
    unsafe {
        let registration = device
            .byte_sub(offset_of!(Registration<T>, device))
            .cast::<Registration<T>>();
        &(*registration).data
    }
}

/// Whether a read may not wait: its file is open with `O_NONBLOCK`.
pub(crate) fn is_nonblocking<T: ForeignOwnable>(read: &Kiocb<'_, T>) -> bool {
    // SAFETY: The read and its file are valid while it is handled. The flags may be changed by others,
    // which is why their load is volatile.
    unsafe {
        let flags = (&raw const (*(*read.as_raw()).ki_filp).f_flags).read_volatile();
        flags & O_NONBLOCK != 0
    }
}
