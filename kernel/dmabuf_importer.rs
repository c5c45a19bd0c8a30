// SPDX-License-Identifier: GPL-2.0

//! An emulated device that imports dma-bufs of any exporter, and reaches them by DMA, as a program
//! tells it to: `/dev/dmabuf-importer`. `uapi/include/dmabuf.h` says what each call does.
//!
//! With `swiotlb=force` on the kernel's command line its DMA bounces, and it sees what a device without
//! coherency sees: what brackets synced, and nothing else.

use kernel::iov::{IovIterDest, IovIterSource};
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc, Mutex};
use kernel::uaccess::{UserPtr, UserSlice};

mod abstractions {
    pub(crate) mod importer;
    pub(crate) mod misc;
}

/// What crosses the boundary to user space.
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::wrong_self_convention
)]
#[path = "../uapi/src/lib.rs"]
mod uapi;

use abstractions::importer::{Attachment, Emulated};
use abstractions::misc;
use uapi::{
    DMABUF_IMPORTER_ATTACH, DMABUF_IMPORTER_MAP, DMABUF_IMPORTER_UNMAP, DMA_BUF_SYNC_READ,
    DMA_BUF_SYNC_RW, DMA_BUF_SYNC_WRITE,
};

module! {
    type: DmabufImporter,
    name: "dmabuf_importer",
    authors: ["The dmabuf project"],
    description: "An emulated device that imports dma-bufs",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
}

#[pin_data]
struct DmabufImporter {
    #[pin]
    node: misc::Registration<Node>,
}

impl kernel::InPlaceModule for DmabufImporter {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(|| {
            let device = Arc::new(Emulated::new(c"dmabuf-importer")?, GFP_KERNEL)?;
            Ok(try_pin_init!(Self {
                node <- misc::Registration::new(c"dmabuf-importer", device),
            }))
        })
    }
}

/// An open file: one attachment, once there is one.
#[pin_data]
struct Node {
    device: Arc<Emulated>,
    #[pin]
    attachment: Mutex<Option<Attachment>>,
}

impl misc::Node for Node {
    type Data = Arc<Emulated>;

    fn open(device: &Arc<Emulated>) -> impl PinInit<Self, Error> {
        let device = device.clone();
        try_pin_init!(Node { device, attachment <- new_mutex!(None) })
    }

    fn read(
        self: Pin<&Self>,
        position: &mut i64,
        _nonblocking: bool,
        out: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        let mut bytes = KVec::zeroed(PAGE_SIZE, GFP_KERNEL)?;
        let mut done = 0;
        while !out.is_empty() {
            let Some((offset, len)) = self.piece(*position, out.len())? else {
                break;
            };
            let piece = &mut bytes[..len];
            self.with(|attachment| attachment.read(offset, piece))?;
            let copied = out.copy_to_iter(piece);
            if copied == 0 {
                return if done > 0 { Ok(done) } else { Err(EFAULT) };
            }
            *position += copied as i64;
            done += copied;
        }
        Ok(done)
    }

    fn write(self: Pin<&Self>, position: &mut i64, from: &mut IovIterSource<'_>) -> Result<usize> {
        let mut bytes = KVec::zeroed(PAGE_SIZE, GFP_KERNEL)?;
        let mut done = 0;
        while !from.is_empty() {
            let Some((offset, len)) = self.piece(*position, from.len())? else {
                return if done > 0 { Ok(done) } else { Err(ENOSPC) };
            };
            let copied = from.copy_from_iter(&mut bytes[..len]);
            if copied == 0 {
                return if done > 0 { Ok(done) } else { Err(EFAULT) };
            }
            self.with(|attachment| attachment.write(offset, &bytes[..copied]))?;
            *position += copied as i64;
            done += copied;
        }
        Ok(done)
    }

    fn ioctl(self: Pin<&Self>, command: u32, argument: usize) -> Result<isize> {
        let argument = UserPtr::from_addr(argument);
        match command {
            DMABUF_IMPORTER_ATTACH => {
                let fd: i32 = UserSlice::new(argument, size_of::<i32>()).reader().read()?;
                let mut attachment = self.attachment.lock();
                if attachment.is_some() {
                    return Err(EBUSY);
                }
                *attachment = Some(Attachment::new(fd, self.device.clone())?);
            }
            DMABUF_IMPORTER_MAP => {
                let does: u32 = UserSlice::new(argument, size_of::<u32>()).reader().read()?;
                let does = u64::from(does);
                if does & !DMA_BUF_SYNC_RW != 0 {
                    return Err(EINVAL);
                }
                let (reads, writes) = (
                    does & DMA_BUF_SYNC_READ != 0,
                    does & DMA_BUF_SYNC_WRITE != 0,
                );
                self.with(|attachment| attachment.map(reads, writes))?;
            }
            DMABUF_IMPORTER_UNMAP => self.with(Attachment::unmap)?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }
}

impl Node {
    /// Calls `f` with the attachment. `EINVAL` if there is none.
    fn with<R>(&self, f: impl FnOnce(&mut Attachment) -> Result<R>) -> Result<R> {
        let mut attachment = self.attachment.lock();
        f((*attachment).as_mut().ok_or(EINVAL)?)
    }

    /// Where a transfer at `position` goes on, and how far at a time: at most to the buffer's end, where
    /// there is nothing any more, and at most a page.
    fn piece(&self, position: i64, most: usize) -> Result<Option<(usize, usize)>> {
        let size = self.with(|attachment| Ok(attachment.size()))?;
        let offset = usize::try_from(position)?;
        let left = size.saturating_sub(offset).min(most).min(PAGE_SIZE);
        Ok((left > 0).then_some((offset, left)))
    }
}
