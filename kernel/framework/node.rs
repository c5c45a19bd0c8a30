// SPDX-License-Identifier: GPL-2.0

//! `/dev/dmabuf`: what the dma-buf core hands to no exporter, for a buffer that an argument names, and
//! the records of checked buffers. `uapi/include/dmabuf.h` says what each call does.

use kernel::fs::file::flags::{O_ACCMODE, O_CLOEXEC};
use kernel::fs::file::FileDescriptorReservation;
use kernel::ioctl::_IOC_SIZE;
use kernel::iov::IovIterDest;
use kernel::page::page_align;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc, Mutex};
use kernel::transmute::{AsBytes, FromBytes};
use kernel::uaccess::{UserPtr, UserSlice, UserSliceWriter};

use crate::abstractions::dma_buf::{DmaBuf, Owned, NAME_LEN};
use crate::abstractions::misc;
use crate::framework::buffer::{Buffer, Stats};
use crate::framework::device_only::DeviceOnly;
use crate::framework::log::{Log, Position};
use crate::heaps::{self, Memory, Policy};
use crate::rules::{Access, Range};
use crate::uapi::*;

/// The registered device.
pub(crate) type Registration = misc::Registration<Node>;

/// Makes `/dev/dmabuf`, which reads out `log`.
pub(crate) fn register(log: Arc<Log>) -> impl PinInit<Registration, Error> {
    Registration::new(c"dmabuf", log)
}

/// An open file of `/dev/dmabuf`.
#[pin_data]
pub(crate) struct Node {
    log: Arc<Log>,
    /// How far it has read.
    #[pin]
    position: Mutex<Position>,
}

impl misc::Node for Node {
    type Data = Arc<Log>;

    fn open(log: &Arc<Log>) -> impl PinInit<Self, Error> {
        let (log, end) = (log.clone(), log.end());
        try_pin_init!(Node { log, position <- new_mutex!(end) })
    }

    fn read(
        self: Pin<&Self>,
        _position: &mut i64,
        nonblocking: bool,
        out: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        loop {
            let read = self.read_lines(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            if nonblocking {
                return Err(EAGAIN);
            }
            let position = *self.position.lock();
            self.log.wait(position)?;
        }
    }

    fn ioctl(self: Pin<&Self>, command: u32, argument: usize) -> Result<isize> {
        let argument = UserSlice::new(UserPtr::from_addr(argument), _IOC_SIZE(command));
        match command {
            DMABUF_DEVICE_QUERY => {
                let (mut asked, writer) = read::<DmabufDeviceQuery>(argument)?;
                asked.query = with_buffer(asked.fd, asked.pad, |buffer| Ok(query(buffer)))?;
                write(writer, &asked)?;
            }
            DMABUF_DEVICE_STATS => {
                let (asked, writer) = read::<DmabufDeviceStats>(argument)?;
                let stats = with_buffer(asked.fd, asked.pad, |buffer| Ok(stats(buffer)))?;
                write(
                    writer,
                    &DmabufDeviceStats {
                        fd: asked.fd,
                        ..stats
                    },
                )?;
            }
            DMABUF_DEVICE_ALLOC => {
                let (asked, writer) = read::<DmabufDeviceAlloc>(argument)?;
                let buffer = allocate(&asked, &self.log)?;
                let fd = FileDescriptorReservation::get_unused_fd_flags(asked.fd_flags)?;
                write(
                    writer,
                    &DmabufDeviceAlloc {
                        fd: fd.reserved_fd() as i32,
                        ..asked
                    },
                )?;
                // Last: who has a descriptor of it has it for good.
                fd.fd_install(buffer.into_file());
            }
            DMABUF_DEVICE_SYNC_RANGE => {
                let (asked, _) = read::<DmabufDeviceSyncRange>(argument)?;
                let DmaBufSyncRange { flags, offset, len } = asked.sync;
                with_buffer(asked.fd, asked.pad, |buffer| {
                    sync(buffer, flags, offset, len)
                })?;
            }
            DMABUF_DEVICE_SYNC_PARTIAL => {
                let (asked, _) = read::<DmabufDeviceSyncPartial>(argument)?;
                let DmaBufSyncPartial { flags, offset, len } = asked.sync;
                let (offset, len) = (offset.into(), len.into());
                with_buffer(asked.fd, asked.pad, |buffer| {
                    sync(buffer, flags, offset, len)
                })?;
            }
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }
}

impl Node {
    /// Reads lines as long as there are some and they fit. `EINVAL` if not even one fits: a line is
    /// read in one piece.
    fn read_lines(&self, out: &mut IovIterDest<'_>) -> Result<usize> {
        let mut read = 0;
        let mut position = self.position.lock();
        loop {
            let mut behind = *position;
            let Some(record) = self.log.next(&mut behind) else {
                return Ok(read);
            };
            let line = record.line();
            let len = line.bytes().len() + 1;
            if len > out.len() {
                return if read > 0 { Ok(read) } else { Err(EINVAL) };
            }
            if out.copy_to_iter(line.bytes()) + out.copy_to_iter(b"\n") < len {
                return Err(EFAULT);
            }
            read += len;
            *position = behind;
        }
    }
}

/// Reads an argument; where it is, the answer can be written to.
fn read<T: FromBytes>(argument: UserSlice) -> Result<(T, UserSliceWriter)> {
    let (mut reader, writer) = argument.reader_writer();
    Ok((reader.read()?, writer))
}

fn write<T: AsBytes>(mut writer: UserSliceWriter, answer: &T) -> Result {
    writer.write(answer)
}

/// A buffer of this module's, of either kind.
enum Any<'a> {
    Mappable(&'a DmaBuf<Buffer>),
    DeviceOnly(&'a DmaBuf<DeviceOnly>),
}

/// Calls `f` with the buffer behind `fd`. `EBADF` if there is no file, `EINVAL` if it is no dma-buf, or
/// `pad` is not zero, `ENOTTY` if somebody else exported it.
fn with_buffer<R>(fd: i32, pad: u32, f: impl FnOnce(&Any<'_>) -> Result<R>) -> Result<R> {
    if pad != 0 {
        return Err(EINVAL);
    }
    let buffer = Owned::from_fd(fd)?;
    let any = if let Some(buffer) = buffer.exported_by() {
        Any::Mappable(buffer)
    } else if let Some(buffer) = buffer.exported_by() {
        Any::DeviceOnly(buffer)
    } else {
        return Err(ENOTTY);
    };
    f(&any)
}

fn query(buffer: &Any<'_>) -> DmaBufQuery {
    let (heap, size, name, granule) = match buffer {
        Any::Mappable(buffer) => (
            buffer.heap(),
            buffer.size(),
            buffer.name(),
            buffer.granule().bytes(),
        ),
        Any::DeviceOnly(buffer) => (buffer.heap, buffer.size(), buffer.name(), 1),
    };
    let mut flags = 0;
    if heap.memory != Memory::DeviceOnly {
        // Which devices will come is not known, so nothing is promised of them: brackets are needed.
        flags |= DMA_BUF_QUERY_MMAP_READ | DMA_BUF_QUERY_MMAP_WRITE;
        flags |= DMA_BUF_QUERY_BRACKET | DMA_BUF_QUERY_RANGE;
    }
    flags |= match heap.policy {
        Policy::Hints => 0,
        Policy::Tracked => DMA_BUF_QUERY_TRACKED,
        Policy::Checked => DMA_BUF_QUERY_TRACKED | DMA_BUF_QUERY_CHECKED,
    };
    const { assert!(NAME_LEN == DMA_BUF_QUERY_NAME_LEN) };
    let mut exporter = [0; DMA_BUF_QUERY_NAME_LEN];
    let bytes = heap.name.to_bytes();
    exporter[..bytes.len()].copy_from_slice(bytes);
    let (size, granule) = (size as u64, granule as u32);
    DmaBufQuery {
        size,
        flags,
        granule,
        exporter,
        name,
        ..DmaBufQuery::default()
    }
}

fn stats(buffer: &Any<'_>) -> DmabufDeviceStats {
    let stats = match buffer {
        Any::Mappable(buffer) => buffer.stats(),
        Any::DeviceOnly(_) => Stats::default(),
    };
    DmabufDeviceStats {
        begins: stats.begins,
        ends: stats.ends,
        bytes_to_device: stats.bytes_to_device,
        bytes_from_device: stats.bytes_from_device,
        faults: stats.faults,
        violations: stats.violations,
        ..DmabufDeviceStats::default()
    }
}

/// Begins or ends a bracket over a range. `EINVAL` for flags that `DMA_BUF_IOCTL_SYNC` refuses, for a
/// range that is empty or not in the buffer, and for a buffer that cannot be mapped.
fn sync(buffer: &Any<'_>, flags: u64, offset: u64, len: u64) -> Result {
    let Any::Mappable(buffer) = buffer else {
        return Err(EINVAL);
    };
    if !sync_flags_valid(flags) {
        return Err(EINVAL);
    }
    let access = match flags & DMA_BUF_SYNC_RW {
        DMA_BUF_SYNC_READ => Access::Read,
        DMA_BUF_SYNC_WRITE => Access::Write,
        _ => Access::ReadWrite,
    };
    let range = Range::new(offset, len).map_err(|_| EINVAL)?;
    if flags & DMA_BUF_SYNC_END == 0 {
        Buffer::begin(buffer, access, range)
    } else {
        Buffer::end(buffer, access, range)
    }
}

/// `ENOENT` for a heap that there is not; otherwise as `DMA_HEAP_IOCTL_ALLOC`.
fn allocate(asked: &DmabufDeviceAlloc, log: &Arc<Log>) -> Result<Owned> {
    const ALLOWED: u32 = O_ACCMODE | O_CLOEXEC;
    let len = usize::try_from(asked.len)
        .ok()
        .and_then(page_align)
        .ok_or(EINVAL)?;
    if asked.fd_flags & !ALLOWED != 0 || len == 0 {
        return Err(EINVAL);
    }
    let name = asked
        .heap
        .split(|&byte| byte == 0)
        .next()
        .unwrap_or_default();
    let heap = heaps::find(name).ok_or(ENOENT)?;
    heap.allocate(log, len, asked.fd_flags)
}
