//! The ioctls that the client sends.
//!
//! Callers see to it that the descriptor is what an ioctl is for: a dma-buf or a file on FUSE (see
//! [`crate::kind`]), or the node of a driver (see
//! [`crate::heap`] and [`crate::Route::Drm`]).
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use dmabuf_core::Access;
use dmabuf_uapi::*;
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Setter, Updater, ioctl};

/// `DMA_BUF_IOCTL_QUERY`; ENOTTY from exporters that do not know it.
pub(crate) fn query(fd: BorrowedFd<'_>) -> Result<DmaBufQuery, Errno> {
    let mut query = DmaBufQuery::default();
    // SAFETY: The number encodes that the call writes at most one `DmaBufQuery`, in which every bit
    // pattern is a value. A file system that is not ours may say that it did and write nothing.
    unsafe { ioctl(fd, Updater::<{ DMA_BUF_IOCTL_QUERY as Opcode }, _>::new(&mut query)) }?;
    Ok(query)
}

/// `DMABUF_DEVICE_QUERY`: the same of the module's buffers; ENOTTY for those of other exporters.
pub(crate) fn device_query(
    device: BorrowedFd<'_>,
    fd: BorrowedFd<'_>,
) -> Result<DmaBufQuery, Errno> {
    const QUERY: Opcode = DMABUF_DEVICE_QUERY as Opcode;
    let mut asked = DmabufDeviceQuery { fd: fd.as_raw_fd(), ..DmabufDeviceQuery::default() };
    // SAFETY: The number encodes that the call reads and writes one `DmabufDeviceQuery`, in which
    // every bit pattern is a value.
    unsafe { ioctl(device, Updater::<QUERY, _>::new(&mut asked)) }?;
    Ok(asked.query)
}

/// `DMA_BUF_SET_NAME`, with the name and a NUL.
pub(crate) fn set_name(fd: BorrowedFd<'_>, name: [u8; DMA_BUF_NAME_LEN]) -> Result<(), Errno> {
    // SAFETY: The call reads a string of at most 32 bytes, which the array has, and stores nothing
    // to this program's memory.
    unsafe { ioctl(fd, Setter::<{ DMA_BUF_SET_NAME_B as Opcode }, _>::new(name)) }
}

/// One of the ioctls that begin or end a bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// `DMA_BUF_IOCTL_SYNC_RANGE`.
    Range(DmaBufSyncRange),
    /// `DMA_BUF_IOCTL_SYNC_PARTIAL`, of vendor kernels.
    Partial(DmaBufSyncPartial),
    /// `DMA_BUF_IOCTL_SYNC`.
    Whole(DmaBufSync),
}

/// The flags of a direction.
pub(crate) const fn direction(access: Access) -> u64 {
    match access {
        Access::Read => DMA_BUF_SYNC_READ,
        Access::Write => DMA_BUF_SYNC_WRITE,
        Access::ReadWrite => DMA_BUF_SYNC_RW,
    }
}

/// Begins or ends a bracket.
pub(crate) fn sync(fd: BorrowedFd<'_>, sync: Sync) -> Result<(), Errno> {
    const RANGE: Opcode = DMA_BUF_IOCTL_SYNC_RANGE as Opcode;
    const PARTIAL: Opcode = DMA_BUF_IOCTL_SYNC_PARTIAL as Opcode;
    const WHOLE: Opcode = DMA_BUF_IOCTL_SYNC as Opcode;
    // SAFETY: Each number encodes that the call reads one struct of the type beside it, and it
    // stores nothing to this program's memory.
    unsafe {
        match sync {
            Sync::Range(argument) => ioctl(fd, Setter::<RANGE, _>::new(argument)),
            Sync::Partial(argument) => ioctl(fd, Setter::<PARTIAL, _>::new(argument)),
            Sync::Whole(argument) => ioctl(fd, Setter::<WHOLE, _>::new(argument)),
        }
    }
}

/// `DMABUF_DEVICE_SYNC_RANGE`: begins or ends a bracket over a range of a buffer of the module's.
pub(crate) fn device_sync_range(
    device: BorrowedFd<'_>,
    fd: BorrowedFd<'_>,
    sync: DmaBufSyncRange,
) -> Result<(), Errno> {
    const RANGE: Opcode = DMABUF_DEVICE_SYNC_RANGE as Opcode;
    let argument = DmabufDeviceSyncRange { fd: fd.as_raw_fd(), pad: 0, sync };
    // SAFETY: The number encodes that the call reads one `DmabufDeviceSyncRange`, and it stores
    // nothing to this program's memory.
    unsafe { ioctl(device, Setter::<RANGE, _>::new(argument)) }
}

/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`: the fences that an access of this direction waits for.
pub(crate) fn export_sync_file(fd: BorrowedFd<'_>, access: Access) -> Result<OwnedFd, Errno> {
    const EXPORT: Opcode = DMA_BUF_IOCTL_EXPORT_SYNC_FILE as Opcode;
    let mut data = DmaBufExportSyncFile { flags: direction(access) as u32, fd: -1 };
    // SAFETY: The number encodes that the call reads and writes one `DmaBufExportSyncFile`, in
    // which every bit pattern is a value. When it succeeds, `fd` is a new descriptor.
    unsafe {
        ioctl(fd, Updater::<EXPORT, _>::new(&mut data))?;
        Ok(OwnedFd::from_raw_fd(data.fd))
    }
}

/// `DMA_BUF_IOCTL_IMPORT_SYNC_FILE`: a fence of an access of this direction.
pub(crate) fn import_sync_file(
    fd: BorrowedFd<'_>,
    access: Access,
    sync_file: BorrowedFd<'_>,
) -> Result<(), Errno> {
    const IMPORT: Opcode = DMA_BUF_IOCTL_IMPORT_SYNC_FILE as Opcode;
    let data = DmaBufImportSyncFile { flags: direction(access) as u32, fd: sync_file.as_raw_fd() };
    // SAFETY: The number encodes that the call reads one `DmaBufImportSyncFile`, and it stores
    // nothing to this program's memory.
    unsafe { ioctl(fd, Setter::<IMPORT, _>::new(data)) }
}

/// `SYNC_IOC_MERGE`, of two sync_files.
pub(crate) fn sync_merge(
    fd: BorrowedFd<'_>,
    other: BorrowedFd<'_>,
    name: [u8; 32],
) -> Result<OwnedFd, Errno> {
    const MERGE: Opcode = SYNC_IOC_MERGE as Opcode;
    let mut data = SyncMergeData { name, fd2: other.as_raw_fd(), fence: -1, flags: 0, pad: 0 };
    // SAFETY: The number encodes that the call reads and writes one `SyncMergeData`, in which every
    // bit pattern is a value. When it succeeds, `fence` is a new descriptor.
    unsafe {
        ioctl(fd, Updater::<MERGE, _>::new(&mut data))?;
        Ok(OwnedFd::from_raw_fd(data.fence))
    }
}

/// `SYNC_IOC_FILE_INFO`, of a sync_file.
pub(crate) fn sync_file_info(
    fd: BorrowedFd<'_>,
) -> Result<(SyncFileInfo, Vec<SyncFenceInfo>), Errno> {
    const INFO: Opcode = SYNC_IOC_FILE_INFO as Opcode;
    let mut info = SyncFileInfo::default();
    // SAFETY: The number encodes that the call reads and writes one `SyncFileInfo`, in which every
    // bit pattern is a value; without room for fences it writes no more than that.
    unsafe { ioctl(fd, Updater::<INFO, _>::new(&mut info)) }?;
    let mut fences = vec![SyncFenceInfo::default(); info.num_fences as usize];
    info = SyncFileInfo {
        num_fences: info.num_fences,
        sync_fence_info: fences.as_mut_ptr().expose_provenance() as u64,
        ..SyncFileInfo::default()
    };
    // SAFETY: As above; and the call writes at most `num_fences` structs to where the vector has
    // as many, in which every bit pattern is a value.
    unsafe { ioctl(fd, Updater::<INFO, _>::new(&mut info)) }?;
    fences.truncate(info.num_fences as usize);
    Ok((info, fences))
}

/// `SYNC_IOC_SET_DEADLINE`, of a sync_file.
pub(crate) fn sync_set_deadline(fd: BorrowedFd<'_>, deadline_ns: u64) -> Result<(), Errno> {
    const DEADLINE: Opcode = SYNC_IOC_SET_DEADLINE as Opcode;
    // SAFETY: The number encodes that the call reads one `SyncSetDeadline`, and it stores nothing
    // to this program's memory.
    unsafe { ioctl(fd, Setter::<DEADLINE, _>::new(SyncSetDeadline { deadline_ns, pad: 0 })) }
}

/// `DMA_HEAP_IOCTL_ALLOC`: a new dma-buf of at least `len` bytes, open for reading and writing.
pub(crate) fn heap_allocate(heap: BorrowedFd<'_>, len: u64) -> Result<OwnedFd, Errno> {
    const ALLOC: Opcode = DMA_HEAP_IOCTL_ALLOC as Opcode;
    let fd_flags = (rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC).bits();
    let mut data = DmaHeapAllocationData { len, fd_flags, ..DmaHeapAllocationData::default() };
    // SAFETY: The number encodes that the call reads and writes one `DmaHeapAllocationData`, in
    // which every bit pattern is a value. When it succeeds, `fd` is a new descriptor.
    unsafe {
        ioctl(heap, Updater::<ALLOC, _>::new(&mut data))?;
        Ok(OwnedFd::from_raw_fd(data.fd as RawFd))
    }
}

/// `UDMABUF_CREATE`.
pub(crate) fn udmabuf_create(
    device: BorrowedFd<'_>,
    create: UdmabufCreate,
) -> Result<OwnedFd, Errno> {
    // SAFETY: The number encodes that the call reads one `UdmabufCreate`; it returns a new
    // descriptor.
    unsafe { ioctl(device, ReturnsFd { number: UDMABUF_CREATE as Opcode, argument: create }) }
}

/// `UDMABUF_CREATE_LIST`.
pub(crate) fn udmabuf_create_list(
    device: BorrowedFd<'_>,
    flags: u32,
    items: &[UdmabufCreateItem],
) -> Result<OwnedFd, Errno> {
    let Ok(count) = u32::try_from(items.len()) else { return Err(Errno::INVAL) };
    // The head and the items after it, in memory aligned as both are.
    let mut argument = vec![pair(flags, count)];
    for item in items {
        argument.extend([pair(item.memfd, item.pad), item.offset, item.size]);
    }
    let number = UDMABUF_CREATE_LIST as Opcode;
    // SAFETY: The call reads a `UdmabufCreateList` and the `count` items after it, of which the
    // vector holds all; it returns a new descriptor.
    unsafe { ioctl(device, ReturnsFd { number, argument: argument.into_boxed_slice() }) }
}

/// `DRM_IOCTL_PRIME_FD_TO_HANDLE`: the handle of a dma-buf in the file of a DRM device.
pub(crate) fn prime_import(device: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    const IMPORT: Opcode = DRM_IOCTL_PRIME_FD_TO_HANDLE as Opcode;
    let mut prime = DrmPrimeHandle { handle: 0, flags: 0, fd: fd.as_raw_fd() };
    // SAFETY: The number encodes that the call reads and writes one `DrmPrimeHandle`, in which
    // every bit pattern is a value.
    unsafe { ioctl(device, Updater::<IMPORT, _>::new(&mut prime)) }?;
    Ok(prime.handle)
}

/// `DRM_IOCTL_MODE_MAP_DUMB`: the offset in the device's file that stands for the buffer.
pub(crate) fn map_dumb(device: BorrowedFd<'_>, handle: u32) -> Result<u64, Errno> {
    const MAP: Opcode = DRM_IOCTL_MODE_MAP_DUMB as Opcode;
    let mut map = DrmModeMapDumb { handle, ..DrmModeMapDumb::default() };
    // SAFETY: The number encodes that the call reads and writes one `DrmModeMapDumb`, in which
    // every bit pattern is a value.
    unsafe { ioctl(device, Updater::<MAP, _>::new(&mut map)) }?;
    Ok(map.offset)
}

/// `DRM_IOCTL_GEM_CLOSE`.
pub(crate) fn gem_close(device: BorrowedFd<'_>, handle: u32) -> Result<(), Errno> {
    const CLOSE: Opcode = DRM_IOCTL_GEM_CLOSE as Opcode;
    // SAFETY: The number encodes that the call reads one `DrmGemClose`, and it stores nothing to
    // this program's memory.
    unsafe { ioctl(device, Setter::<CLOSE, _>::new(DrmGemClose { handle, pad: 0 })) }
}

/// Two fields of 32 bits as the memory that they are beside each other.
fn pair(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// An ioctl that reads its argument and returns a new descriptor.
struct ReturnsFd<A> {
    number: Opcode,
    argument: A,
}

/// What an ioctl's pointer may point to.
trait Argument {
    fn address(&mut self) -> *mut c_void;
}

impl Argument for UdmabufCreate {
    fn address(&mut self) -> *mut c_void {
        (&raw mut *self).cast()
    }
}

impl Argument for Box<[u64]> {
    fn address(&mut self) -> *mut c_void {
        self.as_mut_ptr().cast()
    }
}

// SAFETY: The pointer is to the argument, which the calls only read.
unsafe impl<A: Argument> Ioctl for ReturnsFd<A> {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        self.number
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument.address()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> Result<OwnedFd, Errno> {
        // SAFETY: Whoever makes a `ReturnsFd` says that the call returns a new descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(out) })
    }
}
