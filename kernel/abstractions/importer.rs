// SPDX-License-Identifier: GPL-2.0

//! The importer's side of `include/linux/dma-buf.h`, for a device that is emulated: its DMA is a copy
//! by the CPU from and to the addresses that the DMA API gave.

use core::ffi::c_void;
use core::ptr::NonNull;

use kernel::bindings;
use kernel::device::{Bound, Device};
use kernel::error::{from_err_ptr, to_result};
use kernel::faux;
use kernel::prelude::*;
use kernel::sync::Arc;

/// A device without hardware, which can reach all memory by DMA.
pub(crate) struct Emulated(faux::Registration);

impl Emulated {
    /// Makes it. `ENODEV` behind an IOMMU: what the device would see there, the CPU cannot.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        let device = Emulated(faux::Registration::new(name, None)?);
        let raw = device.raw();
        // SAFETY: The device is alive, and nobody else uses its masks; a faux device has no other place
        // for them.
        unsafe {
            (*raw).dma_mask = &raw mut (*raw).coherent_dma_mask;
            to_result(bindings::dma_set_mask_and_coherent(raw, u64::MAX))?;
            if !(*raw).iommu_group.is_null() {
                return Err(ENODEV);
            }
        }
        Ok(device)
    }

    fn raw(&self) -> *mut bindings::device {
        let faux: &faux::Device<Bound> = self.0.as_ref();
        let device: &Device<Bound> = faux.as_ref();
        // A `Device` is a `struct device`, by `repr(transparent)`.
        core::ptr::from_ref(device)
            .cast::<bindings::device>()
            .cast_mut()
    }
}

/// A buffer that is attached to a device: `struct dma_buf_attachment`.
///
/// # Invariants
///
/// `attachment` is one of `buffer` to `device`, and `buffer` is a reference of ours. `mapped` is what
/// the exporter mapped and has not unmapped.
pub(crate) struct Attachment {
    buffer: NonNull<bindings::dma_buf>,
    attachment: NonNull<bindings::dma_buf_attachment>,
    mapped: Option<(NonNull<bindings::sg_table>, bindings::dma_data_direction)>,
    // Unregistered after the last attachment is gone.
    _device: Arc<Emulated>,
}

// SAFETY: An attachment belongs to no thread.
unsafe impl Send for Attachment {}

impl Attachment {
    /// Attaches the buffer behind a descriptor.
    pub(crate) fn new(fd: i32, device: Arc<Emulated>) -> Result<Self> {
        // SAFETY: The call has no requirements.
        let buffer = from_err_ptr(unsafe { bindings::dma_buf_get(fd) })?;
        // SAFETY: Buffer and device are alive.
        let attached = from_err_ptr(unsafe { bindings::dma_buf_attach(buffer, device.raw()) });
        match (NonNull::new(buffer), attached.map(NonNull::new)) {
            // INVARIANT: It was just made.
            (Some(buffer), Ok(Some(attachment))) => Ok(Attachment {
                buffer,
                attachment,
                mapped: None,
                _device: device,
            }),
            (_, failed) => {
                // SAFETY: The reference is ours, and not needed any more.
                unsafe { bindings::dma_buf_put(buffer) };
                Err(failed.err().unwrap_or(ENOMEM))
            }
        }
    }

    /// Bytes.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: By the invariants the buffer is alive; its size never changes.
        unsafe { (*self.buffer.as_ptr()).size }
    }

    /// Maps the buffer for a device that reads it, writes it, or both. `EBUSY` if it is mapped.
    pub(crate) fn map(&mut self, reads: bool, writes: bool) -> Result {
        if self.mapped.is_some() {
            return Err(EBUSY);
        }
        let direction = match (reads, writes) {
            (true, true) => bindings::dma_data_direction::DMA_BIDIRECTIONAL,
            (true, false) => bindings::dma_data_direction::DMA_TO_DEVICE,
            (false, true) => bindings::dma_data_direction::DMA_FROM_DEVICE,
            (false, false) => return Err(EINVAL),
        };
        // SAFETY: By the invariants the attachment is alive, and no lock of the buffer's is held.
        let table = from_err_ptr(unsafe {
            bindings::dma_buf_map_attachment_unlocked(self.attachment.as_ptr(), direction)
        })?;
        self.mapped = NonNull::new(table).map(|table| (table, direction));
        Ok(())
    }

    /// Unmaps it. `EINVAL` if it is not mapped.
    pub(crate) fn unmap(&mut self) -> Result {
        let (table, direction) = self.mapped.take().ok_or(EINVAL)?;
        // SAFETY: By the invariants it is mapped so.
        unsafe {
            let attachment = self.attachment.as_ptr();
            bindings::dma_buf_unmap_attachment_unlocked(attachment, table.as_ptr(), direction);
        }
        Ok(())
    }

    /// What the device reads from `offset` on. `EINVAL` if nothing is mapped, or past the buffer's end;
    /// `EACCES` against the direction.
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) -> Result {
        let (to, mut done) = (bytes.as_mut_ptr(), 0);
        let from_device = bindings::dma_data_direction::DMA_FROM_DEVICE;
        self.each_run(offset, bytes.len(), from_device, |memory, len| {
            // SAFETY: The run is mapped memory of `len` bytes, and all runs together are as many bytes as
            // there is room for. Others may store to it meanwhile, which the compiler does not see.
            unsafe { bindings::memcpy(to.add(done).cast(), memory, len) };
            done += len;
        })
    }

    /// The device writes from `offset` on. `EINVAL` if nothing is mapped, or past the buffer's end;
    /// `EACCES` against the direction.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> Result {
        let (from, mut done) = (bytes.as_ptr(), 0);
        let to_device = bindings::dma_data_direction::DMA_TO_DEVICE;
        self.each_run(offset, bytes.len(), to_device, |memory, len| {
            // SAFETY: As above, the other way round.
            unsafe { bindings::memcpy(memory, from.add(done).cast(), len) };
            done += len;
        })
    }

    /// Calls `f` with the memory at the device's addresses of the bytes from `offset` on, `len` of them,
    /// a run at a time.
    fn each_run(
        &self,
        offset: usize,
        len: usize,
        forbidden: bindings::dma_data_direction,
        mut f: impl FnMut(*mut c_void, usize),
    ) -> Result {
        let (table, direction) = self.mapped.ok_or(EINVAL)?;
        if direction == forbidden {
            return Err(EACCES);
        }
        let (mut skip, mut left) = (offset, len);
        // SAFETY: By the invariants the table is mapped.
        let (mut segment, count) = unsafe { ((*table.as_ptr()).sgl, (*table.as_ptr()).nents) };
        for _ in 0..count {
            // SAFETY: There are `count` segments.
            let (address, length) = unsafe {
                (
                    bindings::sg_dma_address(segment),
                    bindings::sg_dma_len(segment) as usize,
                )
            };
            if left > 0 && skip < length {
                let run = left.min(length - skip);
                // SAFETY: Without an IOMMU the device's addresses are physical ones, of memory that is the
                // buffer's or the DMA API's as long as the buffer is mapped.
                unsafe {
                    let wb = bindings::MEMREMAP_WB as c_ulong;
                    let memory = bindings::memremap(address + skip as u64, run, wb);
                    if memory.is_null() {
                        return Err(ENOMEM);
                    }
                    f(memory, run);
                    bindings::memunmap(memory);
                }
                left -= run;
                skip = 0;
            } else {
                skip = skip.saturating_sub(length);
            }
            // SAFETY: There are `count` segments, and the last one's next is not used.
            segment = unsafe { bindings::sg_next(segment) };
        }
        if left > 0 {
            return Err(EINVAL);
        }
        Ok(())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // It fails only if it is not mapped.
        let _ = self.unmap();
        // SAFETY: By the invariants the attachment and the reference are ours.
        unsafe {
            bindings::dma_buf_detach(self.buffer.as_ptr(), self.attachment.as_ptr());
            bindings::dma_buf_put(self.buffer.as_ptr());
        }
    }
}
