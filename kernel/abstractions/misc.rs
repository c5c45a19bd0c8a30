// SPDX-License-Identifier: GPL-2.0

//! A misc device with data of its own, which the files opened on it share. The registration of the
//! `kernel` crate tells those who open it nothing but that it is theirs.
//!
//! C header: `include/linux/miscdevice.h`.

use core::mem::offset_of;

use kernel::fs::file::flags::O_NONBLOCK;
use kernel::fs::{File, Kiocb};
use kernel::iov::{IovIterDest, IovIterSource};
use kernel::miscdevice::{MiscDevice, MiscDeviceOptions, MiscDeviceRegistration};
use kernel::prelude::*;

/// An open file of such a device.
pub(crate) trait Node: Send + Sync + Sized + 'static {
    /// What all of its files share.
    type Data: Send + Sync;

    /// The device is opened.
    fn open(data: &Self::Data) -> impl PinInit<Self, Error>;

    /// `read(2)` at `position`, which moves; it may wait unless `nonblocking`.
    fn read(
        self: Pin<&Self>,
        position: &mut i64,
        nonblocking: bool,
        out: &mut IovIterDest<'_>,
    ) -> Result<usize>;

    /// `write(2)` at `position`, which moves. `EINVAL` unless implemented.
    fn write(
        self: Pin<&Self>,
        _position: &mut i64,
        _from: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        Err(EINVAL)
    }

    /// `ioctl(2)`.
    fn ioctl(self: Pin<&Self>, command: u32, argument: usize) -> Result<isize>;
}

/// A registered device.
// The device goes first, and then what those who open it are given.
#[pin_data]
#[repr(C)]
pub(crate) struct Registration<T: Node> {
    #[pin]
    device: MiscDeviceRegistration<Opened<T>>,
    data: T::Data,
}

impl<T: Node> Registration<T> {
    /// Registers the device.
    pub(crate) fn new(name: &'static CStr, data: T::Data) -> impl PinInit<Self, Error> {
        // In this order: who opens the device finds the data.
        try_pin_init!(Registration {
            data,
            device <- MiscDeviceRegistration::register(MiscDeviceOptions { name }),
        })
    }
}

/// What an open file points to. Only [`Registration::new`] can register it, since the type is known in
/// this file alone.
#[pin_data]
struct Opened<T> {
    #[pin]
    node: T,
}

impl<T> Opened<T> {
    fn node(self: Pin<&Self>) -> Pin<&T> {
        // SAFETY: The field is pinned structurally.
        unsafe { self.map_unchecked(|opened| &opened.node) }
    }
}

#[vtable]
impl<T: Node> MiscDevice for Opened<T> {
    type Ptr = Pin<KBox<Self>>;

    fn open(_: &File, device: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        let device = core::ptr::from_ref(device);
        // SAFETY: Every registration of this type is the field of a `Registration`, which is pinned, and
        // has its data as long as the device is registered.
        let data = unsafe {
            let offset = offset_of!(Registration<T>, device);
            &(*device.byte_sub(offset).cast::<Registration<T>>()).data
        };
        KBox::try_pin_init(try_pin_init!(Opened { node <- T::open(data) }), GFP_KERNEL)
    }

    fn read_iter(mut kiocb: Kiocb<'_, Self::Ptr>, out: &mut IovIterDest<'_>) -> Result<usize> {
        // SAFETY: The read and its file are valid while it is handled. The flags may be changed by
        // others, which is why their load is volatile.
        let flags = unsafe { (&raw const (*(*kiocb.as_raw()).ki_filp).f_flags).read_volatile() };
        let node = kiocb.file().node();
        node.read(kiocb.ki_pos_mut(), flags & O_NONBLOCK != 0, out)
    }

    fn write_iter(mut kiocb: Kiocb<'_, Self::Ptr>, from: &mut IovIterSource<'_>) -> Result<usize> {
        let node = kiocb.file().node();
        node.write(kiocb.ki_pos_mut(), from)
    }

    fn ioctl(opened: Pin<&Self>, _: &File, command: u32, argument: usize) -> Result<isize> {
        opened.node().ioctl(command, argument)
    }
}
