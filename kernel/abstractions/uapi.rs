// SPDX-License-Identifier: GPL-2.0

//! The structs of `/dev/dmabuf` as bytes in a program's memory.

use kernel::transmute::{AsBytes, FromBytes};

use crate::uapi::{
    DmabufDeviceAlloc, DmabufDeviceQuery, DmabufDeviceStats, DmabufDeviceSyncPartial,
    DmabufDeviceSyncRange,
};

// SAFETY: Every bit pattern is a value of each: they have integers and arrays of them only.
unsafe impl FromBytes for DmabufDeviceAlloc {}
// SAFETY: As above.
unsafe impl FromBytes for DmabufDeviceQuery {}
// SAFETY: As above.
unsafe impl FromBytes for DmabufDeviceStats {}
// SAFETY: As above.
unsafe impl FromBytes for DmabufDeviceSyncPartial {}
// SAFETY: As above.
unsafe impl FromBytes for DmabufDeviceSyncRange {}

// SAFETY: None of its bytes is padding.
unsafe impl AsBytes for DmabufDeviceAlloc {}
// SAFETY: None of its bytes is padding.
unsafe impl AsBytes for DmabufDeviceQuery {}
// SAFETY: None of its bytes is padding.
unsafe impl AsBytes for DmabufDeviceStats {}
